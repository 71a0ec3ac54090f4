#include "drey/policy/ghost.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <new>
#include <random>
#include <unordered_set>
#include <utility>

#include "support/catch.hpp"

namespace {

bool refuse_memory = false;

}  // namespace

/// The forms that the ghost grows by.
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    if (refuse_memory) return nullptr;
    try {
        return ::operator new[](size);
    } catch (...) {
        return nullptr;
    }
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    if (refuse_memory) return nullptr;
    try {
        return ::operator new[](size, alignment);
    } catch (...) {
        return nullptr;
    }
}

namespace {

using drey::Ghost;
using drey::Hash;
using drey::Weight;

/// What a ghost is, in few words.
class NaiveGhost {
public:
    void capacity(Weight most) {
        capacity_ = most;
        shrink_to(capacity_);
    }
    void add(Hash h, Weight w) {
        if (w > capacity_) return;
        shrink_to(capacity_ - w);
        keys_.emplace_back(h, w);
        weight_ += w;
    }
    bool remembers(Hash h) const { return find(h) != keys_.end(); }
    bool remove(Hash h) {
        const auto found = find(h);
        if (found == keys_.end()) return false;
        weight_ -= found->second;
        keys_.erase(found);
        return true;
    }
    std::size_t size() const { return keys_.size(); }
    Weight weight() const { return weight_; }

private:
    std::deque<std::pair<Hash, Weight>>::const_iterator find(Hash h) const {
        return std::find_if(keys_.begin(), keys_.end(), [&](auto& key) { return key.first == h; });
    }
    void shrink_to(Weight most) {
        while (weight_ > most) {
            weight_ -= keys_.front().second;
            keys_.pop_front();
        }
    }

    std::deque<std::pair<Hash, Weight>> keys_;
    Weight capacity_ = 0;
    Weight weight_ = 0;
};

Ghost ghost_of(Weight capacity, bool weighed = false) {
    Ghost ghost;
    ghost.budget({capacity, weighed});
    return ghost;
}

/// Small neighbouring numbers and well-mixed ones: both must do as hashes.
Hash hash_of(std::uint64_t key, bool mixed) { return mixed ? key * 0xbf58476d1ce4e5b9 : key; }

void agree_with_the_naive_one(std::uint32_t seed, bool weighed, Weight most_capacity) {
    std::mt19937 random(seed);
    const auto below = [&](std::uint64_t n) { return random() % n; };
    const bool mixed = below(2) == 0;
    Ghost ghost = ghost_of(most_capacity, weighed);
    NaiveGhost naive;
    naive.capacity(most_capacity);
    const std::uint64_t keys = 1 + below(3 * most_capacity);
    const std::uint64_t removals = 1 + below(9);  // in ten operations
    for (int i = 0; i < 4000; ++i) {
        if (below(500) == 0) {
            const Weight capacity = below(most_capacity + 1);
            ghost.budget({capacity, weighed});
            naive.capacity(capacity);
        } else if (const Hash h = hash_of(below(keys), mixed); below(10) < removals) {
            REQUIRE(ghost.remove(h) == naive.remove(h));
        } else if (!naive.remembers(h)) {
            const Weight w = weighed ? 1 + below(9) : 1;
            ghost.add(h, w);
            naive.add(h, w);
        }
        REQUIRE(ghost.size() == naive.size());
        REQUIRE(ghost.weight() == naive.weight());
        if (i % 100 == 0) REQUIRE(ghost.validate());
    }
    REQUIRE(ghost.validate());
}

}  // namespace

TEST_CASE("a ghost forgets the oldest key first") {
    Ghost ghost = ghost_of(3);
    for (Hash h = 1; h <= 4; ++h) ghost.add(h);
    CHECK_FALSE(ghost.remove(1));
    CHECK(ghost.remove(2));
    CHECK(ghost.remove(3));
    CHECK(ghost.remove(4));
    CHECK(ghost.size() == 0);
}

TEST_CASE("a key removed from a ghost is gone and frees its room at once") {
    Ghost ghost = ghost_of(3);
    for (Hash h = 1; h <= 3; ++h) ghost.add(h);
    CHECK(ghost.remove(3));
    CHECK_FALSE(ghost.remove(3));
    ghost.add(4);
    CHECK(ghost.remove(1));
}

TEST_CASE("a ghost without capacity remembers nothing") {
    Ghost ghost;
    ghost.add(1);
    CHECK_FALSE(ghost.remove(1));
    CHECK(ghost.memory() == 0);
}

TEST_CASE("a weighed ghost forgets as many as make room, and ignores what can never fit") {
    Ghost ghost = ghost_of(10, true);
    ghost.add(1, 4);
    ghost.add(2, 4);
    ghost.add(3, 11);
    CHECK(ghost.weight() == 8);
    ghost.add(4, 5);
    CHECK_FALSE(ghost.remove(1));
    CHECK(ghost.remove(2));
    CHECK(ghost.remove(4));
}

TEST_CASE("keys without weight do not make a ghost grow without end") {
    Ghost ghost = ghost_of(10, true);
    for (Hash h = 0; h < 1000; ++h) ghost.add(h, 0);
    CHECK(ghost.size() == 10);
}

