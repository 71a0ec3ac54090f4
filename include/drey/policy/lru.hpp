#pragma once

#include <span>

#include "drey/policy/policy.hpp"
#include "drey/policy/slot_rings.hpp"

namespace drey {

/// Least recently used: a hit moves to the front, the back leaves. The oldest policy in print
/// (Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal
/// 1966, compares it), and still the one to beat on traces with plain recency. A hit writes six
/// links, so the store delivers it under the shard's lock, with others that waited for that. O(1);
/// 8 bytes a slot.
class Lru {
public:
    static constexpr OnHit on_hit = OnHit::reorders;

    void grow(std::size_t slots) { order_.grow(slots); }
    void inserted(Slot s, Hash) noexcept { order_.push_front(0, s); }
    void moved(Slot from, Slot to, Weight) noexcept { order_.replace(from, to); }
    void erased(Slot s) noexcept { order_.erase(s); }

    void hit(Slot s, Hash) noexcept {
        if (order_.front(0) == s) return;
        order_.erase(s);
        order_.push_front(0, s);
    }

    void prefetch(std::span<const Slot> slots) const noexcept { order_.prefetch(slots); }

    Slot evict() noexcept {
        const Slot coldest = order_.back(0);
        order_.erase(coldest);
        return coldest;
    }

    template <class F>
    void each_in_order(F&& f) const {
        for (Slot s = order_.back(0); s != no_slot; s = order_.before(s)) f(s, 0u);
    }

    bool validate() const { return order_.validate(); }

private:
    SlotRings<1> order_;  // latest touch in front
};

}  // namespace drey
