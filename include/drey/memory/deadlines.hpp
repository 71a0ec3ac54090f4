#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "drey/clock.hpp"
#include "drey/detail/stable_column.hpp"
#include "drey/types.hpp"

namespace drey {

/// The deadlines of a shard's entries, and the way to those that have passed. An entry's deadline
/// is when it must go; that it may be stale before is its note's to say.
///
/// Nothing is stored until the first entry with a deadline comes. From then on: 8 bytes a slot,
/// which readers read without a lock, and above them a tree of lower bounds, 32 to a node, that
/// costs a quarter of a byte a slot. Setting a deadline lowers the bounds above it; what leaves
/// does not raise them, so a bound may be too low. `expired` follows bounds that have passed, and
/// raises those that turn out too low: each costs one scan of 32, once, so finding what expired is
/// amortised O(log n) and needs no timer wheel's links.
///
/// All for the holder of the shard's lock, except `in_use` and `at`.
class Deadlines {
public:
    /// Whether any entry has ever had a deadline. Acquire, paired with the release in `grow`: a
    /// reader may hold an entry that is older than the column, and must then see its chunks.
    bool in_use() const noexcept { return in_use_.load(std::memory_order_acquire); }

    Deadline at(Slot s) const noexcept {
        return in_use() ? column_[s].load(std::memory_order_relaxed) : no_deadline;
    }

    /// Makes room for slots below n if the store is in use, or if `wanted` makes it so from now on.
    /// May throw std::bad_alloc, leaving what was there as it was.
    void grow(std::size_t n, bool wanted) {
        if (n > covered_ && (wanted || in_use())) [[unlikely]]
            cover(n);
    }

    /// Sets the deadline of a slot that is about to be published. No reader may hold the slot.
    void set(Slot s, Deadline deadline) noexcept {
        if (!in_use()) return;
        column_.emplace(s, deadline);
        std::size_t node = s;
        for (auto& level : bounds_) {
            node /= fan_out;
            if (level[node] <= deadline) break;
            level[node] = deadline;
        }
    }

    /// No live entry's deadline lies before this.
    Deadline earliest() const noexcept { return in_use() ? bounds_.back().front() : no_deadline; }

    /// A live slot whose deadline is not after `now`, or `no_slot`. What is live, here and below,
    /// `live.contains(slot)` says.
    template <class Live>
    Slot expired(std::int64_t now, const Live& live) noexcept {
        while (earliest() <= now) {
            std::size_t level = bounds_.size() - 1, node = 0;
            for (;;) {  // down along bounds that have passed
                const std::size_t child = passed_child(level, node, now, live);
                if (child == none) {
                    tighten(level, node, live);
                    break;
                }
                if (level == 0) return static_cast<Slot>(child);
                --level;
                node = child;
            }
        }
        return no_slot;
    }

    /// Whether every bound holds; for tests. Linear.
    template <class Live>
    bool validate(const Live& live) const {
        if (!in_use()) return true;
        for (std::size_t level = 0; level < bounds_.size(); ++level)
            for (std::size_t node = 0; node < bounds_[level].size(); ++node)
                if (bounds_[level][node] > lowest_below(level, node, live)) return false;
        return true;
    }

private:
    [[gnu::noinline]] void cover(std::size_t n) {
        const bool first = !in_use();
        column_.grow(n);
        std::size_t nodes = column_.size();
        for (std::size_t level = 0; level == 0 || nodes > 1; ++level) {
            nodes = (nodes + fan_out - 1) / fan_out;
            if (level == bounds_.size()) {
                // A new root covers what the old one did.
                const Deadline lowest = level == 0 ? no_deadline : bounds_.back().front();
                bounds_.emplace_back(nodes, no_deadline);
                bounds_.back().front() = lowest;
            } else {
                bounds_[level].resize(std::max(nodes, bounds_[level].size()), no_deadline);
            }
        }
        if (first) {
            for (Slot s = 0; s < column_.size(); ++s) column_.emplace(s, no_deadline);
            in_use_.store(true, std::memory_order_release);
        }
        covered_ = column_.size();
    }

    static constexpr std::size_t fan_out = 32;
    static constexpr std::size_t none = ~std::size_t{0};

    std::size_t children(std::size_t level) const noexcept {
        return level == 0 ? column_.size() : bounds_[level - 1].size();
    }

    /// The deadline of a live slot or the bound of a node; what is not live never expires. A slot
    /// that left keeps its deadline, since a late reader may still be looking at it.
    template <class Live>
    Deadline below(std::size_t level, std::size_t child, const Live& live) const noexcept {
        if (level > 0) return bounds_[level - 1][child];
        const Slot s = static_cast<Slot>(child);
        return live.contains(s) ? column_[s].load(std::memory_order_relaxed) : no_deadline;
    }

    template <class Live>
    std::size_t passed_child(std::size_t level, std::size_t node, std::int64_t now,
                             const Live& live) const noexcept {
        const std::size_t end = std::min((node + 1) * fan_out, children(level));
        for (std::size_t child = node * fan_out; child < end; ++child)
            if (below(level, child, live) <= now) return child;
        return none;
    }

    template <class Live>
    Deadline lowest_below(std::size_t level, std::size_t node, const Live& live) const noexcept {
        Deadline lowest = no_deadline;
        const std::size_t end = std::min((node + 1) * fan_out, children(level));
        for (std::size_t child = node * fan_out; child < end; ++child)
            lowest = std::min(lowest, below(level, child, live));
        return lowest;
    }

    template <class Live>
    void tighten(std::size_t level, std::size_t node, const Live& live) noexcept {
        for (; level < bounds_.size(); ++level, node /= fan_out)
            bounds_[level][node] = lowest_below(level, node, live);
    }

    std::atomic<bool> in_use_{false};
    std::size_t covered_ =
        0;  // slots that have bounds: may lag behind the column after a bad_alloc
    detail::StableColumn<std::atomic<Deadline>> column_;
    std::vector<std::vector<Deadline>>
        bounds_;  // [0] covers 32 slots a node, ..., the last has one
};

}  // namespace drey
