#include "drey/policy/marks.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "drey/policy/mark_column.hpp"
#include "support/catch.hpp"

using drey::Mark;
using drey::Slot;

TEMPLATE_TEST_CASE_SIG("a mark counts to its limit and leaves its neighbours alone", "[marks]",
                       ((unsigned most), most), 1, 2, 3) {
    constexpr std::size_t slots = 100;
    drey::Marks<most> marks;
    marks.grow(slots);
    std::vector<unsigned> expected(slots);
    std::mt19937 random(1);
    for (int i = 0; i < 20'000; ++i) {
        const auto s = static_cast<Slot>(random() % slots);
        if (random() % 8 == 0) {
            expected[s] = static_cast<unsigned>(random() % (most + 1));
            marks.set(s, expected[s]);
        } else {
            expected[s] = std::min(most, expected[s] + 1);
            marks.touch(s);
        }
        bool same = true;
        for (Slot other = 0; other < slots; ++other) same &= marks.get(other) == expected[other];
        REQUIRE(same);
    }
}

TEST_CASE("setting a mark to more than it holds leaves its neighbours alone", "[marks]") {
    drey::Marks<3> marks;
    marks.grow(3);
    marks.set(1, 6);
    CHECK(marks.get(0) == 0);
    CHECK(marks.get(1) == 2);
    CHECK(marks.get(2) == 0);
}

TEST_CASE("marks stay as the column grows, and new ones are 0", "[marks]") {
    drey::Marks<3> marks;
    std::size_t held = 0;
    for (const std::size_t n : {1u, 16u, 17u, 40u, 1000u, 999u}) {
        marks.grow(n);
        for (; held < n; ++held) {
            CHECK(marks.get(static_cast<Slot>(held)) == 0);
            marks.set(static_cast<Slot>(held), held % 4);
        }
        for (Slot s = 0; s < held; ++s) REQUIRE(marks.get(s) == s % 4);
    }
}

TEST_CASE("marks that are lent take the place of the policy's own", "[marks]") {
    std::vector<Mark::Word> first(2), second(3);
    drey::Marks<3> marks;
    marks.lend({0, 32, first.data()});
    marks.lend({32, 48, second.data()});
    marks.grow(80);
    for (Slot s = 0; s < 80; ++s) marks.set(s, s * 7 % 4);
    for (Slot s = 0; s < 80; ++s) {
        CHECK(marks.get(s) == s * 7 % 4);
        CHECK((s < 32 ? Mark(first.data(), s) : Mark(second.data(), s - 32)).get() == s * 7 % 4);
    }
}

TEST_CASE("threads that touch neighbours never take a mark beyond its limit, nor touch others",
          "[marks][concurrent]") {
    constexpr Slot slots = 64, touched = 48;
    drey::Marks<2> marks;
    marks.grow(slots);
    for (Slot s = touched; s < slots; ++s) marks.set(s, 1);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (Slot t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (Slot s = t; !stop.load(std::memory_order_relaxed); s = (s + 7) % touched)
                marks.touch(s);
        });
    bool within = true;
    for (int i = 0; i < 20'000; ++i) {
        const auto s = static_cast<Slot>(i) % touched;
        within &= marks.get(s) <= 2;
        marks.set(s, 0);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(within);
    for (Slot s = touched; s < slots; ++s) CHECK(marks.get(s) == 1);
    // Nobody is in the way any more.
    for (Slot s = 0; s < touched; ++s) {
        for (int i = 0; i < 3; ++i) marks.touch(s);
        CHECK(marks.get(s) == 2);
    }
}
