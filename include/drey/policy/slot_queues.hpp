#pragma once

#include <array>
#include <cstddef>

#include "drey/policy/slot_links.hpp"
#include "drey/types.hpp"

namespace drey {

/// Two first-in-first-out queues of slots, threaded through one column of links (SlotLinks).
///
/// The ends of each are known, and what the links of an end say of beyond it is never read: so that
/// to take the oldest out writes no link, and to put one in only its own and the newest's. A bit of
/// a link says which queue the slot is in. Four to eight bytes a slot, slots below 2^31; every
/// operation O(1). Not thread-safe: a policy is called under its shard's lock.
///
/// Invariants: of neighbours a and b in a queue, b is a's newer one if a is b's older one; all say
/// the same queue. A slot in no queue may hold anything in its links.
class SlotQueues {
public:
    /// Makes every slot below `n` valid. May throw std::bad_alloc, changing nothing.
    void grow(std::size_t n) { links_.grow(n); }

    /// The slot that came first, or `no_slot` of an empty queue.
    Slot oldest(unsigned queue) const noexcept { return oldest_[queue]; }
    bool empty(unsigned queue) const noexcept { return oldest_[queue] == no_slot; }

    /// Of a slot in a queue: which that is.
    unsigned queue_of(Slot s) const noexcept { return links_.queue(s); }

    void push(unsigned queue, Slot s) noexcept {
        if (empty(queue)) {
            links_.set(s, {s, s, queue});
            oldest_[queue] = s;
        } else {
            links_.set(s, {s, newest_[queue], queue});
            links_.set_newer(newest_[queue], s);
        }
        newest_[queue] = s;
    }

    /// Makes the oldest the newest. The queue must not be empty.
    void renew_oldest(unsigned queue) noexcept {
        const Slot s = oldest_[queue];
        if (s == newest_[queue]) return;
        oldest_[queue] = links_.newer(s);
        links_.set_older(s, newest_[queue]);
        links_.set_newer(newest_[queue], s);
        newest_[queue] = s;
    }

    /// Takes the oldest out. The queue must not be empty.
    Slot pop_oldest(unsigned queue) noexcept {
        const Slot s = oldest_[queue];
        oldest_[queue] = s == newest_[queue] ? no_slot : links_.newer(s);
        return s;
    }

    /// Takes out `s`, which is in a queue.
    void erase(Slot s) noexcept {
        const SlotLinks::Link link = links_.get(s);
        if (s == oldest_[link.queue]) {
            pop_oldest(link.queue);
        } else if (s == newest_[link.queue]) {
            newest_[link.queue] = link.older;
        } else {
            links_.set_older(link.newer, link.older);
            links_.set_newer(link.older, link.newer);
        }
    }

    /// Puts `to`, which is in no queue, in the very place of `from`, which leaves.
    void replace(Slot from, Slot to) noexcept {
        const SlotLinks::Link link = links_.get(from);
        links_.set(to, link);
        if (Slot& oldest = oldest_[link.queue]; oldest == from) {
            oldest = to;
        } else {
            links_.set_newer(link.older, to);
        }
        if (Slot& newest = newest_[link.queue]; newest == from) {
            newest = to;
        } else {
            links_.set_older(link.newer, to);
        }
    }

    /// Calls `f(slot)` for each in a queue, from the oldest to the newest.
    template <class F>
    void each(unsigned queue, F&& f) const {
        if (empty(queue)) return;
        Slot s = oldest_[queue];
        for (; s != newest_[queue]; s = links_.newer(s)) f(s);
        f(s);
    }

    /// Whether both queues lead from end to end, forth and back. Linear in the slots held.
    bool validate() const {
        std::size_t seen = 0;
        for (unsigned queue = 0; queue < 2; ++queue) {
            if (empty(queue)) continue;
            for (Slot s = oldest_[queue];; s = links_.newer(s)) {
                if (queue_of(s) != queue || ++seen > links_.size()) return false;
                if (s == newest_[queue]) break;
                const Slot next = links_.newer(s);
                if (next >= links_.size() || links_.older(next) != s) return false;
            }
        }
        return true;
    }

private:
    SlotLinks links_;
    std::array<Slot, 2> oldest_{no_slot, no_slot};
    std::array<Slot, 2> newest_{no_slot, no_slot};  // of an empty queue, anything
};

}  // namespace drey
