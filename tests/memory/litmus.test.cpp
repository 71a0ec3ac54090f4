#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <thread>
#include <vector>

#include "drey/clock.hpp"
#include "drey/detail/stable_column.hpp"
#include "drey/detail/tickets.hpp"
#include "drey/memory/deadlines.hpp"
#include "drey/memory/entry.hpp"
#include "drey/memory/table.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

/// For each pair of a release and an acquire that the store's comments argue with, the bare
/// pattern: one side writes plain memory and then what announces it, the other sees the
/// announcement and reads. Were either order weaker, the two would race, and ThreadSanitizer says
/// so even where the processor would have been kind. Those of hazard pointers are in
/// hazards.test.cpp.

using drey::Hash;
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

/// Entries in a table, in plain memory that is written once, before its slot is published.
class Published {
public:
    void add(Hash h) {
        latest_ = make(h);
        table_.publish(latest_, h);
    }

    /// The one entry that there is gets a successor.
    void replace(Hash h) {
        const Slot fresh = make(h);
        table_.replace(latest_, fresh, h);
        latest_ = fresh;
    }

    struct Seen {
        bool any = false;
        bool written = true;
    };

    /// What a look-up of h comes upon: as a shard looks, but for hazards, which memory that is
    /// never given back does not need.
    Seen look(Hash h) const {
        const drey::Tag tag = drey::tag_of(h);
        Seen seen;
        for (;;) {
            const auto before = table_.replacements();
            for (auto* segment = table_.newest(); segment != nullptr; segment = segment->older())
                for (drey::ProbePath path = segment->path(h);;) {
                    const drey::TagGroup& tags = segment->tags(path.group());
                    for (auto found = tags.match(tag); found != 0; found &= found - 1) {
                        const auto place = static_cast<unsigned>(std::countr_zero(found));
                        if (tags[place].load(std::memory_order_acquire) != tag) continue;
                        const Entry& entry = *segment->address(path.group(), place);
                        seen.any = true;
                        seen.written &= entry.check == ~entry.hash;
                    }
                    if (!segment->overflows(path.group(), h) || !path.next()) break;
                }
            if (seen.any || !table_.replaced_since(before)) return seen;
        }
    }

private:
    struct Entry {
        Hash hash, check;
    };

    Slot make(Hash h) {
        table_.reserve_one();
        const Slot s = table_.take(h);
        ::new (static_cast<void*>(table_.address(s))) Entry{h, ~h};
        return s;
    }

    drey::Blocks<Entry> blocks_{0, 1};
    drey::Table<Entry> table_{blocks_, 0};
    Slot latest_ = 0;
};

}  // namespace

TEST_CASE("who sees a tag sees the entry, and who sees a segment sees its tags", "[concurrent]") {
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
            [&] {
                failures.expect(published.look(latest.load(std::memory_order_relaxed)).written);
            });
        REQUIRE(failures.count() == 0);
    }
}

TEST_CASE("who looks for an entry that is replaced finds one, and sees it", "[concurrent]") {
    const std::size_t count = ops(1'000);
    Published published;
    Failures failures;
    published.add(1);
    beside_readers(
        count, [&](std::size_t) { published.replace(1); },
        [&] {
            const auto seen = published.look(1);
            failures.expect(seen.any && seen.written);
        });
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
