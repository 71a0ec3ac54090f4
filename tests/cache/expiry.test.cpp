#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/drey.hpp"
#include "support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using drey::ManualClock;
using drey::Removal;

/// A clock that counts who asks, and may do something first.
class WatchedClock final : public drey::Clock {
public:
    std::chrono::nanoseconds now() const noexcept override {
        ++asked;
        if (before_answer) std::exchange(before_answer, nullptr)();
        return time;
    }
    mutable int asked = 0;
    mutable std::function<void()> before_answer;
    std::chrono::nanoseconds time{};
};

template <class Backend>
struct Timed {
    ManualClock clock{};
    drey::Cache<int, std::string, Backend> cache;

    explicit Timed(drey::Ttl ttl = drey::never, std::size_t capacity = 100)
        : cache({.capacity = capacity, .ttl = ttl, .clock = clock}) {}
    Timed(const Timed&) = delete;
    Timed& operator=(const Timed&) = delete;
    ~Timed() { CHECK(cache.validate()); }
};

}  // namespace

TEMPLATE_TEST_CASE("entry lives for its TTL and expires exactly at its deadline", "[expiry]",
                   drey::Lru, drey::Memory<>, drey::Local<>) {
    Timed<TestType> f(5s);
    f.cache.put(1, "one");
    f.clock.advance(5s - 1ns);
    CHECK(f.cache.get(1) == "one");
    CHECK(f.cache.contains(1));
    f.clock.advance(1ns);
    CHECK_FALSE(f.cache.contains(1));
    CHECK(f.cache.get(1) == std::nullopt);
}

TEMPLATE_TEST_CASE("expired entry is a miss in every call", "[expiry]", drey::Lru, drey::Memory<>,
                   drey::Local<>) {
    Timed<TestType> f(1s);
    for (int key = 0; key < 10; ++key) f.cache.put(key, "old");
    f.clock.advance(1s);
    CHECK(f.cache.get(0) == std::nullopt);
    CHECK(f.cache.find(1).is_miss());
    CHECK_FALSE(f.cache.visit(2, [](const std::string&) { FAIL("it has expired"); }));
    CHECK_FALSE(f.cache.contains(3));
    CHECK(f.cache.take(4) == std::nullopt);
    CHECK(f.cache.erase(5) == 0);
    CHECK(f.cache.get_or_load(6, [] { return std::string("new"); }) == "new");
    CHECK(f.cache.put_if_absent(7, "new"));
    CHECK(f.cache.update(8, [](std::optional<std::string> old) {
        CHECK(old == std::nullopt);
        return std::optional<std::string>("new");
    }));
    CHECK(f.cache.get(8) == "new");
    f.cache.for_each([](int key, const std::string& value) {
        CHECK(key != 9);
        CHECK(value == "new");
    });
    CHECK(f.cache.erase_if([](int, const std::string& value) { return value == "old"; }) == 0);
}

TEMPLATE_TEST_CASE("expired entry is a miss and frees its slot", "[expiry]", drey::Lru,
                   drey::Memory<>, drey::Local<>) {
    Timed<TestType> f(1s);
    f.cache.put(1, "one");
    f.clock.advance(1s);
    CHECK(f.cache.size() == 1);
    CHECK(f.cache.get(1) == std::nullopt);
    CHECK(f.cache.size() == 0);
    CHECK(f.cache.stats().misses == 1);
    CHECK(f.cache.stats().expirations() == 1);
}

TEMPLATE_TEST_CASE("TTL of a put, an update and a load overrides the cache's", "[expiry]",
                   drey::Lru, drey::Local<>) {
    Timed<TestType> f(10s);
    const auto load = [] { return std::string("x"); };
    f.cache.put(1, "x", {.ttl = 1s});
    f.cache.put_if_absent(2, "x", {.ttl = 1s});
    f.cache.update(3, [](auto) { return std::optional<std::string>("x"); }, {.ttl = 1s});
    f.cache.get_or_load(4, load, {.ttl = 1s});
    f.cache.get_or_load(5,
                        [] {
                            return drey::Loaded<std::string>{"x", {.ttl = 1s}};
                        },
                        {.ttl = 99s});
    f.cache.put(11, "x");
    f.cache.get_or_load(12, load);
    f.cache.put(21, "x", {.ttl = drey::never});
    f.clock.advance(1s);
    for (int key = 1; key <= 5; ++key) CHECK_FALSE(f.cache.contains(key));
    CHECK(f.cache.contains(11));
    CHECK(f.cache.contains(12));
    f.clock.advance(9s);
    CHECK_FALSE(f.cache.contains(11));
    CHECK_FALSE(f.cache.contains(12));
    f.clock.advance(24h * 36500);
    CHECK(f.cache.contains(21));
}

