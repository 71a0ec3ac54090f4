#pragma once

#include <concepts>
#include <cstdint>

#include "drey/types.hpp"

namespace drey::detail {

/// The queue that tries newcomers out, and the one that keeps those that proved good.
enum TrialQueue : unsigned { trial, kept };

/// The two queues of an Adaptive, in full size or in miniature, as its rule of eviction sees them.
template <class Q>
concept TrialQueues = requires(Q q, typename Q::Place x, TrialQueue queue, unsigned n) {
    { q.oldest(queue) } -> std::same_as<typename Q::Place>;  // Q::none when empty
    { q.trial_has_room() } -> std::same_as<bool>;            // it is under its share
    { q.kept_has_room() } -> std::same_as<bool>;  // the trial is over it, and they are under theirs
    { q.settle(x) } -> std::same_as<unsigned>;    // collects x's hits; x's turns
    q.set_turns(x, n);
    q.renew_oldest(queue);  // makes the oldest the newest
    q.promote();            // the oldest on trial becomes the newest of those kept
    { q.estimate(x) } -> std::convertible_to<unsigned>;
    { q.estimate_defender(x) } -> std::convertible_to<unsigned>;  // often who it was last time
    { q.weight(x) } -> std::convertible_to<Weight>;
};

/// Passes over at most so many entries of a queue, that no call takes long. Those kept may have
/// three turns each.
inline constexpr unsigned most_passes = 64, most_passes_of_kept = 3 * most_passes;

/// The oldest of those kept that has no turn left, which is the oldest then; or the oldest, if
/// there are no passes left.
template <TrialQueues Q>
[[gnu::always_inline]] inline typename Q::Place oldest_kept(Q& q, unsigned& passes) noexcept {
    for (;; --passes) {
        const auto x = q.oldest(kept);
        if (x == Q::none || passes == 0) return x;
        const unsigned turns = q.settle(x);
        if (turns == 0) return x;
        q.set_turns(x, turns - 1);
        q.renew_oldest(kept);
    }
}

/// The queue whose oldest is the victim: of the oldest on trial and the oldest kept the one that
/// was asked for less often, or the latter while the trial is under its share. Needs an entry.
template <TrialQueues Q>
[[gnu::always_inline]] inline TrialQueue losing_queue(Q& q) noexcept {
    unsigned passes_of_kept = most_passes_of_kept;
    for (unsigned passes = most_passes;;) {
        const auto defender = oldest_kept(q, passes_of_kept);
        const bool defended = defender != Q::none;
        if (defended && q.trial_has_room()) return kept;
        const auto challenger = q.oldest(trial);
        const unsigned turns = q.settle(challenger);
        // Requests that a unit of weight brings: each estimate by the other's weight.
        const unsigned asked_for = defended ? q.estimate_defender(defender) : 0;
        const Weight theirs = asked_for * q.weight(challenger);
        const Weight its = defended ? q.estimate(challenger) * q.weight(defender) : 0;
        if (q.kept_has_room() && passes > 0) {
            // The share has shrunk: there is room for who is as good, at nobody's cost.
            if (its < theirs) return trial;
            --passes;
            q.promote();
            continue;
        }
        // The defender must be worse by 2, or by 1 if it was hardly asked for at all: estimates
        // that are too high by chance must not wear out what is kept.
        if (defended && its > theirs + (asked_for > 1 ? q.weight(challenger) : 0)) {
            q.promote();
            return kept;
        }
        if (turns == 0 || passes == 0) return trial;
        --passes;
        q.set_turns(challenger, 0);
        q.renew_oldest(trial);
    }
}

}  // namespace drey::detail
