#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "drey/policy/ghost_log.hpp"
#include "drey/policy/ghost_table.hpp"
#include "drey/policy/policy.hpp"

namespace drey {

/// Remembers the keys evicted last, by hash, first in first out, up to a weight. Exact: a removed
/// key frees its room at once, the oldest leaves first, and a key is told from 2^45 others.
///
/// A log of who came when, and a table that tells a key's age and so its place in the log. To
/// forget the oldest key only shortens the log: the table takes what is older for gone.
///
/// 7.3 bytes a unit-weight key when full, at any capacity above some thousands: 7.1 for the table,
/// 0.2 for the log; with weights 11.6 more. Grows as it fills. When growth is refused, the oldest
/// key is forgotten instead. O(1) amortised, and about two cache lines a call: but a call that
/// doubles the table, or closes the holes that removed keys left in the log, when they have become
/// a third of it, takes time in proportion to the keys.
///
/// Invariants: the ages of the keys in the table are those of the keys in the log; weight_ is what
/// they weigh, and at most capacity_.
class Ghost {
public:
    /// Sets what the keys may weigh together, and forgets the oldest beyond it. Unless weighed,
    /// each weighs 1. A change of `weighed` forgets all.
    void budget(Budget b) noexcept {
        if (b.weighed != weighed_) {
            *this = Ghost{};
            weighed_ = b.weighed;
        }
        capacity_ = b.capacity;
        while (weight_ > capacity_) forget_oldest();
        if (table_.half() > most_half()) resize(most_half());
    }

    /// Remembers `h`, forgetting the oldest as needed. One heavier than the capacity is ignored. A
    /// key that is remembered already will be remembered twice, but not more than 20 times.
    void add(Hash h, Weight w = 1) noexcept {
        // Without weight, any number of keys would fit.
        w = weighed_ ? std::max<Weight>(w, 1) : 1;
        if (w > capacity_ - weight_) {
            if (w > capacity_) return;
            do forget_oldest();
            while (w > capacity_ - weight_);
        }
        if ((log_.count() >= table_.room() || log_.full()) && !make_room()) return;
        log_.push(w);
        weight_ += w;
        table_.tick(log_.length());
        put(GhostTable::key_of(h), 1);
    }

    /// Whether `h` was remembered; it is not any more.
    bool remove(Hash h) noexcept {
        if (log_.count() == 0) return false;
        const std::uint32_t age = table_.remove(GhostTable::key_of(h), log_.length());
        if (age == 0) return false;
        weight_ -= log_.erase(age);
        return true;
    }

    std::size_t size() const noexcept { return log_.count(); }
    Weight weight() const noexcept { return weight_; }
    Weight capacity() const noexcept { return capacity_; }

    /// Allocated bytes.
    std::size_t memory() const noexcept { return table_.memory() + log_.memory(); }

    bool validate() const {
        if (!log_.validate() || !table_.validate(log_.length())) return false;
        std::size_t found = 0;
        bool all_logged = true;
        table_.for_each(log_.length(), [&](std::uint64_t, std::uint32_t age) {
            ++found;
            all_logged &= !log_.is_hole(age);
        });
        Weight weight = 0;
        for (std::uint32_t age = 1; age <= log_.length(); ++age)
            if (!log_.is_hole(age)) weight += log_.weight(age);
        return all_logged && found == log_.count() && weight == weight_ && weight_ <= capacity_;
    }

private:
    std::uint32_t most_half() const noexcept {
        return GhostTable::half_for(std::min(capacity_, Weight{1} << 30));
    }

    void forget_oldest() noexcept { weight_ -= log_.erase_oldest(); }

    void put(std::uint64_t key, std::uint32_t age) noexcept {
        const std::uint32_t lost = table_.put(key, age, log_.length());
        if (lost != 0) weight_ -= log_.erase(lost);
    }

    /// The table is full of keys, or the log of keys and holes. Whether there is room now.
    bool make_room() noexcept {
        if (log_.count() < table_.room()) {
            if (squeeze()) return true;
        } else {
            const std::uint32_t half =
                std::min(2 * table_.half() + GhostTable::least_half, most_half());
            if (half > table_.half() && resize(half)) return true;
        }
        if (log_.count() == 0) return false;
        forget_oldest();
        return true;
    }

    /// Closes the holes in the log. False, and nothing has changed, when memory is refused.
    bool squeeze() noexcept {
        return log_.squeeze([this](auto&& rank) { table_.rename(log_.length(), rank); });
    }

    /// Moves to a table of another size with room for all keys. False, and nothing has changed but
    /// that holes may be squeezed out, when memory is refused.
    bool resize(std::uint32_t half) noexcept {
        GhostTable table;
        GhostLog log;
        if (!table.allocate(half) || !log.allocate(table.places(), weighed_)) return false;
        if (log_.count() < log_.length() && !squeeze()) return false;
        for (std::uint32_t age = log_.length(); age > 0; --age) log.push(log_.weight(age));
        std::swap(table, table_);
        std::swap(log, log_);
        table.for_each(log_.length(), [&](std::uint64_t key, std::uint32_t age) { put(key, age); });
        return true;
    }

    GhostTable table_;
    GhostLog log_;
    Weight capacity_ = 0;
    Weight weight_ = 0;
    bool weighed_ = false;
};

}  // namespace drey