TEMPLATE_TEST_CASE("a write starts the TTL anew and a read does not", "[expiry]", drey::Lru,
                   drey::Local<>) {
    Timed<TestType> f(10s);
    f.cache.put(1, "x");
    f.cache.put(2, "x");
    f.cache.put(3, "x");
    f.clock.advance(9s);
    f.cache.put(1, "y");
    f.cache.update(2, [](auto old) { return old; });
    CHECK(f.cache.get(3) == "x");
    f.clock.advance(1s);
    CHECK(f.cache.contains(1));
    CHECK(f.cache.contains(2));
    CHECK_FALSE(f.cache.contains(3));
}

TEST_CASE("overwriting with another TTL takes it, longer or shorter", "[expiry]") {
    Timed<drey::Lru> f;
    f.cache.put(1, "x", {.ttl = 1s});
    f.cache.put(1, "y", {.ttl = 9s});
    f.cache.put(2, "x", {.ttl = 9s});
    f.cache.put(2, "y", {.ttl = 1s});
    f.cache.put(3, "x", {.ttl = 1s});
    f.cache.put(3, "y");
    f.clock.advance(1s);
    CHECK(f.cache.contains(1));
    CHECK_FALSE(f.cache.contains(2));
    CHECK(f.cache.contains(3));
    f.clock.advance(8s);
    CHECK_FALSE(f.cache.contains(1));
    CHECK(f.cache.contains(3));
}

TEST_CASE("TTLs may be of any unit and fraction", "[expiry]") {
    Timed<drey::Lru> f;
    f.cache.put(1, "x", {.ttl = 1ns});
    f.cache.put(2, "x", {.ttl = 1500us});
    f.cache.put(3, "x", {.ttl = std::chrono::duration<double>(0.25)});
    f.cache.put(4, "x", {.ttl = std::chrono::duration<int, std::ratio<1, 3>>(1)});
    CHECK(f.cache.contains(1));
    f.clock.advance(1ns);
    CHECK_FALSE(f.cache.contains(1));
    f.clock.advance(1500us - 2ns);
    CHECK(f.cache.contains(2));
    f.clock.advance(1ns);
    CHECK_FALSE(f.cache.contains(2));
    f.clock.advance(250ms - 1500us - 1ns);
    CHECK(f.cache.contains(3));
    f.clock.advance(1ns);
    CHECK_FALSE(f.cache.contains(3));
    f.clock.advance(333'333'332ns - 250ms);
    CHECK(f.cache.contains(4));
    f.clock.advance(1ns);
    CHECK_FALSE(f.cache.contains(4));
}

TEMPLATE_TEST_CASE("TTL of zero has expired at once", "[expiry]", drey::Lru, drey::Local<>) {
    Timed<TestType> f;
    f.cache.put(1, "old");
    f.cache.put(1, "x", {.ttl = 0s});
    CHECK_FALSE(f.cache.contains(1));
    CHECK(f.cache.get(1) == std::nullopt);
    Timed<TestType> all(0s);
    all.cache.put(1, "x");
    CHECK(all.cache.get(1) == std::nullopt);
}

TEST_CASE("TTL beyond the end of time never expires, whatever the clock says", "[expiry]") {
    for (const auto start : {0h, 24h * 36500, -24h * 36500}) {
        ManualClock clock(start);
        drey::Cache<int, int> cache{{.capacity = 10, .clock = clock}};
        cache.put(1, 1, {.ttl = std::chrono::hours::max()});
        cache.put(2, 2, {.ttl = std::chrono::nanoseconds::max() - 1ns});
        cache.put(3, 3, {.ttl = std::chrono::duration<double>(1e300)});
        clock.advance(24h * 365 * 100);
        CHECK(cache.contains(1));
        CHECK(cache.contains(2));
        CHECK(cache.contains(3));
    }
}

TEST_CASE("clock may start before zero", "[expiry]") {
    ManualClock clock(-10s);
    drey::Cache<int, int> cache{{.capacity = 10, .ttl = 5s, .clock = clock}};
    cache.put(1, 1);
    clock.advance(4s);
    CHECK(cache.contains(1));
    clock.advance(1s);
    CHECK_FALSE(cache.contains(1));
}

// ---- leaving unread
// --------------------------------------------------------------------------------

TEMPLATE_TEST_CASE("expired entries leave before a live one is evicted", "[expiry]", drey::Fifo,
                   drey::Lru, drey::Mru, drey::Lfu, drey::Random, drey::Sieve, drey::S3Fifo,
                   drey::Local<>) {
    Timed<TestType> f(drey::never, 100);
    for (int key = 0; key < 100; ++key)
        f.cache.put(key, "x", {.ttl = key % 2 == 0 ? drey::never : drey::Ttl(1s)});
    f.clock.advance(1s);
    for (int key = 100; key < 150; ++key) f.cache.put(key, "x");
    CHECK(f.cache.stats().evictions() == 0);
    CHECK(f.cache.stats().expirations() == 50);
    for (int key = 0; key < 100; key += 2) CHECK(f.cache.contains(key));
    f.cache.put(150, "x");
    CHECK(f.cache.stats().evictions() == 1);
}

