#pragma once

#include <cstddef>

#include "drey/policy/marks.hpp"
#include "drey/policy/policy.hpp"
#include "drey/policy/slot_rings.hpp"

namespace drey {

/// SIEVE (Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is simpler than LRU: an efficient turn-key
/// eviction algorithm for web caches", NSDI 2024): a queue by age in which nothing ever moves, one
/// bit for "was hit", and a hand that goes from old to new, clears the bits it passes and evicts
/// the first entry without one. Where the hand stops, it stays: new entries are judged soon,
/// survivors are let alone for a whole turn.
///
/// As in the paper. An entry erased under the hand hands it to its newer neighbour, as an eviction
/// does; an overwritten one keeps its place and the hand.
///
/// O(1) amortised, at worst two turns while other threads mark; 8.3 bytes a slot.
///
/// Invariant: the hand points at a held slot, or nowhere: then the next turn starts at the oldest.
class Sieve {
public:
    static constexpr OnHit on_hit = OnHit::marks;

    void grow(std::size_t slots) {
        queue_.grow(slots);
        visited_.grow(slots);
    }

    void inserted(Slot s, Hash) noexcept {
        visited_.start(s);
        queue_.push_front(0, s);
    }

    void moved(Slot from, Slot to, Weight) noexcept {
        visited_.start(to, visited_.get(from));
        queue_.replace(from, to);
        if (hand_ == from) hand_ = to;
    }

    void erased(Slot s) noexcept {
        if (hand_ == s) hand_ = queue_.before(s);
        queue_.erase(s);
    }

    void hit(Slot s, Hash) noexcept { visited_.touch(s); }
    static void touch(Mark mark) noexcept { Marks<1>::touch(mark); }
    void lend(const LentMarks& marks) { visited_.lend(marks); }

    Slot evict() noexcept {
        if (hand_ == no_slot) hand_ = queue_.back(0);
        // A hand that comes past the newest twice has cleared every bit: those it still finds set
        // were set meanwhile, and it must not run after them for ever.
        for (int turns = 0; turns < 2 && visited_.get(hand_) != 0;) {
            visited_.set(hand_, 0);
            hand_ = queue_.before(hand_);
            if (hand_ == no_slot) {
                hand_ = queue_.back(0);
                ++turns;
            }
        }
        const Slot victim = hand_;
        erased(victim);
        return victim;
    }

    /// From the hand on: a new policy's hand starts at the oldest. So what the hand has passed
    /// counts as newer than what it has not.
    template <class F>
    void each_in_order(F&& f) const {
        const Slot first = hand_ != no_slot ? hand_ : queue_.back(0);
        for (Slot s = first; s != no_slot; s = queue_.before(s)) f(s, unsigned{visited_.get(s)});
        for (Slot s = queue_.back(0); s != first; s = queue_.before(s))
            f(s, unsigned{visited_.get(s)});
    }

    bool validate() const {
        bool hand_is_held = hand_ == no_slot;
        for (Slot s = queue_.front(0); s != no_slot; s = queue_.after(s))
            hand_is_held |= s == hand_;
        return hand_is_held && queue_.validate();
    }

private:
    Marks<1> visited_;
    SlotRings<1> queue_;  // newest in front
    Slot hand_ = no_slot;
};

}  // namespace drey
