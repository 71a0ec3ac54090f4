#include "drey/policy/sketch.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "drey/hash.hpp"
#include "support/catch.hpp"

namespace {

using drey::Hash;
using drey::Sketch;

Sketch sketch_for(std::size_t entries, std::uint64_t seed = 1, drey::SketchTuning tuning = {}) {
    Sketch sketch(tuning);
    sketch.seed(seed);
    REQUIRE(sketch.resize(entries));
    return sketch;
}

Hash key(std::uint64_t n) { return drey::detail::scrambled(n + 1); }

}  // namespace

TEST_CASE("a sketch counts a key's additions up to 15") {
    Sketch sketch = sketch_for(100);
    CHECK(sketch.estimate(key(1)) == 0);
    sketch.add(key(1));
    CHECK(sketch.estimate(key(1)) == 1);
    sketch.add(key(1), 3);
    CHECK(sketch.estimate(key(1)) == 4);
    for (int i = 0; i < 30; ++i) sketch.add(key(1));
    CHECK(sketch.estimate(key(1)) == 15);
}

TEST_CASE("a key's estimate stays the same for as long as the sketch watches it") {
    Sketch sketch = sketch_for(256, 1, {.most_mean = 4});
    CHECK_FALSE(sketch.watches());
    std::uint64_t next = 0;
    unsigned unwatched = 0;
    for (std::uint64_t n = 0; n < 500; ++n) {
        const unsigned estimate = sketch.watch(key(n));
        CHECK(estimate == sketch.estimate(key(n)));
        for (int i = 0; i < 20 && sketch.watches(); ++i) {
            CHECK(sketch.estimate(key(n)) == estimate);
            sketch.add(key(1000 + next++ % 3000));
        }
        unwatched += sketch.watches() ? 0 : 1;
    }
    CHECK(unwatched > 0);
    CHECK(unwatched < 500);

    sketch.watch(key(1));
    sketch.add(key(1));
    CHECK_FALSE(sketch.watches());
    sketch.watch(key(1));
    REQUIRE(sketch.resize(1000));
    CHECK_FALSE(sketch.watches());
}

TEST_CASE("a sketch no longer watches a key when all counts are halved") {
    Sketch sketch = sketch_for(256, 1, {.most_mean = 4});
    sketch.add(key(1), 15);
    unsigned estimate = sketch.watch(key(1));
    for (std::uint64_t next = 1000; estimate == 15; ++next) {
        REQUIRE(next < 10'000);
        sketch.add(key(next));
        if (!sketch.watches()) estimate = sketch.watch(key(1));
        CHECK(sketch.estimate(key(1)) == estimate);
    }
    CHECK(estimate == 7);
}

TEST_CASE("a sketch never estimates too little before it halves, and seldom too much") {
    for (const bool conservative : {true, false}) {
        Sketch sketch = sketch_for(1000, 1, {.conservative = conservative});
        for (unsigned n = 0; n < 1000; ++n) sketch.add(key(n), n % 4);
        int too_high = 0;
        for (unsigned n = 0; n < 1000; ++n) {
            CHECK(sketch.estimate(key(n)) >= n % 4);
            too_high += sketch.estimate(key(n)) > n % 4 ? 1 : 0;
        }
        CHECK(too_high < 30);
    }
}

TEST_CASE("a sketch halves all counts at once when they have come to the mean that was set") {
    Sketch sketch = sketch_for(256, 1, {.most_mean = 2});
    for (unsigned n = 0; n < 4; ++n) sketch.add(key(n), 8);
    // 512 in all: 480 more, and nobody looked at the four in between.
    std::uint64_t next = 1000;
    for (int i = 0; i < 470; ++i) sketch.add(key(next++));
    for (unsigned n = 0; n < 4; ++n) CHECK(sketch.estimate(key(n)) >= 8);
    for (int i = 0; i < 60; ++i) sketch.add(key(next++));
    for (unsigned n = 0; n < 4; ++n) {
        CHECK(sketch.estimate(key(n)) >= 4);
        CHECK(sketch.estimate(key(n)) < 8);
    }
}

TEST_CASE("a sketch forgets what is not asked for any more") {
    Sketch sketch = sketch_for(128, 1, {.most_mean = 4});
    sketch.add(key(0), 15);
    for (int round = 0; round < 12; ++round)
        for (unsigned n = 1; n <= 128; ++n) sketch.add(key(n), 2);
    CHECK(sketch.estimate(key(0)) < 4);
}

TEST_CASE("a sketch keeps its estimates when it grows") {
    Sketch sketch = sketch_for(128);
    for (unsigned n = 0; n < 100; ++n) sketch.add(key(n), 1 + n % 5);
    std::vector<unsigned> before;
    for (unsigned n = 0; n < 100; ++n) before.push_back(sketch.estimate(key(n)));
    REQUIRE(sketch.resize(256));
    REQUIRE(sketch.resize(1024));
    for (unsigned n = 0; n < 100; ++n) CHECK(sketch.estimate(key(n)) == before[n]);
    REQUIRE(sketch.resize(128));
    for (unsigned n = 0; n < 100; ++n) CHECK(sketch.estimate(key(n)) <= 15);
}

TEST_CASE("which keys share counters depends on the seed") {
    const auto wrong_estimates = [](std::uint64_t seed) {
        Sketch sketch = sketch_for(128, seed);
        for (unsigned n = 0; n < 600; ++n) sketch.add(key(n), 15);
        std::vector<unsigned> estimates;
        for (unsigned n = 0; n < 200; ++n) estimates.push_back(sketch.estimate(key(10'000 + n)));
        return estimates;
    };
    CHECK(wrong_estimates(1) == wrong_estimates(1));
    CHECK(wrong_estimates(1) != wrong_estimates(2));
}

TEST_CASE("a sketch takes 8 bytes an entry") {
    CHECK(sketch_for(1'000'000).memory() < 8'200'000);
    CHECK(sketch_for(1'000'000).room() >= 1'000'000);
    CHECK(sketch_for(1).memory() < 1'100);
}
