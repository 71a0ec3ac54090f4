#pragma once

#include <array>
#include <cstddef>

#include "drey/policy/slot_links.hpp"
#include "drey/types.hpp"

namespace drey {

/// Two first-in-first-out queues of slots, threaded through one column of links (SlotLinks).
///
/// Each is a circle with a hand that points at the oldest slot, so that giving the oldest another
/// turn, as the newest, only moves the hand: as in CLOCK (Corbató 1968), nothing is written. A
/// bit of a link says which queue the slot is in. Four to eight bytes a slot, slots below 2^31;
/// every operation O(1). Not thread-safe: a policy is called under its shard's lock.
///
/// Invariants: of neighbours a and b in a circle, b is a's newer one if a is b's older one, but
/// for the newest and the oldest, which are joined the same way; all say the same queue. A slot in
/// no queue may hold anything in its links.
class SlotQueues {
public:
    /// Makes every slot below `n` valid. May throw std::bad_alloc, changing nothing.
    void grow(std::size_t n) { links_.grow(n); }

    /// The slot that came first, or `no_slot` of an empty queue.
    Slot oldest(unsigned queue) const noexcept { return oldest_[queue]; }
    bool empty(unsigned queue) const noexcept { return oldest_[queue] == no_slot; }

    /// Of a slot in a queue: which that is, and the one that came next; for the newest, the oldest.
    unsigned queue_of(Slot s) const noexcept { return links_.queue(s); }
    Slot newer(Slot s) const noexcept { return links_.newer(s); }

    void push(unsigned queue, Slot s) noexcept {
        const Slot oldest = oldest_[queue];
        if (oldest == no_slot) {
            oldest_[queue] = s;
            links_.set(s, {s, s, queue});
            return;
        }
        const Slot newest = links_.older(oldest);
        links_.set(s, {oldest, newest, queue});
        links_.set_older(oldest, s);
        links_.set_newer(newest, s);
    }

    /// Makes the oldest the newest. The queue must not be empty.
    void renew_oldest(unsigned queue) noexcept { oldest_[queue] = newer(oldest_[queue]); }

    /// Takes the oldest out. The queue must not be empty.
    Slot pop_oldest(unsigned queue) noexcept {
        const Slot oldest = oldest_[queue];
        oldest_[queue] = unlink(oldest);
        return oldest;
    }

    /// Takes out `s`, which is in a queue.
    void erase(Slot s) noexcept {
        const Slot next = unlink(s);
        Slot& oldest = oldest_[queue_of(s)];
        if (oldest == s) oldest = next;
    }

    /// Puts `to`, which is in no queue, in the very place of `from`, which leaves.
    void replace(Slot from, Slot to) noexcept {
        const SlotLinks::Link link = links_.get(from);
        if (link.newer == from) {
            links_.set(to, {to, to, link.queue});
        } else {
            links_.set(to, link);
            links_.set_older(link.newer, to);
            links_.set_newer(link.older, to);
        }
        if (oldest_[link.queue] == from) oldest_[link.queue] = to;
    }

    /// Calls `f(slot)` for each in a queue, from the oldest to the newest.
    template <class F>
    void each(unsigned queue, F&& f) const {
        Slot s = oldest_[queue];
        if (s == no_slot) return;
        do {
            f(s);
            s = newer(s);
        } while (s != oldest_[queue]);
    }

    /// Whether both circles close in both directions. Linear in the slots held.
    bool validate() const {
        std::size_t seen = 0;
        for (unsigned queue = 0; queue < 2; ++queue) {
            Slot s = oldest_[queue];
            if (s == no_slot) continue;
            do {
                if (queue_of(s) != queue || ++seen > links_.size()) return false;
                const Slot next = newer(s);
                if (next >= links_.size() || links_.older(next) != s) return false;
                s = next;
            } while (s != oldest_[queue]);
        }
        return true;
    }

private:
    /// Returns what was the newer neighbour, if there was any.
    Slot unlink(Slot s) noexcept {
        const SlotLinks::Link link = links_.get(s);
        if (link.newer == s) return no_slot;
        links_.set_older(link.newer, link.older);
        links_.set_newer(link.older, link.newer);
        return link.newer;
    }

    SlotLinks links_;
    std::array<Slot, 2> oldest_{no_slot, no_slot};
};

}  // namespace drey
