#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include "drey/memory/hazards.hpp"
#include "drey/types.hpp"

namespace drey {

/// Hits that a policy which needs the shard's lock for them has yet to hear of. A lock is two
/// locked instructions, each of which waits for the cache misses before it, so that those of one
/// hit after another would not overlap. Instead, a hit leaves its slot in a line of memory that its
/// thread alone writes (one for each shard and hazard guard's lane); whoever has the shard's lock
/// next delivers what is there. So does the thread itself when its line is full.
///
/// The policy hears of one thread's hits in their order, and of all of them before anything else is
/// asked of it. So does it of several threads' while these take turns, as under a lock of the
/// user's: only one line of a shard has room then, and another lane must first get the lock,
/// deliver what is there, and close it. That ends when two threads are seen to meet. From then on
/// each lane has room, and the order is that of each thread alone.
///
/// A slot keeps nothing alive. When it is delivered, its entry may have left, if threads race: then
/// it is free, retired, or another entry's, which is hit in its place.
///
/// What threads see of each other: what one noted happens before what another does after it, if
/// anything in the program says that it came later, so the later one finds it. If nothing does, a
/// note may be delivered now or with the next lock.
class PendingHits {
public:
    /// `lanes` of them have lines, at most HazardDomain::most_own_lanes.
    explicit PendingHits(std::size_t shards, std::size_t lanes = HazardDomain::own_lanes()) noexcept
        : shards_(shards), lane_count_(lanes) {}
    PendingHits(const PendingHits&) = delete;
    PendingHits& operator=(const PendingHits&) = delete;
    ~PendingHits() {
        for (auto& lines : lanes_) delete[] lines.load(std::memory_order_relaxed);
    }

    /// How many hits wait at most, of one lane in one shard. Enough that locking for them costs
    /// little, and that the policy can fetch what many of them touch at once; few enough that who
    /// has to deliver all lanes' does not keep others waiting for long.
    static constexpr std::uint32_t room = 125;

    // ---- for the lane's thread -----------------------------------------------------------------

    /// Notes a hit, if there is room; else it is to be delivered under the lock, then `make_room`.
    [[gnu::always_inline]] bool add(std::size_t lane, std::size_t shard, Slot s) noexcept {
        Line* const lines = lines_of(lane);
        if (lines == nullptr) [[unlikely]]
            return false;
        Line& mine = lines[shard];
        const std::uint32_t at = mine.noted.load(std::memory_order_relaxed);
        // Relaxed: a line that is being closed may get one more, which is delivered later.
        if (at >= mine.end.load(std::memory_order_relaxed)) [[unlikely]]
            return false;
        mine.slots[at].store(s, std::memory_order_relaxed);
        // Release: who sees the count sees the slot.
        mine.noted.store(at + 1, std::memory_order_release);
        return true;
    }

    /// Gives the lane its lines, if it may have some. Without memory it has none for now.
    void prepare(std::size_t lane) noexcept {
        if (lane >= lane_count_ || lines_of(lane) != nullptr) return;
        // Release, twice: who delivers sees the lines made, and looks as far as this lane.
        lanes_[lane].store(new (std::nothrow) Line[shards_], std::memory_order_release);
        std::size_t used = used_.load(std::memory_order_relaxed);
        while (used <= lane &&
               !used_.compare_exchange_weak(used, lane + 1, std::memory_order_release,
                                            std::memory_order_relaxed)) {
        }
    }

    /// Two threads have used the cache at once.
    void threads_met() noexcept { threads_met_.store(true, std::memory_order_relaxed); }

    // ---- for the holder of the shard's lock ----------------------------------------------------

    /// Calls `hits(slots)` with what a lane noted and was not yet delivered, for each lane that has
    /// any. The slots are the callee's to change.
    template <class Hits>
    void deliver(std::size_t shard, Hits&& hits) noexcept {
        for_each_line(shard, [&](Line& line) {
            const std::uint32_t noted = line.noted.load(std::memory_order_acquire);
            if (line.delivered == noted) return;
            std::array<Slot, room> slots;
            std::size_t count = 0;
            for (std::uint32_t i = line.delivered; i != noted; ++i)
                slots[count++] = line.slots[i].load(std::memory_order_relaxed);
            line.delivered = noted;
            hits(std::span(slots.data(), count));
        });
    }

    /// After `deliver`, by the lane's thread: its line may be written from its beginning. Nobody
    /// still reads there what was, since that takes the lock.
    void make_room(std::size_t lane, std::size_t shard) noexcept {
        Line* const lines = lines_of(lane);
        if (lines == nullptr) return;
        Line& mine = lines[shard];
        if (!threads_met_.load(std::memory_order_relaxed))
            for_each_line(shard, [&](Line& line) {
                if (&line != &mine && line.end.load(std::memory_order_relaxed) != 0)
                    line.end.store(0, std::memory_order_relaxed);
            });
        mine.noted.store(0, std::memory_order_relaxed);
        mine.delivered = 0;
        mine.end.store(room, std::memory_order_relaxed);
    }

private:
    /// One lane's hits in one shard. Who delivers, and who makes or takes away room, has the lock.
    struct alignas(64) Line {
        std::atomic<std::uint32_t> noted{0};  // written by the lane's thread alone
        std::atomic<std::uint32_t> end{0};    // so many it may note
        std::uint32_t delivered = 0;          // the lock guards it
        std::array<std::atomic<Slot>, room> slots;
    };
    static_assert(sizeof(Line) == 512);  // two cache lines of it in use at a time

    /// Relaxed: for the lane's thread. Another that had the lane before gave it back, by which this
    /// one sees what it stored.
    Line* lines_of(std::size_t lane) const noexcept {
        return lane < lanes_.size() ? lanes_[lane].load(std::memory_order_relaxed) : nullptr;
    }

    template <class F>
    void for_each_line(std::size_t shard, F&& f) noexcept {
        const std::size_t used = used_.load(std::memory_order_acquire);
        for (std::size_t lane = 0; lane < used; ++lane)
            if (Line* const lines = lanes_[lane].load(std::memory_order_acquire)) f(lines[shard]);
    }

    std::array<std::atomic<Line*>, HazardDomain::most_own_lanes> lanes_{};  // null: not used yet
    const std::size_t shards_;
    const std::size_t lane_count_;
    std::atomic<std::size_t> used_{0};  // lanes beyond have no lines
    std::atomic<bool> threads_met_{false};
};

}  // namespace drey
