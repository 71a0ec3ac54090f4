#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "drey/hash.hpp"
#include "drey/policy/policy.hpp"

namespace drey {

/// Every entry is as likely to leave as any other (Belady 1966 calls it RAND). Needs no word of
/// hits, cannot be fooled by loops, and is hard to beat for its price.
///
/// The held slots stand dense in one array, so a choice is one random index, and the last fills the
/// gap. Numbers come from SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014). O(1); 8 bytes a slot.
///
/// Invariant: held_[place_[s]] == s for each held s, and place_[s] < count_.
class Random {
public:
    static constexpr OnHit on_hit = OnHit::nothing;

    void seed(std::uint64_t x) noexcept { state_ = x; }

    void grow(std::size_t slots) {
        if (slots <= place_.size()) return;
        held_.resize(slots);
        place_.resize(slots);
    }

    void inserted(Slot s, Hash) noexcept {
        place_[s] = count_;
        held_[count_++] = s;
    }

    void moved(Slot from, Slot to, Weight) noexcept {
        place_[to] = place_[from];
        held_[place_[to]] = to;
    }

    void erased(Slot s) noexcept {
        const Slot last = held_[--count_];
        held_[place_[s]] = last;
        place_[last] = place_[s];
    }

    Slot evict() noexcept {
        // Scaling 32 random bits favours some of n slots by no more than n / 2^32.
        const Slot victim = held_[static_cast<std::size_t>(((next() >> 32) * count_) >> 32)];
        erased(victim);
        return victim;
    }

    bool validate() const {
        for (std::uint32_t i = 0; i < count_; ++i) {
            if (place_[held_[i]] != i) return false;
        }
        return true;
    }

private:
    std::uint64_t next() noexcept { return detail::scrambled(state_ += detail::golden_step); }

    std::vector<Slot> held_;
    std::vector<std::uint32_t> place_;
    std::uint32_t count_ = 0;
    std::uint64_t state_ = 0;
};

}  // namespace drey
