#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "drey/detail/stable_column.hpp"
#include "drey/memory/slot_set.hpp"
#include "support/catch.hpp"

/// Columns that slots index, and sets of slots.

using drey::no_slot;
using drey::Slot;
using drey::SlotSet;

// ---- columns
// ---------------------------------------------------------------------------------------

TEST_CASE("column gives every slot storage of its own", "[column]") {
    drey::detail::StableColumn<std::uint64_t> column;
    CHECK(column.size() == 0);
    for (const std::size_t n : {3u, 4u, 6u, 7u, 12u, 13u, 10'000u}) {
        const std::uint64_t* const first = column.size() == 0 ? nullptr : &column[0];
        column.grow(n);
        CHECK(column.size() >= n);
        if (first != nullptr) CHECK(&column[0] == first);
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
