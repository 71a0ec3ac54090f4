#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "drey/drey.hpp"
#include "drey/simulate.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
// Of a policy whose simulations are exact: Adaptive goes by a sample, which differs.
using Cache = drey::Cache<std::uint64_t, std::uint64_t, drey::S3Fifo>;

/// Keys below n, small ones more often.
std::vector<std::uint64_t> skewed(std::size_t count, double n, std::uint64_t seed) {
    std::vector<std::uint64_t> keys(count);
    for (std::uint64_t& key : keys) {
        seed += drey::detail::golden_step;
        const double u = static_cast<double>(drey::detail::scrambled(seed) >> 11) * 0x1p-53;
        key = static_cast<std::uint64_t>(std::pow(n, u));
    }
    return keys;
}

void look_up_all(Cache& cache, const std::vector<std::uint64_t>& keys) {
    for (const std::uint64_t key : keys)
        if (!cache.get(key)) cache.put(key, key);
}

template <class Policy>
double real_hit_ratio(const std::vector<std::uint64_t>& keys, double capacity) {
    std::vector<drey::Hash> hashes;
    for (const std::uint64_t key : keys) hashes.push_back(drey::detail::mix(key, 1));
    const auto entries = static_cast<drey::Weight>(std::round(capacity));
    return 1 - drey::simulate<Policy>(hashes, entries).miss_ratio();
}

/// Calls `check(prediction, truth)` for each.
template <class Check>
void against_real_runs(const drey::Advice& advice, const std::vector<std::uint64_t>& keys,
                       Check&& check) {
    for (const drey::Prediction& one : advice.predictions) {
        INFO(one.policy << " at " << one.factor);
        if (one.policy == "S3-FIFO") check(one, real_hit_ratio<drey::S3Fifo>(keys, one.capacity));
        if (one.policy == "LRU") check(one, real_hit_ratio<drey::Lru>(keys, one.capacity));
    }
}

/// A policy of a user's.
struct Mine : drey::Fifo {};

}  // namespace

