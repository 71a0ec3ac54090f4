#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "drey/drey.hpp"
#include "support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using drey::Removal;

struct Left {
    int key;
    std::string value;
    Removal cause;
    bool operator==(const Left&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Left& left) {
    return out << left.key << ' ' << left.value << ' ' << static_cast<int>(left.cause);
}

template <class Backend>
struct Listened {
    using Cache = drey::Cache<int, std::string, Backend>;
    drey::ManualClock clock{};
    std::vector<Left> left{};
    Cache cache;

    explicit Listened(std::size_t capacity = 3)
        : cache({.capacity = capacity,
                 .on_removal =
                     [this](int key, const std::string& value, Removal cause) {
                         left.push_back({key, value, cause});
                         if (cause != Removal::replaced) CHECK_FALSE(cache.contains(key));
                         if (cause == Removal::replaced) CHECK(cache.get(key) != value);
                     },
                 .clock = clock}) {}
    Listened(const Listened&) = delete;
    Listened& operator=(const Listened&) = delete;
    ~Listened() { CHECK(cache.validate()); }

    /// What left since it was asked last.
    std::vector<Left> news() { return std::exchange(left, {}); }
};

using Lefts = std::vector<Left>;

}  // namespace

TEMPLATE_TEST_CASE("listener hears of each removal once, with its cause, when it is done",
                   "[removal]", drey::Fifo, drey::Memory<drey::Fifo>, drey::Local<drey::Fifo>) {
    Listened<TestType> f;
    f.cache.put(1, "a");
    CHECK(f.news().empty());
    f.cache.put(1, "b");
    CHECK(f.news() == Lefts{{1, "a", Removal::replaced}});
    f.cache.update(1, [](auto) { return std::optional<std::string>("c"); });
    CHECK(f.news() == Lefts{{1, "b", Removal::replaced}});
    f.cache.update(1, [](auto) { return std::optional<std::string>(); });
    CHECK(f.news() == Lefts{{1, "c", Removal::erased}});
    f.cache.put(1, "d");
    f.cache.erase(1);
    CHECK(f.news() == Lefts{{1, "d", Removal::erased}});
    f.cache.put(1, "e");
    CHECK(f.cache.take(1) == "e");
    CHECK(f.news() == Lefts{{1, "e", Removal::erased}});
    f.cache.put(1, "f");
    f.cache.erase_if([](int, const std::string&) { return true; });
    CHECK(f.news() == Lefts{{1, "f", Removal::erased}});
    for (int key = 1; key <= 4; ++key) f.cache.put(key, "g");
    CHECK(f.news() == Lefts{{1, "g", Removal::evicted}});
    f.cache.set_capacity(2);
    CHECK(f.news() == Lefts{{2, "g", Removal::evicted}});
    f.cache.clear();
    const Lefts cleared = f.news();
    CHECK(cleared.size() == 2);
    CHECK((cleared == Lefts{{3, "g", Removal::cleared}, {4, "g", Removal::cleared}} ||
           cleared == Lefts{{4, "g", Removal::cleared}, {3, "g", Removal::cleared}}));
    f.cache.erase(1);
    f.cache.take(1);
    f.cache.clear();
    CHECK(f.news().empty());
    CHECK(f.cache.stats().listener_failures == 0);
}

TEMPLATE_TEST_CASE("listener hears of what expired, whoever finds it", "[removal]", drey::Fifo,
                   drey::Local<drey::Fifo>) {
    Listened<TestType> f;
    const Lefts expired{{1, "x", Removal::expired}};
    const auto put_expired = [&] {
        f.cache.put(1, "x", {.ttl = 1s});
        f.clock.advance(1s);
        CHECK(f.news().empty());
    };
    put_expired();
    f.cache.get(1);
    CHECK(f.news() == expired);
    put_expired();
    f.cache.erase(1);
    CHECK(f.news() == expired);
    put_expired();
    f.cache.take(1);
    CHECK(f.news() == expired);
    put_expired();
    f.cache.update(1, [](auto) { return std::optional<std::string>(); });
    CHECK(f.news() == expired);
    put_expired();
    f.cache.purge_expired();
    CHECK(f.news() == expired);
    put_expired();
    f.cache.put(2, "y");
    CHECK(f.news() == expired);
    CHECK(f.cache.stats().expirations() == 6);
}

TEST_CASE("overwriting an expired entry reports it as expired", "[removal]") {
    std::vector<Left> left;
    drey::ManualClock clock;
    drey::Cache<int, std::string> cache{{.capacity = 3,
                                         .on_removal =
                                             [&](int key, const std::string& value, Removal cause) {
                                                 left.push_back({key, value, cause});
                                             },
                                         .clock = clock}};
    cache.put(1, "x", {.ttl = 1s});
    clock.advance(1s);
    cache.put(1, "y");
    CHECK(left == Lefts{{1, "x", Removal::expired}});
    CHECK(cache.get(1) == "y");
}

