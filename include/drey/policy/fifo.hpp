#pragma once

#include "drey/policy/policy.hpp"
#include "drey/policy/slot_rings.hpp"

namespace drey {

/// First in, first out: the oldest insertion leaves, hits change nothing. O(1); 8 bytes a slot.
class Fifo {
public:
    static constexpr OnHit on_hit = OnHit::nothing;

    void grow(std::size_t slots) { queue_.grow(slots); }
    void inserted(Slot s, Hash) noexcept { queue_.push_front(0, s); }
    void moved(Slot from, Slot to, Weight) noexcept { queue_.replace(from, to); }
    void erased(Slot s) noexcept { queue_.erase(s); }

    Slot evict() noexcept {
        const Slot oldest = queue_.back(0);
        queue_.erase(oldest);
        return oldest;
    }

    template <class F>
    void each_in_order(F&& f) const {
        for (Slot s = queue_.back(0); s != no_slot; s = queue_.before(s)) f(s, 0u);
    }

    bool validate() const { return queue_.validate(); }

private:
    SlotRings<1> queue_;  // newest in front
};

}  // namespace drey
