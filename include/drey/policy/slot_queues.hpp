#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "drey/types.hpp"

namespace drey {

/// Two first-in-first-out queues of slots, threaded through one pair of 32-bit link columns.
///
/// Each is a circle with a hand that points at the oldest slot, so that giving the oldest another
/// turn, as the newest, only moves the hand: as in CLOCK (Corbató 1968), nothing is written. A
/// spare bit of a link says which queue the slot is in. Eight bytes a slot, slots below 2^31; every
/// operation O(1). Not thread-safe: a policy is called under its shard's lock.
///
/// Invariants: of neighbours a and b in a circle, b is a's newer one if a is b's older one, but
/// for the newest and the oldest, which are joined the same way; all say the same queue. A slot in
/// no queue may hold anything in its links.
class SlotQueues {
public:
    /// Makes every slot below `n` valid. May throw std::bad_alloc, changing nothing.
    void grow(std::size_t n) {
        if (n > links_.size()) links_.resize(n);
    }

    /// The slot that came first, or `no_slot` of an empty queue.
    Slot oldest(unsigned queue) const noexcept { return oldest_[queue]; }
    bool empty(unsigned queue) const noexcept { return oldest_[queue] == no_slot; }

    /// Of a slot in a queue: which that is, and the one that came next; for the newest, the oldest.
    unsigned queue_of(Slot s) const noexcept { return links_[s].newer >> queue_shift; }
    Slot newer(Slot s) const noexcept { return links_[s].newer & slot_mask; }

    void push(unsigned queue, Slot s) noexcept {
        const Slot oldest = oldest_[queue];
        if (oldest == no_slot) {
            oldest_[queue] = s;
            links_[s] = {tagged(queue, s), s};
            return;
        }
        const Slot newest = links_[oldest].older;
        links_[s] = {tagged(queue, oldest), newest};
        links_[oldest].older = s;
        links_[newest].newer = tagged(queue, s);
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
        const unsigned queue = queue_of(from);
        if (newer(from) == from) {
            links_[to] = {tagged(queue, to), to};
        } else {
            links_[to] = links_[from];
            links_[newer(to)].older = to;
            links_[links_[to].older].newer = tagged(queue, to);
        }
        if (oldest_[queue] == from) oldest_[queue] = to;
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
                if (next >= links_.size() || links_[next].older != s) return false;
                s = next;
            } while (s != oldest_[queue]);
        }
        return true;
    }

private:
    static constexpr unsigned queue_shift = 31;
    static constexpr Slot slot_mask = (Slot{1} << queue_shift) - 1;

    struct Links {
        Slot newer = 0;  // and in the highest bit, the queue
        Slot older = 0;
    };

    static Slot tagged(unsigned queue, Slot newer) noexcept { return queue << queue_shift | newer; }

    /// Returns what was the newer neighbour, if there was any.
    Slot unlink(Slot s) noexcept {
        const Links links = links_[s];
        const Slot newer = links.newer & slot_mask;
        if (newer == s) return no_slot;
        links_[newer].older = links.older;
        links_[links.older].newer = links.newer;
        return newer;
    }

    std::vector<Links> links_;
    std::array<Slot, 2> oldest_{no_slot, no_slot};
};

}  // namespace drey