TEST_CASE("value refused for its weight takes the key's older one with it", "[removal]") {
    std::vector<Left> left;
    drey::Cache<int, std::string> cache{
        {.capacity = 10,
         .weigher = [](int, const std::string& value) { return value.size(); },
         .on_removal =
             [&](int key, const std::string& value, Removal cause) {
                 left.push_back({key, value, cause});
             }}};
    cache.put(1, "x");
    CHECK_FALSE(cache.put(1, std::string(11, 'x')));
    CHECK(left == Lefts{{1, "x", Removal::erased}});
}

TEMPLATE_TEST_CASE("everything that was ever put has either left once or is still there",
                   "[removal]", drey::Lru, drey::S3Fifo, drey::Local<drey::Random>) {
    std::map<std::string, int> times;
    drey::Cache<int, std::string, TestType> cache{
        {.capacity = 50,
         .on_removal = [&](int, const std::string& value, Removal) { ++times[value]; }}};
    for (int i = 0; i < 5000; ++i) {
        cache.put(i * 7919 % 97, std::to_string(i));
        if (i % 5 == 0) cache.erase(i % 97);
        if (i % 1000 == 999) cache.clear();
    }
    cache.for_each([&](int, const std::string& value) { ++times[value]; });
    CHECK(times.size() == 5000);
    for (const auto& [value, count] : times) REQUIRE(count == 1);
}

TEMPLATE_TEST_CASE("more may leave at once than one batch holds", "[removal]", drey::Fifo,
                   drey::Local<drey::Fifo>) {
    std::size_t calls = 0;
    drey::Cache<int, std::size_t, TestType> cache{
        {.capacity = 10'000,
         .weigher = [](int, std::size_t weight) { return weight; },
         .on_removal = [&](int, std::size_t, Removal) { ++calls; }}};
    for (int key = 0; key < 3000; ++key) cache.put(key, 1);
    cache.put(3000, 10'000);
    CHECK(calls == 3000);
    CHECK(cache.size() == 1);
    for (int key = 0; key < 3000; ++key) cache.put(key, 1);
    CHECK(cache.clear() == 3000);
    CHECK(calls == 6001);
    CHECK(cache.validate());
}

TEST_CASE("listener that throws is swallowed and counted", "[removal]") {
    int calls = 0;
    drey::Cache<int, int> cache{{.capacity = 2, .on_removal = [&](int, int, Removal) {
                                     ++calls;
                                     throw std::runtime_error("listener is broken");
                                 }}};
    for (int key = 0; key < 5; ++key) CHECK(cache.put(key, key));
    CHECK(cache.put(4, 5));
    CHECK(cache.take(4) == 5);
    CHECK(cache.clear() == 1);
    CHECK(calls == 6);
    CHECK(cache.stats().listener_failures == 6);
    CHECK(cache.validate());
}

TEST_CASE("values that only move are shown to the listener before they go", "[removal]") {
    int sum = 0;
    drey::Cache<int, std::unique_ptr<int>> cache{
        {.capacity = 2,
         .on_removal = [&](int, const std::unique_ptr<int>& value, Removal) { sum += *value; }}};
    cache.put(1, std::make_unique<int>(1));
    cache.put(2, std::make_unique<int>(10));
    cache.put(3, std::make_unique<int>(100));
    CHECK(cache.size() == 2);
    const auto taken = cache.take(3);
    REQUIRE(taken);
    CHECK(**taken == 100);
    cache.clear();
    CHECK(sum == 111);
}

namespace {

struct Tracked {
    explicit Tracked(int& count) : alive(&count) { ++*alive; }
    Tracked(Tracked&& other) noexcept : alive(other.alive) { ++*alive; }
    Tracked& operator=(Tracked&&) = delete;
    ~Tracked() { --*alive; }
    int* alive;
};

}  // namespace

TEMPLATE_TEST_CASE("what was removed by the user is destroyed when the call returns", "[removal]",
                   drey::Lru, drey::Local<>) {
    int alive = 0;
    drey::Cache<int, Tracked, TestType> cache{{.capacity = 100}};
    for (int key = 0; key < 100; ++key) cache.put(key, Tracked(alive));
    CHECK(alive == 100);
    cache.erase(1);
    CHECK(alive == 99);
    cache.take(2);
    CHECK(alive == 98);
    cache.erase_if([](int key, const Tracked&) { return key < 50; });
    CHECK(alive == 50);
    cache.clear();
    CHECK(alive == 0);
}

TEMPLATE_TEST_CASE("what was evicted or replaced is destroyed soon, and at once by synchronize",
                   "[removal]", drey::Lru, drey::Local<>) {
    int alive = 0;
    {
        drey::Cache<int, Tracked, TestType> cache{{.capacity = 100}};
        for (int key = 0; key < 10'000; ++key) {
            cache.put(key, Tracked(alive));
            cache.put(key, Tracked(alive));
            REQUIRE(alive <= 100 + 100 / 16 + 1);
        }
        cache.synchronize();
        CHECK(alive == 100);
    }
    CHECK(alive == 0);
}
