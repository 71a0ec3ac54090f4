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

    bool validate() const { return queue_.validate(); }

private:
    SlotRings<1> queue_;  // newest in front
};

}  // namespace drey
