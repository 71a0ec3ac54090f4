#include "drey/memory/index.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

namespace {

using drey::Hash;
using drey::Index;
using drey::Slot;

/// An index, and beside it which slot was published under which hash.
class Held {
public:
    explicit Held(std::size_t entries = 1) : index_(entries, entries) {}
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { CHECK(valid()); }

    void add(Hash h, Slot s) {
        reserve(s);
        index_.add(h, s);
        hashes_[s] = h;
    }
    void remove(Slot s) {
        const auto place = index_.place_of(hashes_.at(s), s);
        REQUIRE(place);
        CHECK(place.slot() == s);
        CHECK(index_.still_holds(place));
        index_.remove(place, hashes_.at(s));
        CHECK_FALSE(index_.still_holds(place));
        hashes_.erase(s);
    }
    void replace(Slot from, Slot to) {
        const Hash h = hashes_.at(from);
        reserve(to);
        const auto place = index_.place_of(h, from);
        REQUIRE(place);
        index_.replace(place, h, to);
        CHECK_FALSE(index_.still_holds(place));
        hashes_.erase(from);
        hashes_[to] = h;
    }

    /// The slots that a look-up of h would compare keys with.
    std::set<Slot> probed(Hash h) const {
        std::set<Slot> slots;
        auto probe = index_.probe(h);
        while (probe.next()) CHECK(slots.insert(probe.slot()).second);
        return slots;
    }
    bool finds(Slot s) const { return probed(hashes_.at(s)).contains(s); }
    bool valid() const { return index_.size() == hashes_.size() && index_.validate(hash_of()); }

    Index& index() { return index_; }
    const std::map<Slot, Hash>& hashes() const { return hashes_; }

private:
    /// As a shard does: `slots` never shrinks.
    void reserve(Slot s) {
        slots_ = std::max(slots_, s + std::size_t{1});
        index_.reserve_one(slots_, hash_of());
    }
    std::function<Hash(Slot)> hash_of() const {
        return [this](Slot s) { return hashes_.at(s); };
    }

    Index index_;
    std::map<Slot, Hash> hashes_;
    std::size_t slots_ = 0;
};

}  // namespace

TEST_CASE("empty index finds nothing", "[index]") {
    Held held;
    for (const Hash h : {Hash{0}, Hash{1}, ~Hash{0}, Hash{1} << 63}) {
        CHECK(held.probed(h).empty());
        CHECK_FALSE(held.index().place_of(h, 0));
    }
    CHECK(held.index().size() == 0);
}

TEST_CASE("index finds what was added, until it is removed", "[index]") {
    Held held;
    held.add(77, 0);
    CHECK(held.probed(77) == std::set<Slot>{0});
    held.remove(0);
    CHECK(held.probed(77).empty());
}

TEST_CASE("probe of an index passes over what carries another tag", "[index]") {
    Held held(100);
    const Hash home = Hash{5} << 40;
    held.add(home | Hash{1} << 20, 0);
    held.add(home | Hash{2} << 20, 1);
    CHECK(held.probed(home | Hash{1} << 20) == std::set<Slot>{0});
    CHECK(held.probed(home | Hash{2} << 20) == std::set<Slot>{1});
    CHECK(held.probed(home | Hash{3} << 20).empty());
}

TEST_CASE("replaced entry keeps its place", "[index]") {
    Held held(10);
    held.add(5, 3);
    const auto* const word = held.index().place_of(5, 3).word;
    held.replace(3, 8);
    CHECK(held.probed(5) == std::set<Slot>{8});
    CHECK(held.index().place_of(5, 8).word == word);
    CHECK_FALSE(held.index().place_of(5, 3));
    CHECK(held.index().size() == 1);
}

TEST_CASE("entries stay in place while others around them come and go", "[index]") {
    Held held(100);
    held.add(9, 50);
    const auto* const word = held.index().place_of(9, 50).word;
    for (Slot s = 0; s < 40; ++s) held.add(9, s);
    for (Slot s = 0; s < 40; s += 2) held.remove(s);
    CHECK(held.index().place_of(9, 50).word == word);
}

