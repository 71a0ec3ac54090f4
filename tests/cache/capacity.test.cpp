#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>

#include "drey/drey.hpp"
#include "support/catch.hpp"

namespace {

using drey::Removal;
using drey::Weight;
using Weighed = drey::Cache<int, std::size_t, drey::Lru>;

Weight itself(int, std::size_t value) { return value; }

template <class Cache>
Weight total_weight(Cache& cache) {
    Weight total = 0;
    cache.for_each([&](int, std::size_t weight) { total += weight; });
    return total;
}

}  // namespace

// ---- entries
// ---------------------------------------------------------------------------------------

TEST_CASE("cache fills to exactly its capacity however many shards it has", "[capacity]") {
    for (const std::size_t shards : {1u, 2u, 8u, 64u, 1024u})
        for (const std::size_t capacity : {1u, 2u, 7u, 100u, 1000u, 10'000u}) {
            INFO("shards " << shards << ", capacity " << capacity);
            drey::Cache<int, int> cache{{.capacity = capacity, .shards = shards}};
            const int keys = static_cast<int>(4 * capacity + 40 * shards);
            for (int key = 0; key < keys; ++key) {
                REQUIRE(cache.put(key, key));
                if (key % 64 == 0) REQUIRE(cache.size() <= capacity);
            }
            CHECK(cache.size() == capacity);
            CHECK(cache.validate());
        }
}

TEST_CASE("nothing is evicted while there is room, but for the blocks that shards claim",
          "[capacity]") {
    for (const std::size_t shards : {1u, 4u, 16u}) {
        drey::Cache<int, int> cache{{.capacity = 10'000, .seed = 1, .shards = shards}};
        int key = 0;
        while (cache.stats().evictions() == 0) cache.put(key, key), ++key;
        INFO("shards " << shards << ", first eviction at " << key);
        CHECK(cache.size() >= (shards == 1 ? 10'000 : 9'900));
    }
}

TEST_CASE("put returns that it kept the value in the smallest cache of the most shards",
          "[capacity]") {
    drey::Cache<int, int> cache{{.capacity = 1, .shards = 4096}};
    for (int key = 0; key < 100; ++key) {
        CHECK(cache.put(key, key));
        CHECK(cache.get(key) == key);
        CHECK(cache.size() == 1);
    }
    CHECK(cache.validate());
}

TEST_CASE("keys that all fall into one shard may fill the whole cache", "[capacity]") {
    struct ToOne {
        std::size_t operator()(int) const { return 7; }
    };
    drey::Cache<int, int, drey::Memory<drey::Lru, ToOne>> cache{{.capacity = 1000, .shards = 64}};
    for (int key = 0; key < 1000; ++key) cache.put(key, key);
    CHECK(cache.size() == 1000);
    CHECK(cache.stats().evictions() == 0);
    for (int key = 1000; key < 2000; ++key) cache.put(key, key);
    CHECK(cache.size() == 1000);
    CHECK(cache.validate());
}

TEST_CASE("huge capacity costs nothing until it is used", "[capacity]") {
    drey::Cache<int, int> cache{{.capacity = std::numeric_limits<std::size_t>::max(), .shards = 1}};
    for (int key = 0; key < 1000; ++key) cache.put(key, key);
    CHECK(cache.size() == 1000);
    CHECK(cache.validate());
}

TEMPLATE_TEST_CASE("set_capacity lowers: the policy's victims leave and the rest stays",
                   "[capacity]", drey::Lru, drey::Local<drey::Lru>) {
    drey::Cache<int, int, TestType> cache{{.capacity = 100}};
    for (int key = 0; key < 100; ++key) cache.put(key, key);
    cache.set_capacity(30);
    CHECK(cache.capacity() == 30);
    CHECK(cache.size() == 30);
    for (int key = 70; key < 100; ++key) CHECK(cache.contains(key));
    CHECK(cache.stats().evictions() == 70);
    cache.put(100, 100);
    CHECK(cache.size() == 30);
    CHECK_FALSE(cache.contains(70));
    CHECK(cache.validate());
}

TEST_CASE("set_capacity lowered to what is held or more evicts nothing", "[capacity]") {
    for (const std::size_t shards : {1u, 4u, 16u}) {
        INFO("shards " << shards);
        drey::Cache<int, int> cache{{.capacity = 10'000, .shards = shards}};
        for (int key = 0; key < 100; ++key) cache.put(key, key);
        cache.set_capacity(1000);
        CHECK(cache.size() == 100);
        cache.set_capacity(100);
        CHECK(cache.size() == 100);
        cache.set_capacity(99);
        CHECK(cache.size() == 99);
        CHECK(cache.validate());
    }
}

TEST_CASE("set_capacity lowers to any number exactly", "[capacity]") {
    for (const std::size_t shards : {1u, 4u})
        for (std::size_t from = 1; from <= 60; ++from)
            for (std::size_t to = 1; to < from; to += 3) {
                drey::Cache<int, int, drey::Fifo> cache{{.capacity = from, .shards = shards}};
                for (int key = 0; key < 500; ++key) cache.put(key, key);
                REQUIRE(cache.size() == from);
                cache.set_capacity(to);
                REQUIRE(cache.size() == to);
            }
}

TEST_CASE("set_capacity raises: the new room is used", "[capacity]") {
    for (const std::size_t shards : {1u, 16u}) {
        drey::Cache<int, int> cache{{.capacity = 10, .shards = shards}};
        for (int key = 0; key < 1000; ++key) cache.put(key, key);
        cache.set_capacity(500);
        CHECK(cache.size() == 10);
        for (int key = 0; key < 5000; ++key) cache.put(key, key);
        CHECK(cache.size() == 500);
        cache.set_capacity(3);
        CHECK(cache.size() == 3);
        cache.set_capacity(700);
        for (int key = 0; key < 5000; ++key) cache.put(key, key);
        CHECK(cache.size() == 700);
        CHECK(cache.validate());
    }
}

// ---- weights
// ---------------------------------------------------------------------------------------

namespace {

/// FIFO whose shards, but for some, do not get along with another capacity.
struct Stubborn : drey::Fifo {
    static inline int patience = 0;
    drey::Weight known = 0;

    void budget(drey::Budget budget) {
        if (patience-- == 0) throw std::runtime_error("stubborn");
        known = budget.capacity;
        told = known;
    }
    static inline drey::Weight told = 0;  // the last
};

}  // namespace

TEST_CASE("set_capacity that a policy refuses changes nothing", "[capacity]") {
    Stubborn::patience = 100;
    drey::Cache<int, int, Stubborn> cache{{.capacity = 400, .shards = 4}};
    for (int i = 0; i < 400; ++i) cache.put(i, i);
    Stubborn::patience = 2;
    CHECK_THROWS_WITH(cache.set_capacity(40), "stubborn");
    CHECK(cache.capacity() == 400);
    CHECK(cache.size() == 400);
    CHECK(Stubborn::told == 100);  // those that had agreed know the old one again
    cache.put(1000, 1);
    CHECK(cache.size() == 400);
    cache.set_capacity(40);
    CHECK(cache.size() == 40);
}

TEST_CASE("total weight never exceeds the capacity", "[capacity]") {
    for (const std::size_t shards : {1u, 8u}) {
        Weighed cache{{.capacity = 1000, .weigher = itself, .shards = shards}};
        std::minstd_rand random(5);
        for (int i = 0; i < 5000; ++i) {
            REQUIRE(cache.put(static_cast<int>(random() % 300), random() % 120));
            REQUIRE(total_weight(cache) <= 1000);
        }
        // A shard whose share is hardly more than an entry uses it badly.
        CHECK(total_weight(cache) > (shards == 1 ? 800 : 500));
        CHECK(cache.validate());
    }
}

TEMPLATE_TEST_CASE("what weighs more than the capacity is refused, and its key has no value then",
                   "[capacity]", drey::Lru, drey::S3Fifo, drey::Local<drey::Lru>) {
    drey::Cache<int, std::size_t, TestType> cache{{.capacity = 100, .weigher = itself}};
    cache.put(1, 10);
    cache.put(2, 10);
    CHECK_FALSE(cache.put(1, 101));
    CHECK_FALSE(cache.contains(1));
    CHECK(cache.contains(2));
    CHECK(cache.stats().rejections == 1);
    CHECK_FALSE(cache.put(3, std::numeric_limits<std::size_t>::max()));
    CHECK_FALSE(cache.put_if_absent(3, 101));
    CHECK_FALSE(cache.update(2, [](auto) { return std::optional<std::size_t>(101); }));
    CHECK_FALSE(cache.contains(2));
    CHECK(cache.get_or_load(4, [] { return std::size_t{101}; }) == 101);
    CHECK_FALSE(cache.contains(4));
    CHECK(cache.empty());
    CHECK(cache.stats().evictions() == 0);
    CHECK(cache.put(5, 100));
    CHECK(cache.validate());
}

TEST_CASE("put_if_absent of what is too heavy leaves what is there", "[capacity]") {
    Weighed cache{{.capacity = 100, .weigher = itself}};
    cache.put(1, 10);
    CHECK_FALSE(cache.put_if_absent(1, 101));
    CHECK(cache.get(1) == 10);
}

TEST_CASE("one entry may have nearly all of a cache with many shards", "[capacity]") {
    for (const std::size_t shards : {2u, 64u, 1024u})
        for (const std::size_t weight : {500'000u, 999'999u, 1'000'000u}) {
            INFO("shards " << shards << ", weight " << weight);
            Weighed cache{{.capacity = 1'000'000, .weigher = itself, .shards = shards}};
            for (int key = 0; key < 5000; ++key) cache.put(key, 1000);
            CHECK(total_weight(cache) > 900'000);
            for (int key = 10'000; key < 10'010; ++key) {
                REQUIRE(cache.put(key, weight));
                REQUIRE(cache.get(key) == weight);
                REQUIRE(total_weight(cache) <= 1'000'000);
            }
            CHECK(cache.validate());
        }
}

TEST_CASE("overwriting with another weight evicts no more than that takes", "[capacity]") {
    Weighed cache{{.capacity = 100, .weigher = itself}};
    for (int key = 0; key < 10; ++key) cache.put(key, 10);
    cache.put(9, 5);
    CHECK(cache.size() == 10);
    CHECK(total_weight(cache) == 95);
    cache.put(9, 10);
    CHECK(cache.size() == 10);
    cache.put(9, 11);
    CHECK(cache.size() == 9);
    CHECK_FALSE(cache.contains(0));
    CHECK(cache.get(9) == 11);
    cache.put(9, 100);
    CHECK(cache.size() == 1);
    CHECK(cache.get(9) == 100);
    cache.put(9, 0);
    for (int key = 0; key < 10; ++key) cache.put(key + 20, 10);
    CHECK(cache.size() == 11);
    CHECK(cache.validate());
}

TEST_CASE("entry that its own overwriting would evict is replaced all the same", "[capacity]") {
    Weighed cache{{.capacity = 100, .weigher = itself}};
    cache.put(1, 10);  // the coldest
    cache.put(2, 90);
    CHECK(cache.put(1, 20));
    CHECK(cache.get(1) == 20);
    CHECK(total_weight(cache) <= 100);
    CHECK(cache.validate());
}

TEST_CASE("weightless entries are bounded by nothing and disturb nothing", "[capacity]") {
    Weighed cache{{.capacity = 10, .weigher = itself}};
    for (int key = 0; key < 1000; ++key) CHECK(cache.put(key, 0));
    CHECK(cache.size() == 1000);
    CHECK(cache.put(1000, 10));
    CHECK(cache.size() == 1001);
    cache.set_capacity(9);
    CHECK(cache.size() <= 1000);
    CHECK_FALSE(cache.contains(1000));
    CHECK(cache.validate());
}

TEST_CASE("set_capacity of a weighed cache keeps within it and wastes little", "[capacity]") {
    for (const std::size_t shards : {1u, 8u}) {
        INFO("shards " << shards);
        Weighed cache{{.capacity = 100'000, .weigher = itself, .shards = shards}};
        std::minstd_rand random(5);
        for (int key = 0; key < 5000; ++key) cache.put(key, 1 + random() % 100);
        const Weight before = total_weight(cache);
        CHECK(before <= 100'000);
        CHECK(before > 99'000);
        cache.set_capacity(before);
        CHECK(total_weight(cache) == before);
        cache.set_capacity(50'000);
        CHECK(total_weight(cache) <= 50'000);
        CHECK(total_weight(cache) > 50'000 - 100 * shards);
        cache.set_capacity(60'000);
        for (int key = 5000; key < 10'000; ++key) cache.put(key, 1 + random() % 100);
        CHECK(total_weight(cache) <= 60'000);
        CHECK(total_weight(cache) > 59'000);
        cache.set_capacity(1);
        CHECK(total_weight(cache) <= 1);
        CHECK(cache.validate());
    }
}

TEST_CASE("weights near the end of their range add up", "[capacity]") {
    const Weight most = std::numeric_limits<std::int64_t>::max();
    for (const std::size_t shards : {1u, 16u}) {
        INFO("shards " << shards);
        Weighed cache{{.capacity = most, .weigher = itself, .shards = shards}};
        for (int key = 0; key < 20; ++key) {
            REQUIRE(cache.put(key, most / 2 + 1));
            CHECK(cache.size() == 1);
            REQUIRE(cache.put(key + 100, most / 4));
            REQUIRE(cache.put(key + 200, most));
            CHECK(cache.size() == 1);
        }
        CHECK(cache.validate());
    }
}

TEST_CASE("weigher that throws leaves the cache as it was", "[capacity]") {
    drey::Cache<int, int> cache{{.capacity = 10, .weigher = [](int, int value) -> Weight {
                                     if (value < 0) throw std::runtime_error("no weight");
                                     return 1;
                                 }}};
    cache.put(1, 1);
    CHECK_THROWS_WITH(cache.put(1, -1), "no weight");
    CHECK_THROWS_WITH(cache.put(2, -1), "no weight");
    CHECK(cache.get(1) == 1);
    CHECK(cache.size() == 1);
    CHECK(cache.validate());
}
