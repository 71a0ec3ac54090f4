#pragma once

#include <cstddef>
#include <span>

#include "drey/policy/policy.hpp"

namespace drey {

/// Gives every policy the full set of hooks, with what the store does for those it lacks: the one
/// place that knows the order of calls. The store's shards and the simulator both drive policies
/// through it, so that what one measures is what the other does.
///
/// An insertion is `admit`, then `evict` as often as room is needed, then `inserted`. An overwrite
/// is `evict` as needed, then `moved`. Needs the caller's lock as the policy itself does.
template <class P>
class PolicyDriver {
public:
    static constexpr OnHit on_hit = P::on_hit;

    void budget(Budget b) {
        if constexpr (HasBudget<P>) policy_.budget(b);
    }

    void seed(std::uint64_t x) noexcept {
        if constexpr (HasSeed<P>) policy_.seed(x);
    }

    void grow(std::size_t slots) { policy_.grow(slots); }

    bool admit(Hash h, Weight w) noexcept {
        if constexpr (HasAdmission<P>) return policy_.admit(h, w);
        return true;
    }

    void inserted(Slot s, Hash h, Weight w) noexcept {
        if constexpr (HasWeights<P>) {
            policy_.inserted(s, h, w);
        } else {
            policy_.inserted(s, h);
        }
    }

    /// The entry in `from` was overwritten by the one in `to`: it keeps its place, and the write
    /// counts as a hit.
    void moved(Slot from, Slot to, Hash h, Weight w) noexcept {
        if constexpr (HasMoves<P>) {
            policy_.moved(from, to, w);
            hit(to, h);
        } else {
            policy_.erased(from);
            inserted(to, h, w);
        }
    }

    void hit(Slot s, Hash h) noexcept {
        if constexpr (on_hit != OnHit::nothing) policy_.hit(s, h);
    }

    /// What hits call without a lock: `hit`, or `touch` and `sample`, where marks are lent.
    static constexpr bool lends_marks = HasLentMarks<P>;
    static constexpr bool has_samples = lends_marks && HasSamples<P>;
    void lend([[maybe_unused]] const LentMarks& marks) {
        if constexpr (lends_marks) policy_.lend(marks);
    }
    static void touch([[maybe_unused]] Mark mark) noexcept {
        if constexpr (lends_marks) P::touch(mark);
    }
    void sample([[maybe_unused]] Hash h) noexcept {
        if constexpr (has_samples) policy_.sample(h);
    }
    void sample_by([[maybe_unused]] Hash factor) noexcept {
        if constexpr (has_samples) policy_.sample_by(factor);
    }
    Hash samples_below() const noexcept {
        if constexpr (has_samples) return policy_.samples_below();
        return 0;
    }

    void prefetch([[maybe_unused]] std::span<const Slot> slots) const noexcept {
        if constexpr (HasPrefetch<P>) policy_.prefetch(slots);
    }

    void erased(Slot s) noexcept { policy_.erased(s); }

    /// Chooses a victim; `hash_of(slot)` gives the hash of its key.
    template <class HashOf>
    [[gnu::always_inline]] Slot evict(HashOf&& hash_of) noexcept {
        const Slot victim = choose(hash_of);
        if constexpr (HasGhosts<P>) policy_.evicted(victim, hash_of(victim));
        return victim;
    }

    /// Calls `f(slot, hits)` for each slot held; false if the policy cannot.
    template <class F>
    bool each_in_order([[maybe_unused]] F&& f) const {
        if constexpr (HasOrder<P>) policy_.each_in_order(f);
        return HasOrder<P>;
    }

    bool validate() const {
        if constexpr (HasValidation<P>) return policy_.validate();
        return true;
    }

private:
    static_assert((detail::check_policy<P>(), EvictionPolicy<P>));

    template <class HashOf>
    [[gnu::always_inline]] Slot choose(HashOf& hash_of) noexcept {
        if constexpr (HasHashes<P>) {
            return policy_.evict(hash_of);
        } else {
            return policy_.evict();
        }
    }

    P policy_{};
};

}  // namespace drey