TEST_CASE("overflow counts come back to nothing when all that collided is gone", "[index]") {
    Held held(200);
    for (Slot s = 0; s < 100; ++s) held.add(0, s);
    CHECK(held.valid());
    CHECK(held.probed(0).size() == 100);
    for (Slot s = 0; s < 100; ++s) {
        const Slot scattered = s * 37 % 100;
        CHECK(held.finds(scattered));
        held.remove(scattered);
    }
    CHECK(held.valid());
    // A probe that went past the first group would find this one, which is somewhere else.
    CHECK(held.probed(0).empty());
}

TEST_CASE("probe of a colliding run wraps around the end of the table", "[index]") {
    Held held(100);
    const Hash last = ~Hash{0} << 32;
    for (Slot s = 0; s < 60; ++s) held.add(last, s);
    for (Slot s = 0; s < 60; ++s) CHECK(held.finds(s));
    for (Slot s = 0; s < 60; s += 3) held.remove(s);
    CHECK(held.probed(last).size() == 40);
}

TEST_CASE("index grows by entries and keeps them", "[index]") {
    Held held;
    std::mt19937_64 random(1);
    for (Slot s = 0; s < 20'000; ++s) held.add(random(), s);
    for (Slot s = 0; s < 20'000; ++s) REQUIRE(held.finds(s));
}

TEST_CASE("index grows by slot numbers though it holds few entries", "[index]") {
    Held held;
    std::mt19937_64 random(1);
    for (Slot s = 4; s < (1u << 27); s *= 2) {
        held.add(random(), s - 1);
        held.add(random(), s);
        if (s > 4) held.remove(s / 2);
    }
    for (const auto& [s, h] : held.hashes()) CHECK(held.finds(s));
}

TEST_CASE("index that all collide in grows and finds them, and tells a miss", "[index]") {
    Held held;
    for (Slot s = 0; s < 2000; ++s) held.add(s % 3, s);
    for (Slot s = 0; s < 2000; ++s) REQUIRE(held.finds(s));
    CHECK(held.probed(Hash{1} << 31).empty());
}

TEST_CASE("index refuses more slots than its words can name, and stays as it was", "[index]") {
    Held held;
    held.add(1, 0);
    const auto none = [](Slot) { return Hash{1}; };
    CHECK_THROWS_AS(held.index().reserve_one(Index::most_slots, none), std::length_error);
    CHECK(held.finds(0));
}

TEST_CASE("a look into a table that was replaced is told so", "[index]") {
    Held held;
    held.add(1, 0);
    const auto place = held.index().place_of(1, 0);
    auto probe = held.index().probe(2);
    while (probe.next()) {
    }
    CHECK(held.index().is_current(probe.table()));
    for (Slot s = 1; s < 100; ++s) held.add(s * 0x9e3779b97f4a7c15, s);
    CHECK_FALSE(held.index().still_holds(place));
    CHECK_FALSE(held.index().is_current(probe.table()));
}

TEST_CASE("index does what a map does, with hashes that collide more or less", "[index]") {
    for (const Hash distinct : {Hash{1}, Hash{3}, Hash{50}, Hash{100'000}}) {
        Held held(4);
        std::mt19937_64 random(distinct);
        for (int i = 0; i < 4000; ++i) {
            const Slot s = static_cast<Slot>(random() % 300);
            if (held.hashes().contains(s)) {
                const Slot to = static_cast<Slot>(random() % 300);
                if (!held.hashes().contains(to) && random() % 3 == 0) {
                    held.replace(s, to);
                } else {
                    held.remove(s);
                }
            } else {
                held.add(random() % distinct * 0xd6e8feb86659fd93, s);
            }
            if (i % 100 == 0) REQUIRE(held.valid());
        }
        for (const auto& [s, h] : held.hashes()) REQUIRE(held.finds(s));
    }
}