TEST_CASE("predictions are exact while there are few keys", "[advise]") {
    const auto keys = skewed(20'000, 150, 1);
    Cache cache{{.capacity = 40, .seed = 1, .advise = true}};
    look_up_all(cache, keys);
    const drey::Advice advice = cache.advice();
    CHECK(advice.lookups == keys.size());
    CHECK(advice.followed == keys.size());
    CHECK(advice.hit_ratio == cache.stats().hit_ratio());
    CHECK(advice.simulated == Catch::Approx(advice.hit_ratio).epsilon(1e-9));
    CHECK(advice.predictions.size() == 12);
    against_real_runs(advice, keys, [](const drey::Prediction& one, double truth) {
        CHECK(one.hit_ratio == Catch::Approx(truth).epsilon(1e-9));
        CHECK(one.error == 0);
        CHECK(one.sampled == 1);
    });
}

TEST_CASE("predictions from a sample are near, and say how near", "[advise]") {
    const auto keys = skewed(200'000, 100'000, 2);
    Cache cache{{.capacity = 3'000, .seed = 1, .advise = true}};
    look_up_all(cache, keys);
    const drey::Advice advice = cache.advice();
    CHECK(advice.simulated == Catch::Approx(advice.hit_ratio).margin(0.02));
    CHECK(advice.own(1)->hit_ratio == Catch::Approx(cache.stats().hit_ratio()).margin(1e-9));
    CHECK(advice.own(8)->sampled < 0.1);
    std::size_t within = 0;
    against_real_runs(advice, keys, [&](const drey::Prediction& one, double truth) {
        CHECK(one.hit_ratio == Catch::Approx(truth).margin(0.03));
        within += std::abs(one.hit_ratio - truth) <= one.error + 0.001 ? 1 : 0;
    });
    CHECK(within >= 10);  // of 12
}

TEST_CASE("what is erased or cleared is gone in the simulations too", "[advise]") {
    Cache cache{{.capacity = 100, .seed = 1, .advise = true}};
    const auto keys = skewed(5'000, 300, 3);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (!cache.get(keys[i])) cache.put(keys[i], 0);
        if (i % 7 == 0) cache.erase(keys[i]);
        if (i % 1'000 == 999) cache.clear();
    }
    CHECK(cache.advice().simulated == Catch::Approx(cache.stats().hit_ratio()).epsilon(1e-9));
}

TEST_CASE("what is found expired is a miss in the simulations too", "[advise]") {
    drey::ManualClock clock;
    Cache cache{{.capacity = 100, .ttl = 3s, .clock = clock, .seed = 1, .advise = true}};
    for (int round = 0; round < 50; ++round) {
        if (!cache.get(1)) cache.put(1, 1);
        clock.advance(1s);
    }
    CHECK(cache.stats().misses == 17);
    CHECK(cache.advice().simulated == Catch::Approx(cache.stats().hit_ratio()).epsilon(1e-9));
}

TEST_CASE("advice begins anew with another capacity", "[advise]") {
    Cache cache{{.capacity = 100, .seed = 1, .advise = true}};
    const auto keys = skewed(5'000, 300, 4);
    look_up_all(cache, keys);
    cache.set_capacity(60);
    CHECK(cache.advice().lookups == 0);
    CHECK(cache.advice().sentence() == "Nothing is known yet.");
    const drey::Stats before = cache.stats();
    look_up_all(cache, keys);
    const drey::Advice advice = cache.advice();
    CHECK(advice.own(1)->capacity == 60);
    const auto hits = static_cast<double>(cache.stats().hits - before.hits);
    CHECK(advice.simulated == Catch::Approx(hits / 5'000).epsilon(1e-9));
}

TEST_CASE("a cache that is much smaller now is sampled by more of its keys", "[advise]") {
    Cache cache{{.capacity = 200'000, .seed = 1, .advise = true, .shards = 1}};
    const auto look_up = [&](std::uint64_t key) {
        if (!cache.get(key)) cache.put(key, key);
    };
    for (std::uint64_t key = 0; key < 300'000; ++key) look_up(key);
    CHECK(cache.advice().own(1)->sampled < 0.1);
    cache.set_capacity(100);
    for (const std::uint64_t key : skewed(30'000, 2'000, 1)) look_up(key);
    const drey::Advice advice = cache.advice();
    CHECK(advice.own(1)->sampled == 1);
    CHECK(std::abs(advice.simulated - advice.hit_ratio) < 0.05);
    CHECK(advice.own(2)->hit_ratio > advice.hit_ratio + 0.02);
}

TEST_CASE("a capacity beyond all numbers has advice too", "[advise]") {
    Cache cache{{.capacity = ~std::size_t{0}, .seed = 1, .advise = true, .shards = 1}};
    for (std::uint64_t i = 0; i < 1'000; ++i)
        if (!cache.get(i / 2)) cache.put(i / 2, i);
    for (const drey::Prediction& one : cache.advice().predictions) CHECK(one.hit_ratio == 0.5);
}

TEST_CASE("every kind of look-up is followed", "[advise]") {
    Cache cache{{.capacity = 100, .seed = 1, .advise = true}};
    for (std::uint64_t key = 0; key < 50; ++key)
        CHECK(cache.get_or_load(key, [&] { return key; }) == key);
    std::uint64_t sum = 0;
    for (std::uint64_t key = 0; key < 50; ++key) {
        cache.visit(key, [&](std::uint64_t value) { sum += value; });
        sum += cache.find(key).has_value();
        sum += cache.get_or_load(key, [] { return std::uint64_t{0}; });
    }
    CHECK(sum > 0);
    const drey::Advice advice = cache.advice();
    CHECK(advice.lookups == 200);
    CHECK(advice.simulated == Catch::Approx(0.75));
    CHECK(advice.hit_ratio == Catch::Approx(0.75));
}

TEST_CASE("the advice is a sentence", "[advise]") {
    drey::Advice advice{.lookups = 1, .followed = 1, .hit_ratio = 0.812};
    const auto add = [&](const char* policy, bool own, double factor, double hits, double error) {
        advice.predictions.push_back({policy, own, factor, 100 * factor, hits, error, 1});
    };
    add("S3-FIFO", true, 0.5, 0.792, 0.003);
    add("S3-FIFO", true, 1, 0.812, 0);
    add("S3-FIFO", true, 2, 0.843, 0.004);
    add("LRU", false, 1, 0.8121, 0);
    CHECK(advice.sentence() ==
          "Hit ratio 81.2 % with S3-FIFO. Doubling the capacity would gain 3.1 points (± 0.4), "
          "halving it would lose 2.0 points (± 0.3); LRU would change nothing.");
}

TEST_CASE("advice must be asked for, and for a policy that is known", "[advise]") {
    Cache silent{{.capacity = 10}};
    CHECK_THROWS_AS(silent.advice(), std::logic_error);
    const auto weigher = [](std::uint64_t, std::uint64_t) -> drey::Weight { return 2; };
    CHECK_THROWS_AS(Cache({.capacity = 10, .weigher = weigher, .advise = true}),
                    std::invalid_argument);
    CHECK_THROWS_AS(Cache({.capacity = 10, .advise = true, .advise_memory = 100}),
                    std::invalid_argument);

    using OfMine = drey::Cache<int, int, drey::Local<Mine>>;
    CHECK_THROWS_AS(OfMine({.capacity = 10, .advise = true}), std::invalid_argument);
    OfMine mine{{.capacity = 10, .advise = drey::Advise::on_policy<Mine>()}};
    for (int key = 0; key < 100; ++key)
        if (!mine.get(key % 12)) mine.put(key % 12, key);
    const drey::Advice advice = mine.advice();
    CHECK(advice.predictions.size() == 18);
    CHECK(advice.simulated == Catch::Approx(mine.stats().hit_ratio()));
    CHECK(advice.own(2)->hit_ratio == Catch::Approx(0.88));
}

TEST_CASE("an advisor that has worked enough rests until look-ups have made up for it",
          "[advise]") {
    drey::HitCounters counters(false);
    drey::WatchLine watched(1);
    const auto advisor = drey::detail::make_advisor<void>(
        {&drey::PolicyId<drey::Lru>::value, 1'000, 64 << 10, false, counters, watched});
    CHECK(watched.advisors() != 0);
    const auto look_up = [&](std::size_t times) {
        for (; times != 0; --times) counters.own_hit(0);
    };
    std::uint64_t key = 0;
    const auto follow = [&](std::size_t most) {
        for (; most != 0 && watched.advisors() != 0; --most) {
            counters.own_hit(0);
            advisor->note(0, drey::detail::scrambled(key++ % 500) & (watched.advisors() - 1),
                          drey::Sampled::looked_up);
        }
    };
    follow(100'000);
    CHECK(watched.advisors() != 0);
    look_up(std::size_t{1} << 22);  // more, and the beginning is over
    follow(10'000'000);
    REQUIRE(watched.advisors() == 0);
    const std::uint64_t followed = advisor->advice().followed;
    const auto miss_all = [&] {
        for (std::uint64_t low = 0; low < 10; ++low)
            advisor->missed(0, low, drey::Sampled::looked_up);
    };
    miss_all();
    CHECK(watched.advisors() == 0);
    CHECK(advisor->advice().followed == followed);
    look_up(150'000'000);
    miss_all();
    CHECK(watched.advisors() != 0);
    follow(10'000'000);
    CHECK(watched.advisors() == 0);
    CHECK(advisor->advice().followed > followed);
    CHECK(advisor->advice().followed < followed + (std::size_t{1} << 27));
}

TEST_CASE("what advisor or policy want to hear of is watched, and little else", "[advise]") {
    drey::WatchLine line(12345);
    const auto watched = [&](drey::Hash below) {
        std::size_t wrong = 0;
        for (drey::Hash n = 0; n < 10'000; ++n) {
            const drey::Hash h = drey::detail::scrambled(n);
            wrong += line.is_watched(h) != (line.order(h) < below) ? 1u : 0u;
        }
        return wrong == 0;
    };
    constexpr drey::Hash half = drey::Hash{1} << 63;
    CHECK(watched(0));
    line.set_advisors(half);
    CHECK(watched(half));
    line.set_policys(half / 4);
    CHECK(watched(half));
    line.set_advisors(0);
    CHECK(watched(half / 4));
    line.set_advisors(half / 8);
    line.set_policys(0);
    CHECK(watched(half / 8));
    CHECK(line.advisors() == half / 8);
}

TEST_CASE("threads share an advisor, and none waits for it", "[advise][concurrent]") {
    Cache cache{{.capacity = 500, .seed = 1, .advise = true}};
    std::atomic<bool> follows_more_than_there_are = false;
    support::in_threads(4, [&](std::size_t thread) {
        const auto keys = skewed(4'000, 5'000, thread);
        for (std::size_t i = 0; i < keys.size(); ++i) {
            if (!cache.get(keys[i])) cache.put(keys[i], keys[i]);
            if (i % 64 == thread) cache.erase(keys[i]);
            if (i % 256 == 128 + thread) {
                const drey::Advice advice = cache.advice();
                if (advice.followed > advice.lookups) follows_more_than_there_are = true;
            }
            if (i % 2'048 == 1'000 + thread) cache.set_capacity(400 + 10 * thread);
            if (i == 3'000 + thread) cache.clear();
        }
    });
    CHECK_FALSE(follows_more_than_there_are);
    const drey::Advice advice = cache.advice();
    CHECK(advice.followed <= advice.lookups);
    for (const drey::Prediction& one : advice.predictions) {
        CHECK(one.hit_ratio >= 0);
        CHECK(one.hit_ratio <= 1);
    }
    CHECK(cache.validate());
}