TEST_CASE("a ghost tells apart hashes that share half of their bits") {
    Ghost ghost = ghost_of(100'000);
    for (Hash h = 0; h < 100'000; ++h) ghost.add(h << 32 | 7);
    CHECK(ghost.size() == 100'000);
    for (Hash h = 0; h < 100'000; ++h) REQUIRE_FALSE(ghost.remove(h << 32 | 8));
    for (Hash h = 0; h < 100'000; ++h) REQUIRE(ghost.remove(h << 32 | 7));
}

TEST_CASE("a ghost agrees with a naive one through any operations") {
    std::random_device entropy;
    for (int round = 0; round < 60; ++round) {
        const std::uint32_t seed = round < 40 ? static_cast<std::uint32_t>(round) : entropy();
        for (const Weight capacity : {1u, 2u, 7u, 60u, 500u}) {
            INFO("seed " << seed << ", capacity " << capacity);
            agree_with_the_naive_one(seed, false, capacity);
            agree_with_the_naive_one(seed, true, capacity);
        }
    }
}

TEST_CASE("a large ghost forgets exactly in order, whatever was removed") {
    constexpr std::size_t capacity = 20'000;
    for (const std::uint64_t removals : {0u, 30u, 60u, 95u}) {  // for a hundred additions
        CAPTURE(removals);
        Ghost ghost = ghost_of(capacity);
        std::mt19937_64 random(1);
        std::deque<Hash> order;  // oldest first, removed ones included
        std::unordered_set<Hash> remembered;
        for (int i = 0; i < 200'000; ++i) {
            const Hash h = random();
            ghost.add(h);
            order.push_back(h);
            remembered.insert(h);
            while (remembered.size() > capacity) {
                remembered.erase(order.front());
                order.pop_front();
            }
            if (random() % 100 < removals) {
                const Hash other = order[random() % order.size()];
                REQUIRE(ghost.remove(other) == (remembered.erase(other) != 0));
            }
            REQUIRE_FALSE(ghost.remove(random()));
            REQUIRE(ghost.size() == remembered.size());
        }
        CHECK(ghost.validate());
        for (const Hash h : order) REQUIRE(ghost.remove(h) == (remembered.erase(h) != 0));
        CHECK(ghost.size() == 0);
    }
}

TEST_CASE("a key added many times over is remembered a few times and spoils nothing") {
    Ghost ghost = ghost_of(1'000);
    for (Hash h = 0; h < 500; ++h) ghost.add(h);
    for (int i = 0; i < 10'000; ++i) ghost.add(7'777);
    CHECK(ghost.validate());
    CHECK(ghost.size() <= 520);
    while (ghost.remove(7'777)) {
    }
    CHECK(ghost.validate());
}

TEST_CASE("a full ghost takes about seven bytes a key") {
    for (const Weight capacity : {10'000u, 131'072u, 200'000u}) {
        Ghost ghost = ghost_of(capacity);
        for (Hash h = 0; h < 2 * capacity; ++h) ghost.add(h);
        REQUIRE(ghost.size() == capacity);
        CAPTURE(capacity, ghost.memory());
        CHECK(10 * ghost.memory() < 74 * capacity);
    }
}

TEST_CASE("a ghost takes memory for the keys it has, not for those it may have") {
    Ghost ghost = ghost_of(~Weight{0});
    CHECK(ghost.memory() == 0);
    for (Hash h = 0; h < 1000; ++h) ghost.add(h);
    CHECK(ghost.memory() < 20'000);
}

TEST_CASE("a ghost gives memory back when its capacity shrinks") {
    Ghost ghost = ghost_of(100'000);
    for (Hash h = 0; h < 100'000; ++h) ghost.add(h);
    ghost.budget({100, false});
    CHECK(ghost.size() == 100);
    CHECK(ghost.memory() < 2'000);
    CHECK(ghost.remove(99'999));
    CHECK(ghost.remove(99'900));
    CHECK_FALSE(ghost.remove(99'899));
    CHECK(ghost.validate());
}

TEST_CASE("a ghost that is refused memory remembers the latest keys that it has room for") {
    Ghost ghost = ghost_of(1'000);
    refuse_memory = true;
    ghost.add(1);
    CHECK(ghost.size() == 0);
    CHECK_FALSE(ghost.remove(1));

    refuse_memory = false;
    for (Hash h = 0; h < 20; ++h) ghost.add(h);
    refuse_memory = true;
    for (Hash h = 20; h < 100; ++h) ghost.add(h);
    ghost.budget({900, false});
    const std::size_t room = ghost.size();
    CHECK(room >= 20);
    CHECK(ghost.validate());
    CHECK_FALSE(ghost.remove(99 - room));
    CHECK(ghost.remove(100 - room));
    CHECK(ghost.remove(99));
    for (Hash h = 0; h < 5'000; ++h) {
        ghost.add(h);
        if (h % 3 == 0) REQUIRE(ghost.remove(h));
    }
    CHECK(ghost.validate());

    refuse_memory = false;
    for (Hash h = 0; h < 2'000; ++h) ghost.add(h);
    CHECK(ghost.size() == 900);
    CHECK(ghost.validate());
}
