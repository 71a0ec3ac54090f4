#include <array>
#include <atomic>
#include <cstdint>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::size_t crowd = 64;

/// An equality that counts. A thread that boards another's flight compares the keys, and nothing
/// else here does; so a loader that waits for `boarded(n)` knows that n threads wait for it.
struct Meeting {
    static inline std::atomic<int> compared{0};

    template <class K>
    bool operator()(const K& a, const K& b) const {
        const bool same = a == b;
        compared.fetch_add(1);
        compared.notify_all();
        return same;
    }
    static void boarded(int n) {
        for (int now = compared.load(); now < n; now = compared.load()) compared.wait(now);
    }
};

template <class K, class V>
using Crowded = drey::Cache<K, V, drey::Memory<drey::Lru, drey::DefaultHash, Meeting>>;

/// `ask(i)` on a crowd of threads.
template <class Ask>
void all_at_once(Ask&& ask) {
    Meeting::compared = 0;
    support::in_threads(crowd, ask);
}

struct Broken : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace

TEST_CASE("a key that a crowd misses is loaded once", "[concurrent]") {
    Crowded<std::string, std::string> cache{{.capacity = 10}};
    std::atomic<int> loads{0};
    support::Failures failures;
    all_at_once([&](std::size_t) {
        const std::string got = cache.get_or_load("key", [&](const std::string& key) {
            ++loads;
            Meeting::boarded(crowd - 1);
            return key + " loaded";
        });
        failures.expect(got == "key loaded");
    });
    CHECK(failures.count() == 0);
    CHECK(loads == 1);
    CHECK(cache.get("key") == "key loaded");
    CHECK(cache.stats().loads == 1);
    CHECK(cache.stats().misses == crowd);
    CHECK(cache.validate());
}

TEST_CASE("a loader's exception reaches the whole crowd and leaves no trace", "[concurrent]") {
    Crowded<int, int> cache{{.capacity = 10}};
    std::atomic<int> loads{0}, caught{0};
    all_at_once([&](std::size_t) {
        try {
            cache.get_or_load(1, [&](int) -> int {
                ++loads;
                Meeting::boarded(crowd - 1);
                throw Broken("no database");
            });
        } catch (const Broken&) {
            ++caught;
        }
    });
    CHECK(loads == 1);
    CHECK(caught == crowd);
    CHECK(cache.size() == 0);
    CHECK(cache.stats().loads == 0);
    CHECK(cache.stats().load_failures == 1);
    CHECK(cache.stats().dropped_loads == 0);
    CHECK(cache.get_or_load(1, [] { return 5; }) == 5);
    CHECK(cache.get(1) == 5);
    CHECK(cache.validate());
}

TEST_CASE("that there is no such row is told to the whole crowd and not stored", "[concurrent]") {
    Crowded<int, int> cache{{.capacity = 10}};
    std::atomic<int> loads{0}, absent{0};
    all_at_once([&](std::size_t) {
        const std::optional<int> got = cache.get_or_load(1, [&](int) -> std::optional<int> {
            ++loads;
            Meeting::boarded(crowd - 1);
            return std::nullopt;
        });
        if (!got) ++absent;
    });
    CHECK(loads == 1);
    CHECK(absent == crowd);
    CHECK(cache.size() == 0);
}

TEST_CASE("a value that only moves is loaded once for a crowd", "[concurrent]") {
    Crowded<int, std::unique_ptr<int>> cache{{.capacity = 10}};
    std::atomic<int> loads{0}, seen{0};
    all_at_once([&](std::size_t) {
        const bool found = cache.visit_or_load(
            1,
            [&](int) {
                ++loads;
                Meeting::boarded(crowd - 1);
                return std::make_unique<int>(7);
            },
            [&](const std::unique_ptr<int>& value) { seen += value && *value == 7 ? 1 : 0; });
        if (!found) seen -= 1000;
    });
    CHECK(loads == 1);
    CHECK(seen == crowd);
    CHECK(cache.validate());
}

TEST_CASE("that there is no row is told to a crowd that waits for a value that only moves",
          "[concurrent]") {
    Crowded<int, std::unique_ptr<int>> cache{{.capacity = 10}};
    std::atomic<int> loads{0}, absent{0};
    all_at_once([&](std::size_t) {
        const bool found = cache.visit_or_load(
            1,
            [&](int) -> std::optional<std::unique_ptr<int>> {
                ++loads;
                Meeting::boarded(crowd - 1);
                return std::nullopt;
            },
            [&](const std::unique_ptr<int>&) { absent -= 1000; });
        if (!found) ++absent;
    });
    CHECK(loads == 1);
    CHECK(absent == crowd);
}

