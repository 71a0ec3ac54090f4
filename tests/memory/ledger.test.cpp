#include "drey/memory/ledger.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "drey/types.hpp"
#include "support/catch.hpp"

using drey::Ledger;
using drey::Weight;

TEST_CASE("ledger of one shard hands out all it has at once", "[ledger]") {
    Ledger ledger(100, 1);
    CHECK(ledger.capacity() == 100);
    CHECK(ledger.fair_share() == 100);
    CHECK(ledger.claim(1) == 100);
    CHECK(ledger.claim(1) == 0);
    CHECK(ledger.unclaimed() == 0);
}

TEST_CASE("ledger hands out blocks that get smaller, at least what is needed", "[ledger]") {
    Ledger ledger(1600, 4);
    const Weight first = ledger.claim(1);
    CHECK(first == 50);
    CHECK(ledger.claim(1) < first);
    CHECK(ledger.claim(1000) == 1000);
    CHECK(ledger.claim(1000) == 1600 - 1000 - 50 - 48);
    CHECK(ledger.claim(1) == 0);
}

TEST_CASE("what is given back can be claimed again", "[ledger]") {
    Ledger ledger(10, 2);
    CHECK(ledger.claim(10) == 10);
    ledger.give_back(4);
    CHECK(ledger.unclaimed() == 4);
    CHECK(ledger.claim(3) == 3);
    CHECK(ledger.claim(3) == 1);
}

TEST_CASE("fair share is never nothing", "[ledger]") {
    CHECK(Ledger(100, 4).fair_share() == 25);
    CHECK(Ledger(1, 64).fair_share() == 1);
}

TEST_CASE("lowering the capacity below what is claimed overdraws, until it is given back",
          "[ledger]") {
    Ledger ledger(100, 1);
    ledger.claim(1);
    CHECK(ledger.overdrawn() == 0);
    ledger.set_capacity(30);
    CHECK(ledger.capacity() == 30);
    CHECK(ledger.overdrawn() == 70);
    CHECK(ledger.unclaimed() == 0);
    CHECK(ledger.claim(1) == 0);
    ledger.give_back(70);
    CHECK(ledger.overdrawn() == 0);
    CHECK(ledger.claim(1) == 0);
    ledger.give_back(5);
    CHECK(ledger.claim(100) == 5);
    ledger.set_capacity(50);
    CHECK(ledger.claim(1) == 20);
}

TEST_CASE("ledger adds up at the end of its range", "[ledger]") {
    const Weight most = std::numeric_limits<std::int64_t>::max();
    Ledger ledger(most, 16);
    CHECK(ledger.claim(most - 1) == most - 1);
    CHECK(ledger.claim(most) == 1);
    ledger.set_capacity(1);
    CHECK(ledger.overdrawn() == most - 1);
    ledger.give_back(most);
    ledger.set_capacity(most);
    CHECK(ledger.unclaimed() == most);
}

TEST_CASE("allowances and what is unclaimed always add up to the capacity", "[ledger]") {
    std::mt19937_64 random(1);
    for (const std::size_t shards : {1u, 2u, 64u}) {
        Ledger ledger(10'000, shards);
        std::vector<Weight> allowances(shards);
        for (int i = 0; i < 20'000; ++i) {
            Weight& mine = allowances[static_cast<std::size_t>(random()) % shards];
            if (random() % 3 == 0) {
                const Weight some = random() % (mine + 1);
                ledger.give_back(some);
                mine -= some;
            } else {
                const Weight need = 1 + random() % 300;
                const Weight unclaimed = ledger.unclaimed();
                const Weight got = ledger.claim(need);
                REQUIRE(got >= std::min(need, unclaimed));
                REQUIRE(got <= unclaimed);
                mine += got;
            }
            if (i % 100 == 0) ledger.set_capacity(1 + random() % 20'000);
            Weight total = ledger.unclaimed();
            for (const Weight allowance : allowances) total += allowance;
            REQUIRE(total == ledger.capacity() + ledger.overdrawn());
        }
    }
}
