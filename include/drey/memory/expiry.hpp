#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <utility>

#include "drey/clock.hpp"
#include "drey/hash.hpp"
#include "drey/memory/notes.hpp"
#include "drey/options.hpp"
#include "drey/terms.hpp"
#include "drey/types.hpp"

namespace drey {

/// From TTLs to deadlines: defaults, jitter, the clock. Until the first TTL the clock is not read.
/// Thread-safe.
class Expiry {
public:
    Expiry(ClockRef clock, Ttl ttl, double jitter, std::uint64_t salt)
        : clock_(std::move(clock)), ttl_(ttl), jitter_(jitter), salt_(salt) {}

    const ClockRef& clock() const noexcept { return clock_; }

    /// Whether what is written with that TTL never expires.
    bool is_never(const Terms& terms) const noexcept {
        return ttl(terms).nanoseconds() == no_deadline;
    }

    /// The same of what is written without one.
    bool is_never_by_default() const noexcept { return ttl_.nanoseconds() == no_deadline; }

    struct Times {
        std::int64_t now;
        Deadline deadline = no_deadline;  ///< when it must go
        Note note = {};
    };

    /// When an entry that is written now under a key with hash h becomes stale, and when it
    /// expires. Throws std::invalid_argument if the TTL is negative. What is fresh for ever is
    /// never loaded anew, so that its cost is not worth a note.
    Times times(const Terms& terms, Hash h) {
        if (terms.ttl) detail::check_ttl(*terms.ttl);
        std::int64_t left = ttl(terms).nanoseconds();
        if (left == no_deadline) return {now()};
        // Relaxed, as in `now`: who comes to know of an entry with a deadline through a lock has
        // taken that lock after this store.
        timed_.store(true, std::memory_order_relaxed);
        const double jitter = terms.jitter.value_or(jitter_);
        if (jitter > 0) {
            const auto draw = draws_.fetch_add(1, std::memory_order_relaxed);
            const double share = static_cast<double>(detail::mix(h ^ draw, salt_) >> 11) * 0x1p-53;
            left -= static_cast<std::int64_t>(static_cast<double>(left) * jitter * share);
        }
        const std::int64_t now = clock_.now();
        const Deadline fresh_until = deadline_after(now, left);
        const Deadline deadline = deadline_after(fresh_until, terms.stale_for.nanoseconds());
        Note note{.load_cost = terms.load_cost.count()};
        if (fresh_until < deadline) note.fresh_until = fresh_until;
        return {now, deadline, note};
    }

    /// The time; before everything as long as nothing ever had a deadline.
    std::int64_t now() const {
        return timed_.load(std::memory_order_relaxed) ? clock_.now()
                                                      : std::numeric_limits<std::int64_t>::min();
    }

private:
    /// Not `value_or`, of which g++ 12 warns where it is inlined.
    const Ttl& ttl(const Terms& terms) const noexcept { return terms.ttl ? *terms.ttl : ttl_; }

    const ClockRef clock_;
    const Ttl ttl_;
    const double jitter_;
    const std::uint64_t salt_;
    std::atomic<bool> timed_{false};
    std::atomic<std::uint64_t> draws_{0};
};

}  // namespace drey
