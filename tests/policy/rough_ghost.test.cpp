#include "drey/policy/rough_ghost.hpp"

#include <cstddef>
#include <cstdint>

#include "drey/hash.hpp"
#include "support/catch.hpp"

namespace {

using drey::RoughGhost;

std::uint32_t name(std::uint64_t n) {
    return static_cast<std::uint32_t>(drey::detail::scrambled(n + 1) >> 32);
}

RoughGhost ghost_of(std::size_t keys) {
    RoughGhost ghost;
    REQUIRE(ghost.resize(keys));
    return ghost;
}

/// How many of the names from `from` on, and below `to`, are remembered: no more, then.
std::size_t remembered(RoughGhost& ghost, std::uint64_t from, std::uint64_t to) {
    std::size_t count = 0;
    for (std::uint64_t n = from; n < to; ++n) count += ghost.remove(name(n)) ? 1 : 0;
    return count;
}

}  // namespace

TEST_CASE("a rough ghost of few keys remembers exactly the last, once each") {
    for (const std::size_t keys : {1u, 2u, 30u, 31u}) {
        RoughGhost ghost = ghost_of(keys);
        for (std::uint64_t n = 0; n < 100; ++n) ghost.add(name(n));
        CHECK(ghost.room() == keys);
        CHECK(remembered(ghost, 0, 100 - keys) == 0);
        CHECK(remembered(ghost, 100 - keys, 100) == keys);
        CHECK(remembered(ghost, 100 - keys, 100) == 0);
    }
}

TEST_CASE(
    "a rough ghost remembers what was new, and forgets what has become twice as old as that") {
    RoughGhost ghost = ghost_of(1000);
    for (std::uint64_t n = 0; n < 10'000; ++n) ghost.add(name(n));
    CHECK(remembered(ghost, 9500, 10'000) > 490);
    CHECK(remembered(ghost, 0, 8000) < 10);
}

TEST_CASE("a rough ghost hardly ever takes a key for another") {
    RoughGhost ghost = ghost_of(1000);
    for (std::uint64_t n = 0; n < 2000; ++n) ghost.add(name(n));
    CHECK(remembered(ghost, 1'000'000, 1'100'000) < 100);
}

TEST_CASE(
    "a rough ghost that grows still remembers most, and one that shrinks is not above its room") {
    RoughGhost ghost = ghost_of(500);
    for (std::uint64_t n = 0; n < 500; ++n) ghost.add(name(n));
    REQUIRE(ghost.resize(3000));
    CHECK(ghost.validate());
    CHECK(remembered(ghost, 400, 500) > 80);
    REQUIRE(ghost.resize(100));
    CHECK(ghost.validate());
    CHECK(ghost.room() < 131);
    REQUIRE(ghost.resize(20));
    CHECK(ghost.validate());
    CHECK(remembered(ghost, 0, 500) <= 20);
    REQUIRE(ghost.resize(0));
    ghost.add(name(1));
    CHECK(remembered(ghost, 0, 10) == 0);
}
