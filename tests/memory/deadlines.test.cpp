#include "drey/memory/deadlines.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>

#include "drey/memory/slot_set.hpp"
#include "support/catch.hpp"

namespace {

using drey::Deadline;
using drey::Deadlines;
using drey::no_deadline;
using drey::no_slot;
using drey::Slot;
using drey::SlotSet;

/// Deadlines of live slots, and beside them a map.
struct Held {
    Deadlines deadlines{};
    SlotSet live{};
    std::map<Slot, Deadline> model{};

    void add(Slot s, Deadline deadline) {
        deadlines.grow(s + std::size_t{1}, deadline != no_deadline);
        live.grow(s + std::size_t{1});
        deadlines.set(s, deadline);
        live.add(s);
        model[s] = deadline;
    }
    void remove(Slot s) {
        live.remove(s);
        model.erase(s);
    }
    bool valid() const { return deadlines.validate(live); }

    /// All that expired, removed one by one.
    std::set<Slot> purge(std::int64_t now) {
        std::set<Slot> expired;
        for (Slot s = deadlines.expired(now, live); s != no_slot;
             s = deadlines.expired(now, live)) {
            CHECK(expired.insert(s).second);
            remove(s);
        }
        return expired;
    }
    std::set<Slot> due(std::int64_t now) const {
        std::set<Slot> expired;
        for (const auto& [s, deadline] : model)
            if (deadline <= now) expired.insert(s);
        return expired;
    }
};

constexpr std::int64_t end_of_time = no_deadline - 1;

}  // namespace

TEST_CASE("deadlines are not in use until the first one comes", "[deadlines]") {
    Held held;
    for (Slot s = 0; s < 100; ++s) held.add(s, no_deadline);
    CHECK_FALSE(held.deadlines.in_use());
    CHECK(held.deadlines.at(5) == no_deadline);
    CHECK(held.deadlines.earliest() == no_deadline);
    CHECK(held.deadlines.expired(end_of_time, held.live) == no_slot);
    held.add(100, 7);
    CHECK(held.deadlines.in_use());
    CHECK(held.deadlines.at(5) == no_deadline);
    CHECK(held.deadlines.at(100) == 7);
    CHECK(held.purge(end_of_time) == std::set<Slot>{100});
    CHECK(held.valid());
}

TEST_CASE("a deadline has passed when it is reached and not before", "[deadlines]") {
    Held held;
    held.add(0, 10);
    CHECK(held.deadlines.expired(9, held.live) == no_slot);
    CHECK(held.deadlines.expired(10, held.live) == 0);
    CHECK(held.deadlines.expired(11, held.live) == 0);
}

TEST_CASE("deadlines before zero pass like others", "[deadlines]") {
    Held held;
    held.add(0, -10);
    held.add(1, std::numeric_limits<std::int64_t>::min());
    CHECK(held.purge(-11) == std::set<Slot>{1});
    CHECK(held.purge(-10) == std::set<Slot>{0});
}

TEST_CASE("slot that left is not found, and its bound is raised when that is found out",
          "[deadlines]") {
    Held held;
    held.add(0, 10);
    held.add(40, 20);
    held.remove(0);
    CHECK(held.deadlines.earliest() == 10);
    CHECK(held.deadlines.expired(15, held.live) == no_slot);
    CHECK(held.deadlines.earliest() == 20);
    CHECK(held.valid());
}

TEST_CASE("slot used again has its new deadline", "[deadlines]") {
    Held held;
    held.add(0, 10);
    held.remove(0);
    held.add(0, 100);
    CHECK(held.deadlines.expired(50, held.live) == no_slot);
    held.remove(0);
    held.add(0, no_deadline);
    CHECK(held.deadlines.expired(end_of_time, held.live) == no_slot);
    held.remove(0);
    held.add(0, 5);
    CHECK(held.deadlines.expired(5, held.live) == 0);
}

TEST_CASE("bounds cover slots far apart, whenever they come", "[deadlines]") {
    Held held;
    held.add(3, 30);
    for (const Slot s : {70u, 5000u, 200'000u, 3'000'000u}) {
        held.add(s, static_cast<Deadline>(s));
        CHECK(held.deadlines.earliest() == 30);
    }
    CHECK(held.valid());
    CHECK(held.purge(4999) == std::set<Slot>{3, 70});
    CHECK(held.purge(3'000'000) == std::set<Slot>{5000, 200'000, 3'000'000});
}

TEST_CASE("expired finds exactly those whose deadlines passed, in any history", "[deadlines]") {
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        Held held;
        std::mt19937_64 random(seed);
        const std::uint64_t range = seed == 1 ? 50 : seed == 2 ? 1500 : 40'000;
        std::int64_t now = 0;
        for (int i = 0; i < 20'000; ++i) {
            const Slot s = static_cast<Slot>(random() % range);
            if (held.model.contains(s)) held.remove(s);
            if (random() % 3 != 0) {
                held.add(s, random() % 4 == 0 ? no_deadline
                                              : now + static_cast<Deadline>(random() % 3000));
                REQUIRE(held.deadlines.at(s) == held.model.at(s));
            }
            if (i % 50 == 0) {
                now += static_cast<std::int64_t>(random() % 200);
                const auto due = held.due(now);
                REQUIRE(held.purge(now) == due);
                REQUIRE(held.valid());
            } else if (i % 7 == 0) {
                const Slot found = held.deadlines.expired(now, held.live);
                REQUIRE((found == no_slot) == held.due(now).empty());
                if (found != no_slot) REQUIRE(held.model.at(found) <= now);
            }
        }
    }
}
