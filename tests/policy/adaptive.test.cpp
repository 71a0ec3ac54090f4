#include "drey/policy/adaptive.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "drey/cache.hpp"
#include "drey/policy/driver.hpp"
#include "drey/policy/hit_samples.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/policy/turns.hpp"
#include "drey/policy/w_tiny_lfu.hpp"
#include "drey/simulate.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

namespace {

using drey::Hash;
using drey::Simulation;
using drey::Weight;

Hash key(std::uint64_t n) { return drey::detail::scrambled(n + 1); }

/// Keys below `hot` again and again, each request followed by `scans` keys that never return.
template <class P>
double hit_ratio_of_hot_keys(Weight capacity, std::uint64_t hot, unsigned scans,
                             std::uint64_t rounds) {
    Simulation<P> simulation({capacity}, 1);
    support::Random random(1);
    std::uint64_t next = 1'000'000, hits = 0;
    for (std::uint64_t i = 0; i < rounds; ++i) {
        hits += simulation.access(key(random.below(hot))) ? 1 : 0;
        for (unsigned n = 0; n < scans; ++n) simulation.access(key(next++));
    }
    REQUIRE(simulation.validate());
    return static_cast<double>(hits) / static_cast<double>(rounds);
}

template <class P>
Weight misses_of_loop(Weight capacity, std::uint64_t length, unsigned rounds) {
    std::vector<Hash> keys;
    for (unsigned round = 0; round < rounds; ++round)
        for (std::uint64_t n = 0; n < length; ++n) keys.push_back(key(n));
    return drey::simulate<P>(keys, capacity, 1).misses;
}

/// Hides a hit, not its marks.
struct Counting : drey::Sieve {
    inline static std::size_t hits = 0;

    void hit(drey::Slot s, Hash h) noexcept {
        ++hits;
        drey::Sieve::hit(s, h);
    }
    drey::Slot evict(const auto& hash_of) noexcept {
        const drey::Slot victim = drey::Sieve::evict();
        hash_of(victim);
        return victim;
    }
};

}  // namespace

