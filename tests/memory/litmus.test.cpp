#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "drey/clock.hpp"
#include "drey/detail/stable_column.hpp"
#include "drey/detail/tickets.hpp"
#include "drey/memory/deadlines.hpp"
#include "drey/memory/entry.hpp"
#include "drey/memory/index.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

/// For each pair of a release and an acquire that the store's comments argue with, the bare
/// pattern: one side writes plain memory and then what announces it, the other sees the
/// announcement and reads. Were either order weaker, the two would race, and ThreadSanitizer says
/// so even where the processor would have been kind. Those of hazard pointers are in
/// hazards.test.cpp.

using drey::Hash;
using drey::Index;
using drey::Slot;
using support::Failures;
using support::in_threads;
using support::ops;

namespace {

/// Runs `write(i)` for each i below `count` on one thread, while two others call `read()` all
/// along; the writer lets them get on every now and then, or it might be done before they begin.
template <class Write, class Read>
void beside_readers(std::size_t count, Write&& write, Read&& read) {
    std::atomic<bool> stop{false};
    std::array<std::atomic<std::size_t>, 2> reads{};
    in_threads(3, [&](std::size_t thread) {
        if (thread == 2) {
            for (std::size_t i = 0; i < count; ++i) {
                write(i);
                if (i % 64 != 0) continue;
                for (auto& each : reads)
                    for (const std::size_t before = each.load(std::memory_order_relaxed);
                         each.load(std::memory_order_relaxed) == before;)
                        std::this_thread::yield();
            }
            stop.store(true, std::memory_order_relaxed);
        } else {
            while (!stop.load(std::memory_order_relaxed)) {
                read();
                reads[thread].fetch_add(1, std::memory_order_relaxed);
            }
        }
    });
}

/// Entries behind an index, in plain memory that is written once, before its slot is published.
class Published {
public:
    void add(Hash h) { index_.add(h, fill(h)); }

    /// The one entry that there is gets a successor.
    void replace(Hash h) {
        const Slot old = used_ - 1, fresh = fill(h);
        index_.replace(index_.place_of(h, old), h, fresh);
    }

    /// Whether what a look-up of h comes upon was written: as a shard looks, but for hazards, which
    /// memory that is never given back does not need.
    bool look(Hash h) const {
        bool written = true;
        auto probe = index_.probe(h);
        while (probe.next()) {
            const Entry* const entry = entries_.address(probe.slot());  // which is in a new chunk
            if (index_.still_holds(probe.place())) written &= entry->check == ~entry->hash;
        }
        return written;
    }

private:
    struct Entry {
        Entry(Hash h, Hash c) : hash(h), check(c) {}
        Hash hash, check;
    };

    Slot fill(Hash h) {
        entries_.grow(used_ + std::size_t{1});
        entries_.emplace(used_, h, ~h);
        index_.reserve_one(used_ + std::size_t{1}, [this](Slot s) { return entries_[s].hash; });
        return used_++;
    }

    Index index_{1, 1};
    drey::detail::StableColumn<Entry> entries_;
    Slot used_ = 0;
};

}  // namespace

TEST_CASE("who sees a word of the index sees the entry, and who sees a table sees its words",
          "[concurrent]") {
    for (std::size_t round = 0; round < ops(20); ++round) {
        Published published;
        Failures failures;
        std::atomic<Hash> latest{0};
        beside_readers(
            300,
            [&](std::size_t i) {
                const Hash h = support::Random(i)();
                latest.store(h, std::memory_order_relaxed);  // they look for it before it is there
                published.add(h);
            },
            [&] { failures.expect(published.look(latest.load(std::memory_order_relaxed))); });
        REQUIRE(failures.count() == 0);
    }
}

TEST_CASE("who sees a word of the index that replaced another sees the entry", "[concurrent]") {
    const std::size_t count = ops(3'000);
    Published published;
    Failures failures;
    published.add(1);
    beside_readers(
        count, [&](std::size_t) { published.replace(1); },
        [&] { failures.expect(published.look(1)); });
    CHECK(failures.count() == 0);
}

TEST_CASE("who gets a pointer out of a value that is overwritten in place sees what it points to",
          "[concurrent]") {
    const std::size_t count = ops(3'000);
    std::vector<std::size_t> numbers(count + 1);
    drey::ValueCell<const std::size_t*> cell(numbers.data());
    Failures failures;
    beside_readers(
        count,
        [&](std::size_t i) {
            numbers[i + 1] = i + 1;
            cell.set(&numbers[i + 1]);
        },
        [&] {
            const std::size_t* const number = cell.get();
            failures.expect(*number == static_cast<std::size_t>(number - numbers.data()));
        });
    CHECK(failures.count() == 0);
}

TEST_CASE("who sees that deadlines are in use sees those of older entries", "[concurrent]") {
    for (std::size_t round = 0; round < ops(300); ++round) {
        drey::Deadlines deadlines;
        Failures failures;
        in_threads(3, [&](std::size_t thread) {
            if (thread == 0) {
                deadlines.grow(1'000, true);
            } else {
                for (Slot s = 0; s < 1'000; s += 7)
                    failures.expect(deadlines.at(s) == drey::no_deadline);
            }
        });
        REQUIRE(failures.count() == 0);
    }
}

TEST_CASE("who sees a ticket doomed sees what was done before", "[concurrent]") {
    for (std::size_t round = 0; round < ops(100); ++round) {
        drey::Tickets tickets;
        std::array<drey::Ticket, 2> mine{drey::Ticket(1), drey::Ticket(2)};
        for (drey::Ticket& ticket : mine) tickets.add(ticket);
        std::array<std::size_t, 2> invalidated{};
        std::atomic<bool> first_seen{false};
        Failures failures;
        in_threads(3, [&](std::size_t thread) {
            if (thread == 2) {
                invalidated[0] = round + 1;
                tickets.doom(1);
                while (!first_seen.load(std::memory_order_relaxed)) std::this_thread::yield();
                invalidated[1] = round + 1;
                tickets.doom_all();
            } else {
                while (!mine[thread].doomed()) std::this_thread::yield();
                failures.expect(invalidated[thread] == round + 1);
                first_seen.store(true, std::memory_order_relaxed);
            }
        });
        REQUIRE(failures.count() == 0);
    }
}

TEST_CASE("who sees the time of a manual clock sees what was done before it came", "[concurrent]") {
    const std::size_t count = ops(3'000);
    std::vector<std::size_t> done(count + 1);
    drey::ManualClock clock;
    Failures failures;
    beside_readers(
        count,
        [&](std::size_t i) {
            done[i + 1] = i + 1;
            clock.advance(std::chrono::nanoseconds(1));
        },
        [&] {
            const auto now = static_cast<std::size_t>(clock.now().count());
            failures.expect(done[now] == now);
        });
    CHECK(failures.count() == 0);
}
