#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

/// Many keys at once: `warm` and `refresh_all`.

namespace {

using namespace std::chrono_literals;

using Cache = drey::Cache<int, int, drey::Lru>;
using Local = drey::Cache<int, int, drey::Local<drey::Lru>>;

std::vector<int> keys_below(int n) {
    std::vector<int> keys;
    for (int key = 0; key < n; ++key) keys.push_back(key);
    return keys;
}

/// The numbers that a stream has left.
struct Numbers {
    std::istream& in;
    auto begin() const { return std::istream_iterator<int>(in); }
    auto end() const { return std::istream_iterator<int>(); }
};

/// An executor that runs what it holds when told to.
class Later {
public:
    drey::Executor executor() {
        return [this](std::function<void()> task) {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(task));
        };
    }
    std::size_t size() const { return tasks_.size(); }
    void run_one() {
        std::function<void()> task = std::move(tasks_.back());
        tasks_.pop_back();
        task();
    }
    void drop_one() { tasks_.pop_back(); }

private:
    std::mutex mutex_;
    std::vector<std::function<void()>> tasks_;
};

}  // namespace

TEST_CASE("a warm-up loads every key once, by several threads at once", "[concurrent]") {
    Cache cache{{.capacity = 1000}};
    cache.put(3, -3);
    std::latch all_here(4);
    std::atomic<int> loads{0};
    const drey::WarmUp result =
        cache.warm(keys_below(400),
                   [&](int key) {
                       if (++loads <= 4)
                           all_here.arrive_and_wait();  // four are in the loader at once
                       return 10 * key;
                   },
                   {.threads = 4});
    CHECK(result.loaded == 400);
    CHECK(result.absent + result.failed == 0);
    CHECK_FALSE(result.first_error);
    CHECK(loads == 399);
    CHECK(cache.get(399) == 3990);
    CHECK(cache.get(3) == -3);
    CHECK(cache.validate());
}

TEST_CASE("a loader that fails keeps no other key from being loaded", "[concurrent]") {
    Cache cache{{.capacity = 1000}};
    const drey::WarmUp result =
        cache.warm(keys_below(100),
                   [](int key) -> std::optional<int> {
                       if (key % 10 == 7) throw std::runtime_error("no " + std::to_string(key));
                       if (key % 10 == 8) return std::nullopt;
                       return key;
                   },
                   {.threads = 3});
    CHECK(result.loaded == 80);
    CHECK(result.absent == 10);
    CHECK(result.failed == 10);
    REQUIRE(result.first_error);
    CHECK_THROWS_WITH(std::rethrow_exception(result.first_error),
                      Catch::Matchers::ContainsSubstring("7"));
    CHECK(cache.size() == 80);
}

TEST_CASE("progress is told by one thread at a time, rises, and ends with all", "[concurrent]") {
    Cache cache{{.capacity = 1000}};
    std::atomic<int> inside{0};
    support::Failures failures;
    std::vector<std::size_t> told;
    const auto result =
        cache.warm(keys_below(1000), [](int key) { return key; },
                   {.threads = 4, .on_progress = [&](std::size_t done, std::size_t total) {
                        failures.expect(++inside == 1 && total == 1000);
                        failures.expect(told.empty() || told.back() < done);
                        told.push_back(done);
                        cache.get(1);  // the cache may be called
                        --inside;
                    }});
    CHECK(result.loaded == 1000);
    CHECK(failures.count() == 0);
    CHECK(told.size() <= 101);
    CHECK(told.back() == 1000);
}

TEST_CASE("a range may be read once, and not know its size") {
    Cache cache{{.capacity = 1000}};
    std::istringstream text("5 6 7");
    const Numbers numbers{text};
    std::vector<std::pair<std::size_t, std::size_t>> told;
    const auto result = cache.warm(numbers, [](int key) { return key; },
                                   {.on_progress = [&](std::size_t done, std::size_t total) {
                                       told.emplace_back(done, total);
                                   }});
    CHECK(result.loaded == 3);
    CHECK(told == std::vector<std::pair<std::size_t, std::size_t>>{{3, 0}});
    CHECK(cache.contains(7));
    CHECK(cache.warm(std::vector<int>{}, [](int key) { return key; }).loaded == 0);
    CHECK(cache.warm({8, 9}, [] { return 1; }).loaded == 2);
}

TEST_CASE("what on_progress throws ends the warm-up") {
    Cache cache{{.capacity = 1000}};
    const auto stop = [](std::size_t done, std::size_t) {
        if (done >= 50) throw std::runtime_error("enough");
    };
    CHECK_THROWS_WITH(cache.warm(keys_below(100), [](int key) { return key; },
                                 {.threads = 1, .on_progress = stop}),
                      "enough");
    CHECK(cache.size() == 50);
}

