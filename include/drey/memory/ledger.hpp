#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "drey/types.hpp"

namespace drey {

/// The capacity that no shard has claimed yet.
///
/// Capacity is a total. Each shard holds an allowance, which it claims from here as it fills, in
/// blocks that get smaller as the rest does, and gives back what it no longer needs. So a cache
/// fills to its capacity however its keys fall into shards, one heavy entry may have nearly all of
/// it, and a full shard touches nothing that others touch.
///
/// Invariant: the allowances and what is here add up to the capacity. After the capacity was
/// lowered what is here may be negative, until the shards have given back enough.
class Ledger {
public:
    Ledger(Weight capacity, std::size_t shards) noexcept
        : shard_bits_(std::countr_zero(shards)), capacity_(capacity),
          free_(static_cast<std::int64_t>(capacity)) {}

    Weight capacity() const noexcept { return capacity_.load(std::memory_order_relaxed); }

    /// A shard's share if all had the same, and at least 1.
    Weight fair_share() const noexcept { return fair_share_of(capacity()); }
    Weight fair_share_of(Weight capacity) const noexcept {
        return std::max<Weight>(capacity >> shard_bits_, 1);
    }

    /// Claims at least `need` if there is as much, all there is otherwise. All that a ledger's
    /// orders must protect is its own sum: relaxed.
    Weight claim(Weight need) noexcept {
        std::int64_t free = free_.load(std::memory_order_relaxed);
        for (;;) {
            if (free <= 0) return 0;
            const Weight block =
                static_cast<Weight>(free) >> (shard_bits_ == 0 ? 0 : shard_bits_ + 3);
            const auto take = std::min(free, static_cast<std::int64_t>(std::max(need, block)));
            if (free_.compare_exchange_weak(free, free - take, std::memory_order_relaxed))
                return static_cast<Weight>(take);
        }
    }

    void give_back(Weight amount) noexcept {
        free_.fetch_add(static_cast<std::int64_t>(amount), std::memory_order_relaxed);
    }

    /// How much the shards hold beyond the capacity, after it was lowered.
    Weight overdrawn() const noexcept {
        return static_cast<Weight>(
            std::max<std::int64_t>(0, -free_.load(std::memory_order_relaxed)));
    }

    Weight unclaimed() const noexcept {
        return static_cast<Weight>(
            std::max<std::int64_t>(0, free_.load(std::memory_order_relaxed)));
    }

    void set_capacity(Weight capacity) noexcept {
        const Weight before = capacity_.exchange(capacity, std::memory_order_relaxed);
        free_.fetch_add(static_cast<std::int64_t>(capacity) - static_cast<std::int64_t>(before),
                        std::memory_order_relaxed);
    }

private:
    const int shard_bits_;  // their number's logarithm
    std::atomic<Weight> capacity_;
    std::atomic<std::int64_t> free_;
};

}  // namespace drey