TEST_CASE("an exception of the leader's own visitor is nobody else's", "[concurrent]") {
    Crowded<int, std::unique_ptr<int>> cache{{.capacity = 10}};
    Meeting::compared = 0;
    std::thread passenger;
    bool passenger_found = false;
    CHECK_THROWS_AS(cache.visit_or_load(
                        1,
                        [&] {
                            passenger = std::thread([&] {
                                passenger_found = cache.visit_or_load(
                                    1, [] { return std::make_unique<int>(2); },
                                    [](const std::unique_ptr<int>&) {});
                            });
                            Meeting::boarded(1);
                            return std::make_unique<int>(1);
                        },
                        [](const std::unique_ptr<int>&) { throw Broken("visitor"); }),
                    Broken);
    passenger.join();
    CHECK(passenger_found);
    CHECK(cache.contains(1));
}

namespace {

/// Runs `on_copy` when it is copied, once.
struct CopyHook {
    explicit CopyHook(int i) : id(i) {}
    CopyHook(const CopyHook& other) : id(other.id) {
        if (const auto f = std::exchange(on_copy, nullptr)) f();
    }
    CopyHook(CopyHook&&) = default;
    CopyHook& operator=(CopyHook&&) = default;
    bool operator==(const CopyHook& other) const { return id == other.id; }
    int id;
    static inline thread_local std::function<void()> on_copy;
};
struct CopyHookHash {
    std::size_t operator()(const CopyHook& key) const { return static_cast<std::size_t>(key.id); }
};

}  // namespace

TEST_CASE("nor if it visits what another flight has just brought", "[concurrent]") {
    drey::Cache<CopyHook, std::unique_ptr<int>, drey::Memory<drey::Lru, CopyHookHash, Meeting>>
        cache{{.capacity = 1}};
    const CopyHook key(1);
    std::thread passenger;
    int passenger_saw = 0;
    // After the miss, before the flight: somebody stores the key.
    CopyHook::on_copy = [&] {
        support::elsewhere([&] { cache.put(CopyHook(1), std::make_unique<int>(1)); });
    };
    const auto visitor = [&](const std::unique_ptr<int>&) {
        cache.put(CopyHook(2), std::make_unique<int>(2));  // evicts the key, which dooms nothing
        Meeting::compared = 0;
        passenger = std::thread([&] {
            try {
                cache.visit_or_load(
                    CopyHook(1), [] { return std::make_unique<int>(3); },
                    [&](const std::unique_ptr<int>& value) { passenger_saw = *value; });
            } catch (const Broken&) {
                passenger_saw = -1;
            }
        });
        Meeting::boarded(1);
        throw Broken("visitor");
    };
    CHECK_THROWS_AS(cache.visit_or_load(
                        key, [] { return std::make_unique<int>(9); }, visitor),
                    Broken);
    passenger.join();
    CHECK(passenger_saw == 3);
}

TEST_CASE("keys of one hash do not share a load", "[concurrent]") {
    struct Same {
        std::size_t operator()(int) const { return 7; }
    };
    drey::Cache<int, int, drey::Memory<drey::Lru, Same>> cache{{.capacity = 100}};
    constexpr int keys = 8;
    std::latch all_load(keys);  // each loader waits for all: they must all run at once
    std::array<int, keys> got{};
    support::in_threads(keys, [&](std::size_t i) {
        got[i] = cache.get_or_load(static_cast<int>(i), [&](int key) {
            all_load.arrive_and_wait();
            return key * 10;
        });
    });
    for (int i = 0; i < keys; ++i) {
        CHECK(got[static_cast<std::size_t>(i)] == i * 10);
        CHECK(cache.get(i) == i * 10);
    }
    CHECK(cache.validate());
}

TEST_CASE("passengers of one flight never wait for another key's", "[concurrent]") {
    Crowded<int, int> cache{{.capacity = 1000}};
    std::atomic<int> loads{0};
    support::Failures failures;
    support::in_threads(8, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::size_t i = 0; i < support::ops(5'000); ++i) {
            const int key = static_cast<int>(random.below(16));
            if (random.below(4) == 0) cache.erase(key);
            failures.expect(cache.get_or_load(key, [&](int k) {
                ++loads;
                return k + 1;
            }) == key + 1);
        }
    });
    CHECK(failures.count() == 0);
    CHECK(cache.stats().loads == static_cast<std::uint64_t>(loads.load()));
    CHECK(cache.validate());
}