TEMPLATE_TEST_CASE("expired entries leave as others are written, though there is room", "[expiry]",
                   drey::Lru, drey::Local<>) {
    Timed<TestType> f(drey::never, 1000);
    for (int key = 0; key < 100; ++key) f.cache.put(key, "x", {.ttl = 1s});
    f.clock.advance(1s);
    for (int key = 1000; key < 1050; ++key) f.cache.put(key, "x");
    CHECK(f.cache.size() == 50);
    CHECK(f.cache.stats().expirations() == 100);
}

TEMPLATE_TEST_CASE("purge_expired removes just what has expired", "[expiry]", drey::Lru,
                   drey::Local<>) {
    Timed<TestType> f(drey::never, 10'000);
    for (int key = 0; key < 3000; ++key)
        f.cache.put(key, "x", {.ttl = std::chrono::seconds(key + 1)});
    for (int key = 3000; key < 3100; ++key) f.cache.put(key, "x");
    CHECK(f.cache.purge_expired() == 0);
    f.clock.advance(1000s);
    CHECK(f.cache.size() == 3100);
    CHECK(f.cache.purge_expired() == 1000);
    CHECK(f.cache.size() == 2100);
    CHECK(f.cache.purge_expired() == 0);
    CHECK_FALSE(f.cache.contains(999));
    CHECK(f.cache.contains(1000));
    f.clock.advance(24h);
    CHECK(f.cache.purge_expired() == 2000);
    CHECK(f.cache.size() == 100);
}

TEST_CASE("purge_expired reaches every shard", "[expiry]") {
    ManualClock clock;
    drey::Cache<int, int> cache{{.capacity = 10'000, .ttl = 1s, .clock = clock, .shards = 64}};
    for (int key = 0; key < 3000; ++key) cache.put(key, key);
    clock.advance(1s);
    CHECK(cache.purge_expired() == 3000);
    CHECK(cache.empty());
}

TEST_CASE("first entry with a deadline may come late", "[expiry]") {
    Timed<drey::Lru> f(drey::never, 1000);
    for (int key = 0; key < 500; ++key) f.cache.put(key, "x");
    f.cache.put(500, "x", {.ttl = 1s});
    f.clock.advance(24h);
    for (int key = 0; key < 500; ++key) CHECK(f.cache.contains(key));
    CHECK_FALSE(f.cache.contains(500));
    for (int key = 501; key < 1000; ++key) f.cache.put(key, "x", {.ttl = 1s});
    f.clock.advance(1s);
    CHECK(f.cache.purge_expired() == 499);
    CHECK(f.cache.size() == 500);
}

TEMPLATE_TEST_CASE("first deadline may come with an overwrite", "[expiry]", int, std::string) {
    ManualClock clock;
    drey::Cache<int, TestType> cache{{.capacity = 10, .clock = clock}};
    cache.put(1, TestType{});
    cache.put(2, TestType{});
    cache.put(1, TestType{}, {.ttl = 1s});
    cache.update(2, [](auto old) { return old; }, {.ttl = 1s});
    CHECK(cache.contains(1));
    clock.advance(1s);
    CHECK_FALSE(cache.contains(1));
    CHECK_FALSE(cache.contains(2));
    cache.put(1, TestType{});
    clock.advance(24h);
    CHECK(cache.contains(1));
}

TEST_CASE("expired entry found by one call may be replaced before that call removes it",
          "[expiry]") {
    // The clock is asked again after the look-up, when nothing protects the slot any more: here
    // it is made to belong to another key, which has expired, too.
    WatchedClock clock;
    drey::Cache<int, std::string, drey::Lru> cache{{.capacity = 10, .clock = clock}};
    cache.put(1, "one", {.ttl = 1s});
    clock.time = 1s;
    clock.before_answer = [&] {
        clock.before_answer = [&] {
            CHECK(cache.erase(1) == 0);
            cache.synchronize();
            cache.put(2, "two", {.ttl = 0s});
        };
    };
    CHECK(cache.get(1) == std::nullopt);
    CHECK_FALSE(cache.contains(2));
    CHECK(cache.validate());
    cache.put(3, "three");
    CHECK(cache.get(3) == "three");
    CHECK(cache.validate());
}

// ---- jitter
// ----------------------------------------------------------------------------------------

namespace {

/// How many whole milliseconds each of 1000 entries with a TTL of a second lived.
std::vector<int> lifetimes(double jitter, std::uint64_t seed) {
    ManualClock clock;
    drey::Cache<int, int> cache{
        {.capacity = 1000, .ttl = 1s, .jitter = jitter, .clock = clock, .seed = seed}};
    for (int key = 0; key < 1000; ++key) cache.put(key, key);
    std::vector<int> lived(1000, -1);
    for (int ms = 1; ms <= 1000; ++ms) {
        clock.advance(1ms);
        for (int key = 0; key < 1000; ++key)
            if (lived[static_cast<std::size_t>(key)] < 0 && !cache.contains(key))
                lived[static_cast<std::size_t>(key)] = ms;
    }
    return lived;
}

}  // namespace

TEST_CASE("jitter shortens TTLs by up to its share, evenly, and as the seed says", "[expiry]") {
    const auto lived = lifetimes(0.2, 7);
    std::vector<int> tenths(10);
    for (const int ms : lived) {
        REQUIRE(ms > 800 - 1);
        REQUIRE(ms <= 1000);
        ++tenths[static_cast<std::size_t>(std::min(std::max(ms - 801, 0) / 20, 9))];
    }
    for (const int count : tenths) {  // 100 each, and a deviation of 9.5
        CHECK(count > 50);
        CHECK(count < 150);
    }
    CHECK(lifetimes(0.2, 7) == lived);
    CHECK(lifetimes(0.2, 8) != lived);
}

TEST_CASE("no jitter is no jitter", "[expiry]") {
    for (const int ms : lifetimes(0.0, 7)) REQUIRE(ms == 1000);
}

TEST_CASE("jitter does not touch those that never expire", "[expiry]") {
    ManualClock clock;
    drey::Cache<int, int> cache{{.capacity = 1000, .jitter = 0.9, .clock = clock}};
    for (int key = 0; key < 1000; ++key) cache.put(key, key);
    clock.advance(24h * 36500);
    CHECK(cache.purge_expired() == 0);
    CHECK(cache.stats().expirations() == 0);
}

// ---- clocks
// ----------------------------------------------------------------------------------------

TEST_CASE("clock is given by reference, pointer or shared pointer", "[expiry]") {
    using Cache = drey::Cache<int, int>;
    ManualClock clock;
    const auto shared = std::make_shared<ManualClock>();
    const auto expires = [](Cache& cache, ManualClock& by) {
        cache.put(1, 1);
        by.advance(1s);
        return !cache.contains(1);
    };
    Cache by_reference{{.capacity = 1, .ttl = 1s, .clock = clock}};
    CHECK(expires(by_reference, clock));
    Cache by_pointer{{.capacity = 1, .ttl = 1s, .clock = &clock}};
    CHECK(expires(by_pointer, clock));
    {
        Cache by_owner{{.capacity = 1, .ttl = 1s, .clock = shared}};
        CHECK(shared.use_count() > 1);
        CHECK(expires(by_owner, *shared));
    }
    CHECK(shared.use_count() == 1);
    Cache unclocked{{.capacity = 1, .ttl = 1h}};
    unclocked.put(1, 1);
    CHECK(unclocked.contains(1));
    Cache null{{.capacity = 1, .ttl = 1h, .clock = static_cast<const drey::Clock*>(nullptr)}};
    null.put(1, 1);
    CHECK(null.contains(1));
    CHECK_FALSE(std::is_constructible_v<drey::ClockRef, ManualClock>);  // it would dangle
}

TEMPLATE_TEST_CASE("without TTLs no call asks the clock", "[expiry]", drey::Lru, drey::Sieve,
                   drey::Local<>) {
    WatchedClock clock;
    drey::Cache<int, int, TestType> cache{{.capacity = 10, .clock = clock}};
    for (int key = 0; key < 30; ++key) cache.put(key, key);
    cache.put(29, 0, {.ttl = drey::never});
    cache.put_if_absent(29, 0);
    cache.get(29);
    cache.get(0);
    CHECK(cache.find(29).is_hit());
    cache.visit(29, [](int) {});
    cache.contains(29);
    cache.update(29, [](auto old) { return old; });
    cache.get_or_load(0, [] { return 0; });
    cache.for_each([](int, int) {});
    cache.erase_if([](int key, int) { return key == 28; });
    cache.take(27);
    cache.erase(26);
    cache.set_capacity(5);
    cache.purge_expired();
    cache.clear();
    CHECK(clock.asked == 0);
    cache.put(1, 1, {.ttl = 1s});
    CHECK(clock.asked == 1);
}

TEST_CASE("entries without a deadline are read without asking the clock", "[expiry]") {
    WatchedClock clock;
    drey::Cache<int, int> cache{{.capacity = 10, .clock = clock}};
    cache.put(1, 1);
    cache.put(2, 2, {.ttl = 1s});
    clock.asked = 0;
    CHECK(cache.get(1) == 1);
    CHECK(clock.asked == 0);
    CHECK(cache.get(2) == 2);
    CHECK(clock.asked == 1);
}
