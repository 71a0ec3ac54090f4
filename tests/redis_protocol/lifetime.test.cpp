#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "drey/clock.hpp"
#include "drey/redis/lifetime.hpp"
#include "support/catch.hpp"

using drey::never;
using drey::redis::Lifetime;
using namespace std::chrono_literals;

namespace {
const drey::ManualClock unix_time{1000s};
}

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
    Lifetime lifetime(10s, 0.0, 1, unix_time);
    CHECK(lifetime.of({}).kept == "10000");
    CHECK(lifetime.of({.ttl = 2s}).kept == "2000");
    CHECK(lifetime.of({.ttl = 0s}).kept == "0");
    CHECK_FALSE(lifetime.of({.ttl = never}).kept);
    CHECK_THROWS_AS(lifetime.of({.ttl = -1ns}), std::invalid_argument);
    CHECK_FALSE(Lifetime(never, 0.5, 1, unix_time).of({}).kept);
    CHECK(Lifetime(never, 0.0, 1, unix_time).of({.ttl = 1s}).kept == "1000");
}

TEST_CASE(
    "server keeps an entry as long as it may be used, and the envelope says how long it is fresh") {
    Lifetime lifetime(10s, 0.0, 1, unix_time);
    const auto told = [&](drey::Terms terms) {
        const auto life = lifetime.of(terms);
        return std::pair(life.kept.value_or("for ever"), life.fresh_until_ms);
    };
    using Told = std::pair<std::string, std::int64_t>;
    CHECK(told({}) == Told("10000", 0));
    CHECK(told({.stale_for = 5s}) == Told("15000", 1010000));
    CHECK(told({.ttl = 1ns, .stale_for = 1ns}) == Told("1", 1000001));
    CHECK(told({.ttl = 1s, .stale_for = drey::never}) == Told("for ever", 1001000));
    CHECK(told({.ttl = never, .stale_for = 5s}) == Told("for ever", 0));
    CHECK(told({.ttl = never, .load_cost = 1ms}) == Told("for ever", 0));
    CHECK(told({.load_cost = 1ms}) == Told("10000", 1010000));
    CHECK(told({.ttl = 0s, .stale_for = 5s}) == Told("5000", 1000000));
    CHECK(told({.stale_for = -5s}) == Told("10000", 0));
    CHECK(lifetime.of({.load_cost = 1500us}).load_cost_us == 1500);
    CHECK(lifetime.of({}).load_cost_us == 0);
}

TEST_CASE("what is left of the fresh time is told by the clock that all share") {
    drey::ManualClock now{1000s};
    Lifetime lifetime(10s, 0.0, 1, now);
    const std::int64_t until = lifetime.of({.stale_for = 5s}).fresh_until_ms;
    const auto left = [&] { return std::chrono::nanoseconds(lifetime.left(until)); };
    CHECK(left() == 10s);
    now.advance(10s - 1ns);
    CHECK(left() == 1ns);
    now.advance(1ns);
    CHECK(left() == 0s);
    now.advance(3s);
    CHECK(left() == -3s);
    CHECK(lifetime.left(0) == drey::no_deadline);
}

TEST_CASE("any number that others may have written for the fresh time is a time") {
    const drey::ManualClock before_1970{-5s};
    for (const auto* clock : {&unix_time, &before_1970}) {
        Lifetime lifetime(10s, 0.0, 1, clock);
        CHECK(lifetime.left(std::numeric_limits<std::int64_t>::max()) == drey::no_deadline);
        CHECK(lifetime.left(std::numeric_limits<std::int64_t>::min()) <= 0);
        CHECK(lifetime.left(-1) <= 0);
        CHECK(lifetime.of({.ttl = 0s, .stale_for = 1s}).fresh_until_ms != 0);
        CHECK(lifetime.of({.ttl = std::chrono::nanoseconds::max() - 1ns, .load_cost = 1s})
                  .fresh_until_ms > 0);
    }
}

TEST_CASE("terms' own jitter goes before the cache's, and stale time follows the fresh") {
    Lifetime lifetime(1000s, 0.5, 1, unix_time);
    for (int i = 0; i < 1000; ++i) {
        CHECK(lifetime.of({.jitter = 0.0}).kept == "1000000");
        const auto life = lifetime.of({.jitter = 0.25, .stale_for = 7s});
        const long long fresh = life.fresh_until_ms - 1000000;
        CHECK((fresh >= 750000 && fresh <= 1000000));
        const long long difference = std::stoll(*life.kept) - fresh - 7000;
        CHECK((difference == 0 || difference == 1 || difference == -1));  // each rounds by itself
    }
}

TEST_CASE("jitter shortens lifetimes by up to its share, and spreads them") {
    Lifetime lifetime(1000s, 0.25, 1, unix_time);
    long long least = 1000000, most = 0;
    for (int i = 0; i < 10000; ++i) {
        const long long told = std::stoll(*lifetime.of({}).kept);
        least = std::min(least, told);
        most = std::max(most, told);
    }
    CHECK(least >= 750000);
    CHECK(least < 752000);
    CHECK(most <= 1000000);
    CHECK(most > 998000);
}

TEST_CASE("jitter leaves no lifetime and the longest ones in order") {
    Lifetime lifetime(1s, 0.999, 1, unix_time);
    for (int i = 0; i < 1000; ++i) {
        CHECK(lifetime.of({.ttl = 0s}).kept == "0");
        CHECK_FALSE(lifetime.of({.ttl = never}).kept);
        const long long longest =
            std::stoll(*lifetime.of({.ttl = std::chrono::nanoseconds::max() - 1ns}).kept);
        CHECK((longest > 0 && longest <= 9223372036855));
    }
}

TEST_CASE("jitter never ends a life that should be at all") {
    Lifetime lifetime(1s, 0.999, 1, unix_time);
    int over = 0;
    for (int i = 0; i < 1000; ++i)
        over += Lifetime::is_over(lifetime.of({.ttl = 1ns}).kept) ? 1 : 0;
    CHECK(over == 0);
}

TEST_CASE("same seed, same lifetimes") {
    Lifetime one(1000s, 0.5, 42, unix_time), other(1000s, 0.5, 42, unix_time),
        third(1000s, 0.5, 43, unix_time);
    bool differ = false;
    for (int i = 0; i < 100; ++i) {
        const auto told = one.of({}).kept;
        CHECK(told == other.of({}).kept);
        differ = differ || told != third.of({}).kept;
    }
    CHECK(differ);
}

TEST_CASE("jittered pause is between half and all of it") {
    Lifetime lifetime(never, 0.0, 1, unix_time);
    for (int i = 0; i < 1000; ++i) {
        const auto pause = lifetime.jittered(10ms);
        CHECK((pause >= 5ms && pause < 10ms));
    }
    CHECK(lifetime.jittered(0ns) == 0ns);
}