TEST_CASE("loaders return a value, perhaps a value, or more than a value") {
    const drey::ManualClock clock;
    drey::Cache<int, std::string, drey::Lru> cache{{.capacity = 100, .clock = clock}};

    SECTION("a value") {
        const std::string got = cache.get_or_load(1, [](int key) { return std::to_string(key); });
        CHECK(got == "1");
    }
    SECTION("something that converts to the value") {
        const std::string got = cache.get_or_load(1, [](int) { return "one"; });
        CHECK(got == "one");
    }
    SECTION("perhaps a value") {
        const std::optional<std::string> got =
            cache.get_or_load(1, [](int) { return std::optional<std::string>("one"); });
        CHECK(got == "one");
        CHECK(cache.get(1) == "one");
    }
    SECTION("no value") {
        const std::optional<std::string> got =
            cache.get_or_load(1, [](int) { return std::optional<std::string>(); });
        CHECK(got == std::nullopt);
        CHECK_FALSE(cache.contains(1));
        CHECK(cache.stats().loads == 1);
    }
    SECTION("a value and how long it lives") {
        const std::string got = cache.get_or_load(1, [](int) {
            return drey::Loaded<std::string>{"one", {.ttl = 5s}};
        });
        CHECK(got == "one");
    }
    SECTION("perhaps a value, and how long it lives") {
        using Perhaps = drey::Loaded<std::optional<std::string>>;
        const std::optional<std::string> got = cache.get_or_load(1, [](int) {
            return Perhaps{"one", {.ttl = 5s}};
        });
        CHECK(got == "one");
        const std::optional<std::string> none = cache.get_or_load(2, [](int) {
            return Perhaps{std::nullopt, {}};
        });
        CHECK(none == std::nullopt);
        CHECK_FALSE(cache.contains(2));
    }
    SECTION("whether or not they ask for the key") {
        CHECK(cache.get_or_load(1, [] { return std::string("one"); }) == "one");
    }
    SECTION("even if they can be called but once in this place") {
        CHECK(cache.get_or_load(1, [n = std::make_unique<int>(1)]() mutable {
            return std::to_string(*std::move(n));
        }) == "1");
    }
    SECTION("by reference") {
        const std::string there = "there";
        CHECK(cache.get_or_load(1, [&]() -> const std::string& { return there; }) == "there");
        CHECK(there == "there");
    }
}

TEST_CASE("the loader's TTL goes before the call's, and that before the cache's") {
    drey::ManualClock clock;
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 100, .ttl = 30s, .clock = clock}};
    cache.get_or_load(1, [](int) { return 1; });
    cache.get_or_load(2, [](int) { return 2; }, {.ttl = 20s});
    cache.get_or_load(3, [](int) { return drey::Loaded<int>{3, {.ttl = 10s}}; }, {.ttl = 20s});
    cache.get_or_load(4, [](int) { return drey::Loaded<int>{4, {}}; }, {.ttl = 20s});
    cache.get_or_load(5,
                      [](int) {
                          return drey::Loaded<int>{5, {.ttl = drey::never}};
                      },
                      {.ttl = 20s});
    const auto present = [&] {
        std::string keys;
        for (int key = 1; key <= 5; ++key)
            keys += cache.contains(key) ? static_cast<char>('0' + key) : '-';
        return keys;
    };
    clock.advance(10s - 1ns);
    CHECK(present() == "12345");
    clock.advance(1ns);
    CHECK(present() == "12-45");
    clock.advance(10s);
    CHECK(present() == "1---5");
    clock.advance(10s);
    CHECK(present() == "----5");
}

TEST_CASE("an expired entry is loaded again") {
    drey::ManualClock clock;
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 100, .ttl = 1s, .clock = clock}};
    int loads = 0;
    const auto load = [&](int) { return ++loads; };
    CHECK(cache.get_or_load(1, load) == 1);
    CHECK(cache.get_or_load(1, load) == 1);
    clock.advance(1s);
    CHECK(cache.get_or_load(1, load) == 2);
    CHECK(cache.get(1) == 2);
    CHECK(cache.stats().expirations() == 1);
}

TEST_CASE("an entry that is stored already expired is loaded each time") {
    drey::ManualClock clock;
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 100, .ttl = 0s, .clock = clock}};
    int loads = 0;
    for (int i = 1; i <= 3; ++i) CHECK(cache.get_or_load(1, [&] { return ++loads; }) == i);
}

