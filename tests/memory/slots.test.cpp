#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "drey/detail/stable_column.hpp"
#include "drey/memory/slab.hpp"
#include "drey/memory/slot_set.hpp"
#include "support/catch.hpp"

/// Where entries live, and sets of them.

using drey::no_slot;
using drey::Slab;
using drey::Slot;
using drey::SlotSet;

// ---- Slab
// ------------------------------------------------------------------------------------------

namespace {

struct Named {
    explicit Named(std::string n) : name(std::move(n)) {
        if (name == "bad") throw std::runtime_error("bad");
    }
    std::string name;
};

void destroy(Slab<Named>& slab, Slot s) {
    std::destroy_at(&slab.at(s));
    slab.give_back(s);
}

Slot make(Slab<Named>& slab, const std::string& name) {
    slab.reserve_one();
    const Slot next = slab.next();
    CHECK(slab.make(name) == next);
    return next;
}

}  // namespace

TEST_CASE("slab numbers entries from 0 and keeps them in place as it grows", "[slab]") {
    Slab<Named> slab;
    std::vector<const Named*> where;
    for (Slot s = 0; s < 5000; ++s) {
        REQUIRE(make(slab, std::to_string(s)) == s);
        where.push_back(&slab.at(s));
    }
    CHECK(slab.size() == 5000);
    for (Slot s = 0; s < 5000; ++s) {
        REQUIRE(&slab.at(s) == where[s]);
        REQUIRE(slab.pointer(s) == where[s]);
        REQUIRE(slab.at(s).name == std::to_string(s));
        destroy(slab, s);
    }
}

TEST_CASE("slab uses the slot that was freed last first", "[slab]") {
    Slab<Named> slab;
    for (int i = 0; i < 4; ++i) make(slab, "x");
    destroy(slab, 1);
    destroy(slab, 3);
    CHECK(make(slab, "y") == 3);
    CHECK(make(slab, "y") == 1);
    CHECK(make(slab, "y") == 4);
    CHECK(slab.size() == 5);
    for (Slot s = 0; s < 5; ++s) destroy(slab, s);
}

TEST_CASE("entry whose constructor throws takes no slot, new or used", "[slab]") {
    Slab<Named> slab;
    slab.reserve_one();
    CHECK_THROWS_AS(slab.make("bad"), std::runtime_error);
    CHECK(slab.size() == 0);
    make(slab, "a");
    make(slab, "b");
    destroy(slab, 0);
    destroy(slab, 1);
    CHECK_THROWS_AS(slab.make("bad"), std::runtime_error);
    CHECK(make(slab, "c") == 1);
    CHECK(make(slab, "d") == 0);
    CHECK(slab.size() == 2);
    destroy(slab, 0);
    destroy(slab, 1);
}

TEST_CASE("slab aligns entries that ask for it", "[slab]") {
    struct alignas(128) Wide {
        explicit Wide(char c) : first(c) {}
        char first;
    };
    Slab<Wide> slab;
    for (int i = 0; i < 200; ++i) {
        slab.reserve_one();
        const Slot s = slab.make('x');
        CHECK(reinterpret_cast<std::uintptr_t>(&slab.at(s)) % 128 == 0);
    }
    Slab<char> narrow;  // smaller than the link of a free slot
    for (int i = 0; i < 200; ++i) {
        narrow.reserve_one();
        narrow.make('x');
    }
    for (Slot s = 0; s < 200; ++s) narrow.give_back(s);
    for (int i = 0; i < 200; ++i) narrow.make('y');
    CHECK(narrow.size() == 200);
}

TEST_CASE("column gives every slot storage of its own", "[slab]") {
    drey::detail::StableColumn<std::uint64_t> column;
    CHECK(column.size() == 0);
    for (const std::size_t n : {1u, 64u, 65u, 192u, 193u, 10'000u}) {
        column.grow(n);
        CHECK(column.size() >= n);
    }
    column.grow(5);
    const auto n = static_cast<Slot>(column.size());
    for (Slot s = 0; s < n; ++s) column.emplace(s, s);
    for (Slot s = 0; s < n; ++s) REQUIRE(column[s] == s);
}

// ---- SlotSet
// ---------------------------------------------------------------------------------------

namespace {

std::set<Slot> members(const SlotSet& set) {
    std::set<Slot> found;
    for (Slot s = set.next(0); s != no_slot; s = set.next(s + 1)) found.insert(s);
    return found;
}

}  // namespace

TEST_CASE("empty slot set has no members, grown or not", "[slot_set]") {
    SlotSet set;
    CHECK(set.empty());
    CHECK_FALSE(set.contains(0));
    CHECK(set.next(0) == no_slot);
    set.grow(10'000);
    CHECK(set.empty());
    CHECK_FALSE(set.contains(9999));
    CHECK_FALSE(set.contains(no_slot));
    CHECK(set.next(0) == no_slot);
    CHECK(set.next(100'000) == no_slot);
}

TEST_CASE("slot set finds its members across words and blocks", "[slot_set]") {
    SlotSet set;
    const std::set<Slot> slots{0, 1, 63, 64, 4095, 4096, 8191, 8192, 300'000};
    set.grow(300'001);
    for (const Slot s : slots) set.add(s);
    CHECK(set.size() == slots.size());
    CHECK(members(set) == slots);
    CHECK(set.next(2) == 63);
    CHECK(set.next(4097) == 8191);
    CHECK(set.next(8193) == 300'000);
    CHECK(set.next(300'001) == no_slot);
}

TEST_CASE("slot set keeps its members when it grows and never shrinks", "[slot_set]") {
    SlotSet set;
    set.grow(10);
    set.add(9);
    set.grow(1'000'000);
    set.grow(5);
    CHECK(members(set) == std::set<Slot>{9});
    set.add(999'999);
    CHECK(set.next(10) == 999'999);
}

TEST_CASE("slot set does what std::set does", "[slot_set]") {
    for (const std::uint64_t range : {70u, 5000u, 100'000u}) {
        SlotSet set;
        std::set<Slot> model;
        std::mt19937_64 random(range);
        for (int i = 0; i < 20'000; ++i) {
            const Slot s = static_cast<Slot>(random() % range);
            set.grow(s + std::size_t{1});
            REQUIRE(set.contains(s) == model.contains(s));
            if (model.erase(s) != 0) {
                set.remove(s);
            } else {
                model.insert(s);
                set.add(s);
            }
            REQUIRE(set.size() == model.size());
            const Slot from = static_cast<Slot>(random() % range);
            const auto next = model.lower_bound(from);
            REQUIRE(set.next(from) == (next != model.end() ? *next : no_slot));
        }
        CHECK(members(set) == model);
    }
}
