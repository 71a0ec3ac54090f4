#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "drey/redis/lifetime.hpp"
#include "support/catch.hpp"

using drey::never;
using drey::redis::Lifetime;
using namespace std::chrono_literals;

TEST_CASE("lifetime is told in milliseconds, rounded up") {
    CHECK(Lifetime::milliseconds(1s) == "1000");
    CHECK(Lifetime::milliseconds(1ms) == "1");
    CHECK(Lifetime::milliseconds(1ms + 1ns) == "2");
    CHECK(Lifetime::milliseconds(1ns) == "1");
    CHECK(Lifetime::milliseconds(0ns) == "0");
    CHECK(Lifetime::milliseconds(std::chrono::nanoseconds::max() - 1ns) == "9223372036855");
    CHECK_FALSE(Lifetime::milliseconds(never));
}

TEST_CASE("lifetime of nothing is over before it begins, and only that") {
    CHECK(Lifetime::is_over(Lifetime::milliseconds(0ns)));
    CHECK_FALSE(Lifetime::is_over(Lifetime::milliseconds(1ns)));
    CHECK_FALSE(Lifetime::is_over(std::nullopt));
}

TEST_CASE("entry's own lifetime goes before the cache's") {
    Lifetime lifetime(10s, 0.0, 1);
    CHECK(lifetime.of({}) == "10000");
    CHECK(lifetime.of({.ttl = 2s}) == "2000");
    CHECK(lifetime.of({.ttl = 0s}) == "0");
    CHECK_FALSE(lifetime.of({.ttl = never}));
    CHECK_THROWS_AS(lifetime.of({.ttl = -1ns}), std::invalid_argument);
    CHECK_FALSE(Lifetime(never, 0.5, 1).of({}));
    CHECK(Lifetime(never, 0.0, 1).of({.ttl = 1s}) == "1000");
}

TEST_CASE("jitter shortens lifetimes by up to its share, and spreads them") {
    Lifetime lifetime(1000s, 0.25, 1);
    long long least = 1000000, most = 0;
    for (int i = 0; i < 10000; ++i) {
        const long long told = std::stoll(*lifetime.of({}));
        least = std::min(least, told);
        most = std::max(most, told);
    }
    CHECK(least >= 750000);
    CHECK(least < 752000);
    CHECK(most <= 1000000);
    CHECK(most > 998000);
}

TEST_CASE("jitter leaves no lifetime and the longest ones in order") {
    Lifetime lifetime(1s, 0.999, 1);
    for (int i = 0; i < 1000; ++i) {
        CHECK(lifetime.of({.ttl = 0s}) == "0");
        CHECK_FALSE(lifetime.of({.ttl = never}));
        const long long longest =
            std::stoll(*lifetime.of({.ttl = std::chrono::nanoseconds::max() - 1ns}));
        CHECK((longest > 0 && longest <= 9223372036855));
    }
}

TEST_CASE("jitter never ends a life that should be at all") {
    Lifetime lifetime(1s, 0.999, 1);
    int over = 0;
    for (int i = 0; i < 1000; ++i) over += Lifetime::is_over(lifetime.of({.ttl = 1ns})) ? 1 : 0;
    CHECK(over == 0);
}

TEST_CASE("same seed, same lifetimes") {
    Lifetime one(1000s, 0.5, 42), other(1000s, 0.5, 42), third(1000s, 0.5, 43);
    bool differ = false;
    for (int i = 0; i < 100; ++i) {
        const auto told = one.of({});
        CHECK(told == other.of({}));
        differ = differ || told != third.of({});
    }
    CHECK(differ);
}

TEST_CASE("jittered pause is between half and all of it") {
    Lifetime lifetime(never, 0.0, 1);
    for (int i = 0; i < 1000; ++i) {
        const auto pause = lifetime.jittered(10ms);
        CHECK((pause >= 5ms && pause < 10ms));
    }
    CHECK(lifetime.jittered(0ns) == 0ns);
}
