#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <random>
#include <vector>

#include "drey/policy/adaptive.hpp"
#include "drey/policy/driver.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/policy/w_tiny_lfu.hpp"
#include "support/catch.hpp"

namespace {

using drey::Budget;
using drey::Hash;
using drey::S3FifoTuning;
using drey::Slot;
using drey::Weight;
using PaperS3Fifo = drey::BasicS3Fifo<S3FifoTuning{.promote_at = 2}>;
using RefusingS3Fifo = drey::BasicS3Fifo<S3FifoTuning{.refuse_heavy = true}>;

/// A policy driven as a store would: a slot's key has the slot's number plus 100 as its hash unless
/// told otherwise. Checks the policy's invariants when it goes.
template <class P>
class Held {
public:
    explicit Held(Budget budget = {10}) {
        driver_.seed(1);
        driver_.budget(budget);
        driver_.grow(20);
    }
    ~Held() { CHECK(driver_.validate()); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

    void insert(std::initializer_list<Slot> slots) {
        for (const Slot s : slots) insert(s);
    }
    bool insert(Slot s, Weight w = 1) {
        if (!driver_.admit(s + 100, w)) return false;
        driver_.inserted(s, s + 100, w);
        return true;
    }
    void hit(std::initializer_list<Slot> slots) {
        for (const Slot s : slots) driver_.hit(s, s + 100);
    }
    void erase(Slot s) { driver_.erased(s); }
    void move(Slot from, Slot to, Weight w = 1) { driver_.moved(from, to, from + 100, w); }
    void budget(Budget budget) { driver_.budget(budget); }
    void grow(std::size_t slots) { driver_.grow(slots); }
    Slot evict() {
        return driver_.evict([](Slot s) { return Hash{s} + 100; });
    }
    std::vector<Slot> evict_many(int n) {
        std::vector<Slot> victims;
        while (n-- > 0) victims.push_back(evict());
        return victims;
    }
    bool validate() const { return driver_.validate(); }

private:
    drey::PolicyDriver<P> driver_;
};

using Slots = std::vector<Slot>;

}  // namespace

TEST_CASE("FIFO evicts in order of insertion whatever was hit") {
    Held<drey::Fifo> fifo;
    fifo.insert({3, 1, 2});
    fifo.hit({3, 3, 1});
    CHECK(fifo.evict_many(3) == Slots{3, 1, 2});
}

TEST_CASE("FIFO gives an overwritten entry its predecessor's place") {
    Held<drey::Fifo> fifo;
    fifo.insert({1, 2, 3});
    fifo.move(1, 7);
    CHECK(fifo.evict_many(3) == Slots{7, 2, 3});
}

TEST_CASE("LRU evicts the entry touched longest ago") {
    Held<drey::Lru> lru;
    lru.insert({1, 2, 3});
    lru.hit({1, 3});
    CHECK(lru.evict_many(3) == Slots{2, 1, 3});
}

TEST_CASE("LRU takes an overwrite for a touch") {
    Held<drey::Lru> lru;
    lru.insert({1, 2, 3});
    lru.move(1, 7);
    CHECK(lru.evict_many(3) == Slots{2, 3, 7});
}

TEST_CASE("MRU evicts the entry touched last") {
    Held<drey::Mru> mru;
    mru.insert({1, 2, 3});
    mru.hit({1});
    CHECK(mru.evict_many(3) == Slots{1, 3, 2});
}

TEST_CASE("MRU takes an overwrite for a touch") {
    Held<drey::Mru> mru;
    mru.insert({1, 2, 3});
    mru.move(1, 7);
    CHECK(mru.evict() == 7);
}

TEST_CASE("LFU evicts the entry with the fewest hits") {
    Held<drey::Lfu> lfu;
    lfu.insert({1, 2, 3});
    lfu.hit({1, 1, 3, 1, 3, 2});
    CHECK(lfu.evict_many(3) == Slots{2, 3, 1});
}

TEST_CASE("LFU evicts the least recently used among equals") {
    Held<drey::Lfu> lfu;
    lfu.insert({1, 2, 3, 4});
    lfu.hit({3, 1, 2});
    CHECK(lfu.evict_many(4) == Slots{4, 3, 1, 2});
}

TEST_CASE("LFU forgets the hits of an entry that left") {
    Held<drey::Lfu> lfu;
    lfu.insert({1, 2});
    lfu.hit({1, 1, 2});
    lfu.erase(1);
    lfu.insert({1});
    CHECK(lfu.evict() == 1);
}

TEST_CASE("LFU keeps an overwritten entry's hits") {
    Held<drey::Lfu> lfu;
    lfu.insert({1, 2, 3});
    lfu.hit({1, 1, 2, 2});
    lfu.move(1, 7);
    CHECK(lfu.evict_many(3) == Slots{3, 2, 7});
}

TEST_CASE("SIEVE passes over visited entries once and keeps the hand where it evicted") {
    Held<drey::Sieve> sieve;
    sieve.insert({1, 2, 3, 4});
    sieve.hit({1, 3});
    CHECK(sieve.evict() == 2);
    CHECK(sieve.evict() == 4);
    // The hand fell off the newest: it starts again at the oldest, whose bit is used up.
    CHECK(sieve.evict_many(2) == Slots{1, 3});
}

TEST_CASE("SIEVE judges a newcomer before survivors get their second turn") {
    Held<drey::Sieve> sieve;
    sieve.insert({1, 2, 3});
    sieve.hit({1});
    CHECK(sieve.evict() == 2);
    sieve.insert({4});
    CHECK(sieve.evict_many(3) == Slots{3, 4, 1});
}

TEST_CASE("SIEVE evicts the entry the hand began at when all were visited") {
    Held<drey::Sieve> sieve;
    sieve.insert({1, 2, 3});
    sieve.hit({1, 2, 3});
    CHECK(sieve.evict() == 1);
}

TEST_CASE("SIEVE's hand goes to the newer neighbour when its entry is erased") {
    Held<drey::Sieve> sieve;
    sieve.insert({1, 2, 3, 4});
    sieve.hit({1});
    REQUIRE(sieve.evict() == 2);  // the hand is at 3
    SECTION("and goes on from there") {
        sieve.erase(3);
        CHECK(sieve.evict() == 4);
    }
    SECTION("or back to the oldest past the newest") {
        sieve.erase(3);
        sieve.erase(4);
        CHECK(sieve.evict() == 1);
    }
    SECTION("and stays when another entry is erased") {
        sieve.erase(4);
        CHECK(sieve.evict() == 3);
    }
}

TEST_CASE("SIEVE's hand follows an overwritten entry") {
    Held<drey::Sieve> sieve;
    sieve.insert({1, 2, 3, 4});
    sieve.hit({1});
    REQUIRE(sieve.evict() == 2);  // the hand is at 3
    sieve.move(3, 7);
    CHECK(sieve.evict_many(3) == Slots{4, 1, 7});  // an overwrite is a visit
}

TEST_CASE("Random evicts every entry about equally often") {
    std::map<Slot, int> evictions;
    Held<drey::Random> random;
    random.insert({0, 1, 2, 3, 4});
    for (int i = 0; i < 10'000; ++i) {
        const Slot victim = random.evict();
        ++evictions[victim];
        random.insert({victim});
    }
    for (Slot s = 0; s < 5; ++s) {
        CHECK(evictions[s] > 1800);
        CHECK(evictions[s] < 2200);
    }
}

TEST_CASE("Random repeats itself with the same seed and not with another") {
    const auto victims = [](std::uint64_t seed) {
        drey::Random random;
        random.seed(seed);
        random.grow(100);
        for (Slot s = 0; s < 100; ++s) random.inserted(s, s);
        Slots result;
        while (result.size() < 100) result.push_back(random.evict());
        return result;
    };
    CHECK(victims(1) == victims(1));
    CHECK(victims(1) != victims(2));
}

TEST_CASE("S3-FIFO evicts a newcomer without a hit and keeps one that was hit") {
    Held<drey::S3Fifo> s3;
    s3.insert({1, 2, 3});
    s3.hit({1});
    CHECK(s3.evict_many(3) == Slots{2, 3, 1});
}

TEST_CASE("S3-FIFO of the paper asks for two hits") {
    Held<PaperS3Fifo> s3;
    s3.insert({1, 2, 3});
    s3.hit({1, 2, 2});
    CHECK(s3.evict_many(3) == Slots{1, 3, 2});
}

TEST_CASE("S3-FIFO puts a key it remembers into the main queue") {
    Held<drey::S3Fifo> s3;
    s3.insert({1, 2});
    REQUIRE(s3.evict() == 1);
    s3.insert({1, 3});
    CHECK(s3.evict_many(3) == Slots{2, 3, 1});
}

TEST_CASE("S3-FIFO does not remember what left the main queue, or was erased") {
    Held<drey::S3Fifo> s3;
    s3.insert({1});
    s3.hit({1});
    REQUIRE(s3.evict() == 1);  // by way of the main queue
    s3.insert({2});
    s3.erase(2);
    s3.insert({1, 2, 3});
    CHECK(s3.evict_many(3) == Slots{1, 2, 3});
}

TEST_CASE("S3-FIFO's main queue gives a turn for each hit, three at most") {
    Held<drey::S3Fifo> s3;
    s3.insert({1, 2});
    s3.hit({1, 2});
    s3.insert({3});
    REQUIRE(s3.evict() == 3);  // 1 and 2 are in the main queue now
    s3.hit({1, 1, 1, 1, 1, 2});
    CHECK(s3.evict_many(2) == Slots{2, 1});
}

TEST_CASE("S3-FIFO evicts from the main queue while that is over its share") {
    Held<drey::S3Fifo> s3{{10}};
    s3.insert({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    s3.hit({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    REQUIRE(s3.evict() == 0);  // all ten went to the main queue, whose share is nine
    s3.insert({10});
    CHECK(s3.evict() == 10);
    s3.budget({5});
    s3.insert({11});
    CHECK(s3.evict_many(6) == Slots{1, 2, 3, 4, 5, 11});
}

TEST_CASE("S3-FIFO keeps an overwritten entry's queue and hits") {
    Held<PaperS3Fifo> s3;
    s3.insert({1, 2});
    s3.hit({1});
    s3.move(1, 7);  // counts as the second hit
    s3.insert({3});
    CHECK(s3.evict_many(3) == Slots{2, 3, 7});
}

TEST_CASE("S3-FIFO admits what is heavier than its small queue unless told to refuse it") {
    Held<drey::S3Fifo> s3{{100, true}};
    CHECK(s3.insert(1, 100));
    CHECK(s3.evict() == 1);
    Held<RefusingS3Fifo> refusing{{100, true}};
    CHECK_FALSE(refusing.insert(1, 11));
    CHECK(refusing.insert(1, 10));
}

TEST_CASE("S3-FIFO accounts the weight of an overwritten entry") {
    Held<drey::S3Fifo> s3{{100, true}};
    s3.insert(1, 10);
    s3.insert(2, 10);
    s3.move(1, 3, 95);
    CHECK(s3.validate());
    s3.insert(4, 1);
    CHECK(s3.evict() == 2);  // 3 waits in the small queue in front of it with a hit,
    CHECK(s3.evict() == 3);  // and in the main queue is over its share
}

TEST_CASE("S3-FIFO remembers fewer keys after its budget shrank") {
    Held<drey::S3Fifo> s3{{10}};
    s3.insert({0, 1, 2, 3});
    s3.evict_many(4);
    s3.budget({3});  // remembers two
    s3.insert({0, 1, 2, 3, 4});
    CHECK(s3.evict_many(3) == Slots{0, 1, 4});
}

TEMPLATE_TEST_CASE("a policy evicts exactly what it holds, through any operations", "", drey::Fifo,
                   drey::Lru, drey::Mru, drey::Lfu, drey::Random, drey::Sieve, drey::S3Fifo,
                   PaperS3Fifo, drey::Adaptive, drey::WTinyLfu) {
    std::random_device entropy;
    for (int round = 0; round < 30; ++round) {
        const std::uint32_t seed = round < 20 ? static_cast<std::uint32_t>(round) : entropy();
        INFO("seed " << seed);
        std::mt19937 random(seed);
        const bool weighed = random() % 2 == 0;
        Held<TestType> policy{{1 + random() % 40, weighed}};
        std::size_t slots = 20;
        std::vector<Slot> held;
        std::vector<Slot> free;
        for (Slot s = 0; s < slots; ++s) free.push_back(s);
        const auto take = [&](std::vector<Slot>& from) {
            std::swap(from[random() % from.size()], from.back());
            const Slot s = from.back();
            from.pop_back();
            return s;
        };
        for (int i = 0; i < 2000; ++i) {
            const Weight weight = weighed ? 1 + random() % 5 : 1;
            const auto dice = random() % 100;
            if (dice < 40 && !free.empty()) {
                const Slot s = take(free);
                policy.insert(s, weight);
                held.push_back(s);
            } else if (dice < 60 && !held.empty()) {
                policy.hit({held[random() % held.size()]});
            } else if (dice < 70 && !held.empty()) {
                const Slot s = take(held);
                policy.erase(s);
                free.push_back(s);
            } else if (dice < 78 && !held.empty() && !free.empty()) {
                const Slot from = take(held);
                const Slot to = take(free);
                policy.move(from, to, weight);
                held.push_back(to);
                free.push_back(from);
            } else if (dice < 97 && !held.empty()) {
                const Slot s = policy.evict();
                const auto found = std::find(held.begin(), held.end(), s);
                REQUIRE(found != held.end());
                held.erase(found);
                free.push_back(s);
            } else if (dice == 97) {
                policy.budget({1 + random() % 40, weighed});
            } else if (dice == 98 && slots < 200) {
                policy.grow(slots + 7);
                for (int n = 0; n < 7; ++n) free.push_back(static_cast<Slot>(slots++));
            }
            if (i % 50 == 0) REQUIRE(policy.validate());
        }
        while (!held.empty()) {
            const auto found = std::find(held.begin(), held.end(), policy.evict());
            REQUIRE(found != held.end());
            held.erase(found);
        }
    }
}
