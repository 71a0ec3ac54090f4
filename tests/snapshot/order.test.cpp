#include <cstddef>
#include <memory>
#include <sstream>
#include <vector>

#include "drey/cache.hpp"
#include "drey/policy/adaptive.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/policy/w_tiny_lfu.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

/// Whom a cache evicts that was restored from a snapshot: whom the original would have.

namespace {

static_assert(drey::HasOrder<drey::S3Fifo> && drey::HasOrder<drey::Adaptive> &&
              drey::HasOrder<drey::WTinyLfu>);
static_assert(!drey::HasOrder<drey::Random>);

template <class Policy>
struct Recorded {
    using Cache = drey::Cache<int, int, Policy>;

    explicit Recorded(std::size_t capacity, std::size_t shards = 1)
        : cache({.capacity = capacity,
                 .on_removal =
                     [this](int key, int, drey::Removal cause) {
                         if (cause == drey::Removal::evicted) evicted.push_back(key);
                     },
                 .seed = 1,
                 .shards = shards}) {}

    std::size_t restore_from(const Recorded& other) {
        std::stringstream file;
        other.cache.snapshot(file);
        return cache.restore(file);
    }

    std::vector<int> evicted;
    Cache cache;
};

/// Puts and gets of some keys, more often of low ones, from a full cache on.
template <class Cache>
void use(Cache& cache, std::uint64_t seed) {
    support::Random random(seed);
    for (int i = 0; i < 1000; ++i) {
        const int key = static_cast<int>(random.below(1 + random.below(60)));
        if (random.below(3) == 0) {
            cache.put(key, key);
        } else {
            cache.get(key);
        }
    }
}

}  // namespace

TEMPLATE_TEST_CASE("a restored cache evicts in the order in which the original does", "",
                   drey::Fifo, drey::Lru, drey::Mru, drey::Lfu, drey::Sieve) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
        Recorded<TestType> original(20), restored(20);
        use(original.cache, seed);
        CHECK(restored.restore_from(original) == original.cache.size());
        CHECK(restored.evicted.empty());
        original.evicted.clear();
        for (int key = 0; key < 60; key += 7)
            CHECK(original.cache.get(key) == restored.cache.get(key));
        for (const std::size_t capacity : {15u, 8u, 1u}) {
            original.cache.set_capacity(capacity);
            restored.cache.set_capacity(capacity);
        }
        CHECK(original.evicted.size() == 19);
        CHECK(restored.evicted == original.evicted);
        CHECK(restored.cache.validate());
    }
}

TEST_CASE("a restored S3-FIFO protects what the original did") {
    Recorded<drey::S3Fifo> original(20), restored(20);
    for (int key = 0; key < 20; ++key) original.cache.put(key, key);
    for (int key = 0; key < 20; key += 2) original.cache.get(key);
    for (int key = 20; key < 30; ++key) original.cache.put(key, key);  // half are in M by now
    original.cache.get(25);
    CHECK(restored.restore_from(original) == 20);
    original.evicted.clear();
    for (int key = 100; key < 200; ++key) {
        original.cache.put(key, key);
        restored.cache.put(key, key);
    }
    CHECK(original.evicted.size() == 100);
    CHECK(restored.evicted == original.evicted);
    CHECK(restored.cache.contains(0));
    CHECK(restored.cache.contains(25));
    CHECK(restored.cache.validate());
}

TEMPLATE_TEST_CASE("a restored cache keeps what was asked for often as the original did", "",
                   drey::Adaptive, drey::WTinyLfu) {
    Recorded<TestType> original(100), restored(100);
    for (int round = 0; round < 10; ++round) {
        for (int key = 0; key < 60; ++key)
            if (!original.cache.get(key)) original.cache.put(key, key);
        for (int key = 0; key < 40; ++key)
            original.cache.put(1000 + 40 * round + key, key);  // once only
    }
    CHECK(restored.restore_from(original) == 100);
    for (int key = 5000; key < 5300; ++key) {
        original.cache.put(key, key);
        restored.cache.put(key, key);
    }
    int kept = 0, kept_by_original = 0;
    for (int key = 0; key < 60; ++key) {
        kept += restored.cache.contains(key) ? 1 : 0;
        kept_by_original += original.cache.contains(key) ? 1 : 0;
    }
    CHECK(kept_by_original >= 50);
    CHECK(kept >= 50);
    CHECK(restored.cache.validate());
}

TEST_CASE("a policy that has no order gets its entries back all the same") {
    Recorded<drey::Random> original(20), restored(20);
    use(original.cache, 1);
    CHECK(restored.restore_from(original) == original.cache.size());
    original.cache.for_each([&](int key, int value) { CHECK(restored.cache.get(key) == value); });
    CHECK(restored.cache.validate());
}

TEST_CASE("a smaller cache keeps of a snapshot what its policy would") {
    Recorded<drey::Lru> original(20), restored(5);
    for (int key = 0; key < 20; ++key) original.cache.put(key, key);
    original.cache.get(3);
    CHECK(restored.restore_from(original) == 20);
    CHECK(restored.cache.size() == 5);
    for (const int key : {16, 17, 18, 19, 3}) CHECK(restored.cache.contains(key));
}

TEST_CASE("what is old in one shard is as old as what is old in the others") {
    Recorded<drey::Fifo> original(400, 4), restored(100);
    for (int key = 0; key < 400; ++key) original.cache.put(key, key);
    const std::size_t size = original.cache.size();
    CHECK(restored.restore_from(original) == size);
    std::size_t newer = 0;
    restored.cache.for_each([&](int key, int) { newer += key >= 250 ? 1u : 0u; });
    CHECK(newer == 100);
}