TEST_CASE("a Local cache is warmed by its one thread") {
    Local cache{{.capacity = 1000}};
    CHECK(cache.warm(keys_below(10), [](int key) { return key; }).loaded == 10);
    CHECK_THROWS_AS(cache.warm(keys_below(10), [](int key) { return key; }, {.threads = 2}),
                    std::invalid_argument);
}

TEST_CASE("every key is refreshed, a few at a time, and each that is done starts the next") {
    Later later;
    Cache cache{{.capacity = 1000, .loading = {.executor = later.executor()}}};
    for (int key = 0; key < 200; ++key) cache.put(key, 0);
    int loads = 0;
    CHECK(cache.refresh_all([&](int key) {
        if (++loads % 7 == 0) throw std::runtime_error("fails");
        return key + 1;
    }) == 200);
    while (later.size() != 0) {
        CHECK(later.size() <= drey::most_refreshes);
        later.run_one();
    }
    CHECK(loads == 200);
    int refreshed = 0;
    cache.for_each([&](int key, int value) { refreshed += value == key + 1 ? 1 : 0; });
    CHECK(refreshed == 200 - 200 / 7);
    CHECK(cache.stats().refreshes == 200);
}

TEST_CASE("what an executor drops, refuses or runs at once keeps no other key from a refresh") {
    Later later;
    int given = 0;
    const drey::Executor moody = [&, keep = later.executor()](std::function<void()> task) {
        switch (++given % 3) {
            case 0:
                throw std::runtime_error("refused");
            case 1:
                return keep(std::move(task));
            default:
                return task();
        }
    };
    Cache cache{{.capacity = 10'000, .loading = {.executor = moody}}};
    for (int key = 0; key < 9'999; ++key) cache.put(key, 0);
    std::size_t loads = 0, dropped = 0;
    cache.refresh_all([&] {
        ++loads;
        return 1;
    });
    for (; later.size() != 0; ++dropped)
        if (dropped % 2 == 0) {
            later.drop_one();
        } else {
            later.run_one();
        }
    CHECK(given == 9'999);
    CHECK(loads == 9'999 - 3'333 - (3'333 + 1) / 2);
}

TEST_CASE("keys that are being loaded are left to that load") {
    Later later;
    Cache cache{{.capacity = 100, .loading = {.executor = later.executor()}}};
    for (int key = 0; key < 100; ++key) cache.put(key, 0);
    for (int key = 0; key < 100; key += 2) cache.refresh(key, [] { return 2; });
    CHECK(cache.refresh_all([] { return 1; }) == 100);
    while (later.size() != 0) later.run_one();
    int sum = 0;
    cache.for_each([&](int, int value) { sum += value; });
    CHECK(sum == 50 * 2 + 50 * 1);
}

TEST_CASE("stale values are refreshed too, absences are not") {
    drey::ManualClock clock;
    Later later;
    Cache cache{{.capacity = 100,
                 .loading = {.stale_for = 1h, .negative_ttl = 1h, .executor = later.executor()},
                 .clock = clock,
                 .shards = 1}};
    for (const int key : {5, 3, 8, 1}) cache.put(key, 0);
    cache.put(4, 0, {.ttl = 1s, .stale_for = 1h});
    cache.get_or_load(6, [] { return std::optional<int>(); });
    clock.advance(1s);
    std::vector<int> loaded;
    CHECK(cache.refresh_all([&](int key) {
        loaded.push_back(key);
        return 1;
    }) == 5);
    while (later.size() != 0) later.run_one();
    CHECK(loaded.size() == 5);
    CHECK(cache.find(4).is_hit());
    CHECK(cache.find(6).is_absent());
    CHECK(cache.validate());
}

TEST_CASE("a Local cache refreshes in the call") {
    Local cache{{.capacity = 100}};
    for (int key = 0; key < 100; ++key) cache.put(key, 0);
    CHECK(cache.refresh_all([](int key) { return key; }) == 100);
    CHECK(cache.get(99) == 99);
}

TEST_CASE("a cache that is destroyed begins no more refreshes, and no loader outlives it",
          "[concurrent]") {
    for (std::size_t round = 0; round < support::ops(20); ++round) {
        const auto alive = std::make_shared<std::atomic<int>>(0);
        std::atomic<int> loads{0};
        {
            Cache cache{{.capacity = 10'000}};
            for (int key = 0; key < 5'000; ++key) cache.put(key, 0);
            std::latch begun(1);
            cache.refresh_all([&, alive, first = std::make_shared<std::once_flag>()](int key) {
                std::call_once(*first, [&] { begun.count_down(); });
                ++loads;
                return key;
            });
            begun.wait();
        }
        CHECK(alive.use_count() == 1);
        CHECK(loads >= 1);
    }
}