TEST_CASE("Adaptive and W-TinyLFU keep what is asked for often from being flushed by a scan") {
    CHECK(hit_ratio_of_hot_keys<drey::Lru>(100, 80, 4, 20'000) < 0.4);
    CHECK(hit_ratio_of_hot_keys<drey::Adaptive>(100, 80, 4, 20'000) > 0.9);
    CHECK(hit_ratio_of_hot_keys<drey::WTinyLfu>(100, 80, 4, 20'000) > 0.8);
}

TEST_CASE("Adaptive and W-TinyLFU keep a part of a loop that is longer than the cache") {
    CHECK(misses_of_loop<drey::Lru>(300, 400, 50) == 20'000);
    CHECK(misses_of_loop<drey::Adaptive>(300, 400, 50) < 12'000);
    CHECK(misses_of_loop<drey::WTinyLfu>(300, 400, 50) < 16'000);
}

TEST_CASE("Adaptive misses at most a third more than LRU where only what is recent is asked for") {
    // Each key is asked for three times, with some others between; those of long ago never again.
    Simulation<drey::Adaptive> adaptive({1000}, 1);
    Simulation<drey::Lru> lru({1000}, 1);
    for (std::uint64_t i = 0; i < 100'000; ++i) {
        for (const std::uint64_t age : std::array<std::uint64_t, 3>{0, 50, 300}) {
            if (i < age) continue;
            adaptive.access(key(i - age));
            lru.access(key(i - age));
        }
    }
    CHECK(static_cast<double>(adaptive.result().misses) <
          1.35 * static_cast<double>(lru.result().misses));
}

TEST_CASE("no eviction by Adaptive takes long, though all entries were hit since the last") {
    constexpr drey::Slot entries = 1000;
    drey::Adaptive policy;
    policy.budget({.capacity = entries});
    policy.grow(entries);
    std::vector<Hash> hashes(entries);
    std::size_t looked_at = 0, next = 0;
    const auto insert = [&](drey::Slot s) {
        hashes[s] = key(next++);
        policy.admit(hashes[s], 1);
        policy.inserted(s, hashes[s], 1);
    };
    const auto evict = [&] {
        looked_at = 0;
        return policy.evict([&](drey::Slot s) {
            ++looked_at;
            return hashes[s];
        });
    };
    for (drey::Slot s = 0; s < entries; ++s) insert(s);
    std::size_t most = 0;
    for (int i = 0; i < 3'500; ++i) {
        if (i >= 2'500 && i % 200 == 0)
            for (drey::Slot s = 0; s < entries; ++s)
                for (int hits = 0; hits < 3; ++hits) policy.hit(s, hashes[s]);
        insert(evict());
        most = std::max(most, looked_at);
    }
    CHECK(most < 500);
    CHECK(policy.validate());
}

TEST_CASE("capacities from 1 on can be used, changed and given up") {
    const auto use = [](auto simulation) {
        support::Random random(7);
        for (const Weight capacity : std::array<Weight, 7>{1, 2, 3, 10, 1, 200, 5}) {
            simulation.set_capacity(capacity);
            CHECK(simulation.used() <= capacity);
            for (int i = 0; i < 3000; ++i) {
                const Hash h = key(random.below(1 + random.below(300)));
                if (random.below(10) == 0) {
                    simulation.erase(h);
                } else {
                    simulation.access(h);
                }
                if (i % 300 == 0) REQUIRE(simulation.validate());
            }
        }
        simulation.set_capacity(0);
        CHECK(simulation.size() == 0);
    };
    use(Simulation<drey::Adaptive>({1}, 1));
    use(Simulation<drey::WTinyLfu>({1}, 1));
}

TEST_CASE("with weights, the capacity holds and a hot light key stays beside heavy ones") {
    const auto use = [](auto simulation) {
        support::Random random(7);
        for (std::uint64_t i = 0; i < 20'000; ++i) {
            simulation.access(key(random.below(50)), 10);
            const std::uint64_t n = 1000 + i;
            simulation.access(key(n), 1 + n % 700);
            if (i % 1000 == 0) REQUIRE(simulation.validate());
        }
        std::size_t held = 0;
        for (std::uint64_t n = 0; n < 50; ++n) held += simulation.contains(key(n)) ? 1 : 0;
        CHECK(held > 40);
    };
    use(Simulation<drey::Adaptive>({.capacity = 5000, .weighed = true}, 1));
    use(Simulation<drey::WTinyLfu>({.capacity = 5000, .weighed = true}, 1));
}

TEST_CASE("who floods W-TinyLFU with popular keys cannot make its victim stay for ever") {
    // All that is held was asked for more often than counters tell: so were newcomers, before.
    drey::PolicyDriver<drey::BasicWTinyLfu<drey::WTinyLfuTuning{.adapts = false}>> policy;
    policy.seed(1);
    policy.budget({100});
    policy.grow(100);
    const auto hash_of = [](drey::Slot s) { return key(s); };
    for (drey::Slot s = 0; s < 100; ++s) policy.inserted(s, key(s), 1);
    for (int i = 0; i < 5; ++i)
        for (drey::Slot s = 0; s < 100; ++s) policy.hit(s, key(s));
    // Slot 99 is in the window; whichever slot is there contends, leaves, and comes again.
    bool another_left = false;
    for (int i = 0; i < 5000 && !another_left; ++i) {
        for (int n = 0; n < 2; ++n) policy.admit(key(99), 1);
        const drey::Slot left = policy.evict(hash_of);
        another_left = left != 99;
        policy.inserted(left, key(left), 1);
    }
    CHECK(another_left);
}

TEST_CASE("hits leave samples of a share of the keys, and no more than there is room for") {
    drey::HitSamples samples;
    samples.seed(12345);
    samples.rate(1, 16);
    std::size_t sampled = 0;
    for (std::uint64_t n = 0; n < 16'000; ++n) sampled += samples.takes(samples.name(key(n)));
    CHECK(sampled > 800);
    CHECK(sampled < 1200);
    std::vector<std::uint32_t> first;
    for (std::uint64_t n = 0; n < 16'000; ++n) {
        samples.hit(key(n));
        const std::uint32_t name = samples.name(key(n));
        CHECK(samples.takes(name) == (key(n) * 12345 < samples.below()));
        if (samples.takes(name) && first.size() < drey::HitSamples::most) first.push_back(name);
    }
    std::size_t drained = 0;
    samples.drain([&](std::uint32_t name) { drained += name == first.at(drained) ? 1u : 0u; });
    CHECK(drained == drey::HitSamples::most);
    samples.drain([&](std::uint32_t) { ++drained; });
    CHECK(drained == drey::HitSamples::most);
}

TEST_CASE("hits count up to three, and become as many turns when they are settled") {
    drey::Turns turns;
    turns.grow(2);
    turns.start(0);
    for (int i = 0; i < 5; ++i) turns.touch(0);
    CHECK(turns.hits(0) == 3);
    CHECK(turns.turns(0) == 0);
    CHECK(turns.settle(0).hits == 3);
    CHECK(turns.turns(0) == 3);
    CHECK(turns.hits(0) == 0);
    turns.set_turns(0, 1);
    turns.touch(0);
    turns.start_as(1, 0);
    const auto settled = turns.settle(1);
    CHECK(settled.hits == 1);
    CHECK(settled.turns == 2);
    CHECK(turns.turns(1) == 2);
}

TEST_CASE("who derives from a policy with lent marks is told of hits by its own hit") {
    static_assert(!drey::HasLentMarks<Counting> && drey::HasHashes<Counting>);
    drey::Cache<int, int, Counting> cache{{.capacity = 2}};
    cache.put(1, 1);
    cache.put(2, 2);
    CHECK(cache.get(1) == 1);
    CHECK(Counting::hits == 1);
    cache.put(3, 3);
    CHECK(cache.contains(1));
    CHECK_FALSE(cache.contains(2));
}

TEST_CASE("hits come from other threads while Adaptive inserts, evicts and changes its capacity",
          "[concurrent]") {
    drey::Cache<std::uint64_t, std::uint64_t, drey::Adaptive> cache{
        {.capacity = 256, .seed = 1, .shards = 1}};
    const std::size_t operations = support::ops(20'000);
    support::in_threads(3, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::size_t i = 0; i < operations; ++i) {
            const std::uint64_t n = random.below(1 + random.below(600));
            if (const auto found = cache.get(n)) {
                if (*found != n) std::abort();
            } else {
                cache.put(n, n);
            }
            if (thread == 0 && i % 1000 == 0) cache.set_capacity(200 + i / 1000 % 2 * 56);
        }
    });
    CHECK(cache.validate());
}
