#include <array>
#include <cstdint>
#include <latch>
#include <string>
#include <thread>

#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using drey::ReentrantLoad;
using Numbers = drey::Cache<int, std::uint64_t, drey::Lru>;

TEST_CASE("a loader that asks for its own key is told so") {
    Numbers cache{{.capacity = 10}};
    const auto never_called = []() -> std::uint64_t { throw std::runtime_error("called"); };
    CHECK_THROWS_AS(cache.get_or_load(1, [&] { return cache.get_or_load(1, never_called); }),
                    ReentrantLoad);
    CHECK(cache.size() == 0);
    CHECK(cache.stats().load_failures == 1);
    CHECK(cache.get_or_load(1, [] { return std::uint64_t{1}; }) == 1);
    CHECK(cache.validate());
}

TEST_CASE("and may go on without") {
    Numbers cache{{.capacity = 10}};
    const auto got = cache.get_or_load(1, [&]() -> std::uint64_t {
        for (int i = 0; i < 3; ++i) try {
                cache.get_or_load(1, [] { return std::uint64_t{0}; });
            } catch (const ReentrantLoad&) {
                continue;
            }
        return 5;
    });
    CHECK(got == 5);
    CHECK(cache.get(1) == 5);
    CHECK(cache.stats().loads == 1);
}

TEST_CASE("by way of another key as well") {
    Numbers cache{{.capacity = 10}};
    bool told = false;
    const auto got = cache.get_or_load(1, [&] {
        return cache.get_or_load(2, [&]() -> std::uint64_t {
            try {
                return cache.get_or_load(1, [] { return std::uint64_t{0}; });
            } catch (const ReentrantLoad&) {
                told = true;
                return 7;
            }
        });
    });
    CHECK(told);
    CHECK(got == 7);
    CHECK(cache.size() == 2);
}

TEST_CASE("a loader whose flight is doomed may load its key anew") {
    Numbers cache{{.capacity = 10}};
    const auto got = cache.get_or_load(1, [&]() -> std::uint64_t {
        cache.erase(1);
        return 1 + cache.get_or_load(1, [] { return std::uint64_t{10}; });
    });
    CHECK(got == 11);
    CHECK(cache.get(1) == 10);
    CHECK(cache.validate());
}

TEST_CASE("a loader may look at, write and remove its own key") {
    Numbers cache{{.capacity = 10}};
    const auto got = cache.get_or_load(1, [&]() -> std::uint64_t {
        CHECK_FALSE(cache.get(1));
        cache.put(1, 3);
        CHECK(cache.get(1) == 3);
        CHECK(cache.get_or_load(1, [] { return std::uint64_t{0}; }) == 3);
        CHECK(cache.take(1) == 3);
        cache.clear();
        cache.update(1, [](auto) { return std::optional<std::uint64_t>(4); });
        return 5;
    });
    CHECK(got == 5);
    CHECK(cache.get(1) == 4);
}

namespace {

std::uint64_t fibonacci(Numbers& cache, int n) {
    return cache.get_or_load(n, [&]() -> std::uint64_t {
        return n < 2 ? static_cast<std::uint64_t>(n)
                     : fibonacci(cache, n - 1) + fibonacci(cache, n - 2);
    });
}

}  // namespace

TEST_CASE("loaders recurse for other keys") {
    Numbers cache{{.capacity = 100}};
    CHECK(fibonacci(cache, 90) == 2880067194370816120u);
    CHECK(cache.stats().loads == 91);
    CHECK(cache.validate());
}

TEST_CASE("recursive loads of many threads end", "[concurrent]") {
    // Every loader waits only for smaller keys, so there is no circle and nobody may be told of
    // one.
    for (std::size_t round = 0; round < support::ops(300); ++round) {
        Numbers cache{{.capacity = 100}};
        support::Failures failures;
        support::in_threads(4, [&](std::size_t thread) {
            try {
                failures.expect(fibonacci(cache, 30 - static_cast<int>(thread)) > 0);
            } catch (const ReentrantLoad&) {
                failures.expect(false);
            }
        });
        REQUIRE(failures.count() == 0);
        REQUIRE(cache.stats().loads == 31);
    }
}

namespace {

/// Threads i = 0..n-1 load key i, and in that the next one's. One of them is told of the circle and
/// makes do; then all others get what they wait for.
template <std::size_t n>
void circle() {
    Numbers cache{{.capacity = 10}};
    std::latch all_load(n);
    std::atomic<int> told{0};
    std::array<std::uint64_t, n> got{};
    support::in_threads(n, [&](std::size_t i) {
        got[i] = cache.get_or_load(static_cast<int>(i), [&]() -> std::uint64_t {
            all_load.arrive_and_wait();
            try {
                return 1 + cache.get_or_load(static_cast<int>((i + 1) % n),
                                             [] { return std::uint64_t{1000}; });
            } catch (const ReentrantLoad&) {
                ++told;
                return 0;
            }
        });
    });
    REQUIRE(told == 1);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += got[i];
    REQUIRE(sum == n * (n - 1) / 2);
    REQUIRE(cache.validate());
}

}  // namespace

TEST_CASE("two threads that wait for each other's loads do not wait for ever", "[concurrent]") {
    for (std::size_t round = 0; round < support::ops(300); ++round) circle<2>();
}

TEST_CASE("nor do five in a circle", "[concurrent]") {
    for (std::size_t round = 0; round < support::ops(100); ++round) circle<5>();
}

TEST_CASE("if nobody makes do, all of the circle are told", "[concurrent]") {
    for (std::size_t round = 0; round < support::ops(100); ++round) {
        Numbers cache{{.capacity = 10}};
        std::latch both(2);
        std::atomic<int> told{0};
        support::in_threads(2, [&](std::size_t i) {
            try {
                cache.get_or_load(static_cast<int>(i), [&] {
                    both.arrive_and_wait();
                    return cache.get_or_load(static_cast<int>(1 - i),
                                             [] { return std::uint64_t{0}; });
                });
            } catch (const ReentrantLoad&) {
                ++told;
            }
        });
        REQUIRE(told == 2);
        REQUIRE(cache.size() == 0);
    }
}

TEST_CASE("nobody is told of a circle that is none", "[concurrent]") {
    // One thread loads a and asks for b meanwhile; the other loads b, and asks for a afterwards. If
    // the first is about to wait for b when that has just landed, no circle has closed.
    Numbers cache{{.capacity = 10}};
    support::Failures failures;
    support::in_threads(3, [&](std::size_t thread) {
        const auto b = [&] { return cache.get_or_load(2, [] { return std::uint64_t{2}; }); };
        const auto a = [&] { return cache.get_or_load(1, [&] { return b(); }); };
        for (std::size_t i = 0; i < support::ops(10'000); ++i) {
            try {
                if (thread != 0) b();
                failures.expect(a() == 2);
            } catch (const ReentrantLoad&) {
                failures.expect(false);
            }
            cache.erase(2);
            cache.erase(1);
        }
    });
    CHECK(failures.count() == 0);
    CHECK(cache.validate());
}
