#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "drey/detail/stable_column.hpp"
#include "drey/policy/policy.hpp"
#include "drey/policy/slot_rings.hpp"

namespace drey {

/// Least frequently used: the fewest hits since insertion leaves, among equals the least recently
/// used. Counts do not age, and are forgotten with the entry.
///
/// After Shah, Mitra, Matani, "An O(1) algorithm for implementing the LFU cache eviction scheme",
/// 2010, which hangs a list of entries under each frequency. Here there is one list of all entries,
/// coldest first, in which those of one frequency are neighbours: a group. A hit goes behind the
/// last entry of the next group, so a group need only know its count and its last entry.
///
/// Every call is O(1), and only `grow` allocates: there are never more groups than entries, and
/// storage for groups that never form is reserved but not touched. 12 bytes a slot, and 16 for each
/// distinct frequency present.
///
/// Invariants: counts rise strictly from group to group along the list; group_of_[s] names the
/// group of each held s; a group's `last` is its last member in the list.
class Lfu {
public:
    static constexpr OnHit on_hit = OnHit::reorders;

    void grow(std::size_t slots) {
        order_.grow(slots);
        if (slots > group_of_.size()) group_of_.resize(slots);
        groups_.grow(slots);
    }

    void inserted(Slot s, Hash) noexcept {
        const Slot first = order_.front(0);
        if (first != no_slot && groups_[group_of_[first]].count == 1) {
            join(group_of_[first], s);
        } else {
            order_.push_front(0, s);
            found_group(s, 1);
        }
    }

    void moved(Slot from, Slot to, Weight) noexcept {
        order_.replace(from, to);
        group_of_[to] = group_of_[from];
        Group& group = groups_[group_of_[to]];
        if (group.last == from) group.last = to;
    }

    void erased(Slot s) noexcept {
        leave_group(s);
        order_.erase(s);
    }

    void hit(Slot s, Hash) noexcept {
        const std::uint32_t old = group_of_[s];
        const Slot last = groups_[old].last;
        const std::uint64_t count = groups_[old].count + 1;
        const Slot next = order_.after(last);
        const bool next_fits = next != no_slot && groups_[group_of_[next]].count == count;
        if (!next_fits && alone(s)) {
            groups_[old].count = count;
            return;
        }
        leave_group(s);
        if (next_fits) {
            order_.erase(s);
            join(group_of_[next], s);
        } else {
            if (s != last) {
                order_.erase(s);
                order_.insert_after(last, s);
            }
            found_group(s, count);
        }
    }

    void prefetch(std::span<const Slot> slots) const noexcept { order_.prefetch(slots); }

    Slot evict() noexcept {
        const Slot coldest = order_.front(0);
        erased(coldest);
        return coldest;
    }

    template <class F>
    void each_in_order(F&& f) const {
        constexpr std::uint64_t most = std::numeric_limits<unsigned>::max();
        for (Slot s = order_.front(0); s != no_slot; s = order_.after(s))
            f(s, static_cast<unsigned>(std::min(groups_[group_of_[s]].count - 1, most)));
    }

    bool validate() const {
        if (!order_.validate()) return false;
        std::uint64_t count = 0;
        for (Slot s = order_.front(0); s != no_slot; s = order_.after(s)) {
            const Group& group = groups_[group_of_[s]];
            const Slot before = order_.before(s);
            const bool first = before == no_slot || group_of_[before] != group_of_[s];
            if (first ? group.count <= count : group.count != count) return false;
            const Slot after = order_.after(s);
            const bool last = after == no_slot || group_of_[after] != group_of_[s];
            if (last != (group.last == s)) return false;
            count = group.count;
        }
        return true;
    }

private:
    struct Group {
        std::uint64_t count = 0;
        Slot last = no_slot;  // of a spare group: the next spare one
    };

    bool alone(Slot s) const noexcept {
        const Slot before = order_.before(s);
        return groups_[group_of_[s]].last == s &&
               (before == no_slot || group_of_[before] != group_of_[s]);
    }

    /// Links `s` as the newest of `group`.
    void join(std::uint32_t group, Slot s) noexcept {
        order_.insert_after(groups_[group].last, s);
        groups_[group].last = s;
        group_of_[s] = group;
    }

    /// Makes `s`, linked where it belongs, a group of its own.
    void found_group(Slot s, std::uint64_t count) noexcept {
        std::uint32_t group = spare_;
        if (group == no_slot) {
            group = used_groups_++;
        } else {
            spare_ = groups_[group].last;
        }
        groups_.emplace(group, Group{count, s});
        group_of_[s] = group;
    }

    /// Takes `s` out of its group, but not out of the list.
    void leave_group(Slot s) noexcept {
        const std::uint32_t group = group_of_[s];
        if (alone(s)) {
            groups_[group].last = spare_;
            spare_ = group;
        } else if (groups_[group].last == s) {
            groups_[group].last = order_.before(s);
        }
    }

    SlotRings<1> order_;  // the next victim in front
    std::vector<std::uint32_t> group_of_;
    detail::StableColumn<Group> groups_;  // those below used_groups_ are alive
    std::uint32_t used_groups_ = 0;
    std::uint32_t spare_ = no_slot;
};

}  // namespace drey