TEST_CASE("what is too heavy to keep is still returned") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 10, .weigher = [](int, int value) {
                                                return static_cast<drey::Weight>(value);
                                            }}};
    CHECK(cache.get_or_load(1, [] { return 11; }) == 11);
    CHECK_FALSE(cache.contains(1));
    CHECK(cache.stats().loads == 1);
    CHECK(cache.stats().rejections == 1);
}

TEST_CASE("what is too heavy and only moves is still shown, to everyone") {
    drey::Cache<int, std::unique_ptr<int>, drey::Lru> cache{
        {.capacity = 10,
         .weigher = [](int, const std::unique_ptr<int>&) -> drey::Weight { return 11; }}};
    for (int i = 0; i < 3; ++i) {
        int seen = 0;
        CHECK(cache.visit_or_load(
            1, [] { return std::make_unique<int>(5); },
            [&](const std::unique_ptr<int>& value) { seen = *value; }));
        CHECK(seen == 5);
    }
    CHECK(cache.stats().loads == 3);
}

TEST_CASE("keys that only move can be loaded by") {
    using Key = std::unique_ptr<int>;
    struct ByValue {
        std::size_t operator()(const Key& key) const { return static_cast<std::size_t>(*key); }
        bool operator()(const Key& a, const Key& b) const { return *a == *b; }
    };
    drey::Cache<Key, int, drey::Memory<drey::Lru, ByValue, ByValue>> cache{{.capacity = 10}};
    const auto key = [](int i) { return std::make_unique<int>(i); };
    CHECK(cache.get_or_load(key(1), [](const Key& k) { return *k * 10; }) == 10);
    CHECK(cache.get_or_load(key(1), [](const Key&) { return -1; }) == 10);
    CHECK(cache.get(key(1)) == 10);
    CHECK(cache.get_or_load(key(2), [](const Key&) -> std::optional<int> { return {}; }) ==
          std::nullopt);
    CHECK(cache.size() == 1);
}

TEST_CASE("a crowd may load by keys that only move", "[concurrent]") {
    using Key = std::unique_ptr<int>;
    struct Hash {
        std::size_t operator()(const Key& key) const { return static_cast<std::size_t>(*key); }
    };
    struct Equal {
        bool operator()(const Key& a, const Key& b) const { return *a == *b; }
    };
    drey::Cache<Key, int, drey::Memory<drey::Lru, Hash, Equal>> cache{{.capacity = 10}};
    support::Failures failures;
    support::in_threads(8, [&](std::size_t) {
        for (std::size_t i = 0; i < support::ops(3'000); ++i) {
            const int n = static_cast<int>(i % 3);
            failures.expect(
                cache.get_or_load(std::make_unique<int>(n), [](const Key& k) { return *k; }) == n);
            if (i % 5 == 0) cache.erase(std::make_unique<int>(n));
        }
    });
    CHECK(failures.count() == 0);
    CHECK(cache.validate());
}

TEST_CASE("text is looked up without a copy and copied for the load") {
    drey::Cache<std::string, int, drey::Lru> cache{{.capacity = 10}};
    CHECK(cache.get_or_load(std::string_view("one"), [](const std::string&) { return 1; }) == 1);
    CHECK(cache.get_or_load("one", [] { return 2; }) == 1);
    const std::string key = "two";
    CHECK(cache.get_or_load(key, [](std::string_view) { return 2; }) == 2);
    CHECK(key == "two");
}

TEST_CASE("loads are counted") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 10}};
    cache.get_or_load(1, [] { return 1; });
    cache.get_or_load(1, [] { return 1; });
    CHECK_THROWS_AS(cache.get_or_load(2, []() -> int { throw Broken("x"); }), Broken);
    cache.get_or_load(3, [&] {
        cache.erase(3);
        return 3;
    });
    const drey::Stats stats = cache.stats();
    CHECK(stats.loads == 2);
    CHECK(stats.load_failures == 1);
    CHECK(stats.dropped_loads == 1);
    CHECK(stats.hits == 1);
    CHECK(stats.misses == 3);
    CHECK(stats.insertions == 1);
    CHECK(stats.load_time.count() >= 0);
}

TEST_CASE("a cache for one thread loads too") {
    drey::Cache<int, int, drey::Local<drey::Lru>> cache{{.capacity = 10}};
    CHECK(cache.get_or_load(1, [] { return 1; }) == 1);
    CHECK(cache.get_or_load(2, [&] {
        cache.erase(2);
        return 2;
    }) == 2);
    CHECK(cache.size() == 1);
    CHECK(cache.validate());
}
