#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "drey/memory/ledger.hpp"
#include "drey/types.hpp"

namespace drey {

/// What one shard's entries weigh, and how much of the capacity it holds to pay for them. For the
/// holder of the shard's lock.
///
/// Invariant, whenever the lock is free: used() <= allowance().
class Account {
public:
    Account(Ledger& ledger, bool weighed) noexcept : ledger_(ledger), weighed_(weighed) {}

    /// Makes room for slots below n. May throw std::bad_alloc, changing nothing.
    void grow(std::size_t n) {
        if (weighed_ && n > weights_.size()) weights_.resize(n);
    }

    Weight used() const noexcept { return used_; }
    Weight allowance() const noexcept { return allowance_; }
    Weight weight(Slot s) const noexcept { return weighed_ ? weights_[s] : 1; }

    void enter(Slot s, Weight w) noexcept {
        if (weighed_) weights_[s] = w;
        used_ += w;
    }
    /// Returns what it weighed.
    Weight leave(Slot s) noexcept {
        const Weight w = weight(s);
        used_ -= w;
        return w;
    }

    /// Whether w fits beside what is there; `old`, if there is one, counts as gone.
    bool fits(Weight w, Slot old) const noexcept { return after(w, old) <= allowance_; }

    /// Claims what w lacks. Whether it can fit now, after evictions here if need be. Unless it may
    /// starve, a shard that is poor beside the others would rather have some of theirs.
    bool claim_for(Weight w, Slot old, bool may_starve) noexcept {
        const Weight needed = after(w, old);
        if (needed <= allowance_) return true;
        allowance_ += ledger_.claim(needed - allowance_);
        if (needed <= allowance_) return true;
        return w <= allowance_ && (may_starve || allowance_ >= ledger_.fair_share() / 2);
    }

    /// Gives back what is not used beyond `keep`.
    void give_back_beyond(Weight keep) noexcept {
        keep = std::max(keep, used_);
        if (allowance_ <= keep) return;
        ledger_.give_back(allowance_ - keep);
        allowance_ = keep;
    }

    /// Gives back what is not used beyond a fair share.
    void give_back_surplus() noexcept { give_back_beyond(ledger_.fair_share()); }

private:
    Weight after(Weight w, Slot old) const noexcept {
        return used_ + w - (old != no_slot ? weight(old) : 0);
    }

    Ledger& ledger_;
    const bool weighed_;
    std::vector<Weight> weights_;  // only if weighed
    Weight used_ = 0;
    Weight allowance_ = 0;
};

}  // namespace drey
