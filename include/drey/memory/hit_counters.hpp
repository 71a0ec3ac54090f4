#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "drey/memory/hazards.hpp"
#include "drey/stats.hpp"

namespace drey {

/// What is counted without a shard's lock and without a locked instruction: hits, misses and
/// overwriting in place. Each thread has a line of its own (its hazard guard's lane), which it
/// alone writes. Lanes beyond what was foreseen share one line and pay for it.
class HitCounters {
public:
    explicit HitCounters(bool shared)
        : own_(shared ? HazardDomain::own_lanes() : 1), lines_(new Line[own_ + 1]) {}

    void hit(std::size_t lane) noexcept { add(lane, &Line::hits); }
    /// `hit` and `miss`, in a lane below HazardDomain::own_lanes().
    void own_hit(std::size_t lane) noexcept { increment(lines_[lane].hits); }
    void own_miss(std::size_t lane) noexcept { increment(lines_[lane].misses); }
    void own_overwrite(std::size_t lane) noexcept { increment(lines_[lane].overwrites); }
    /// A hit on an absence. These are few enough to share a counter.
    void absent_hit(std::size_t lane) noexcept {
        hit(lane);
        absent_hits_.fetch_add(1, std::memory_order_relaxed);
    }
    void miss(std::size_t lane) noexcept { add(lane, &Line::misses); }

    void add_to(Stats& stats) const noexcept {
        stats.absent_hits += absent_hits_.load(std::memory_order_relaxed);
        for (std::size_t i = 0; i <= own_; ++i) {
            stats.hits += lines_[i].hits.load(std::memory_order_relaxed);
            stats.misses += lines_[i].misses.load(std::memory_order_relaxed);
            const auto overwrites = lines_[i].overwrites.load(std::memory_order_relaxed);
            stats.insertions += overwrites;
            stats.removals[static_cast<std::size_t>(Removal::replaced)] += overwrites;
        }
    }

private:
    struct alignas(64) Line {
        std::atomic<std::uint64_t> hits{0};
        std::atomic<std::uint64_t> misses{0};
        std::atomic<std::uint64_t> overwrites{0};
    };

    static void increment(std::atomic<std::uint64_t>& mine) noexcept {
        mine.store(mine.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    void add(std::size_t lane, std::atomic<std::uint64_t> Line::*counter) noexcept {
        if (lane < own_) [[likely]] {
            increment(lines_[lane].*counter);
        } else {
            (lines_[own_].*counter).fetch_add(1, std::memory_order_relaxed);
        }
    }

    std::size_t own_;
    std::unique_ptr<Line[]> lines_;
    std::atomic<std::uint64_t> absent_hits_{0};
};

}  // namespace drey
