#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "drey/clock.hpp"
#include "drey/codec/envelope.hpp"
#include "drey/hash.hpp"
#include "drey/options.hpp"
#include "drey/terms.hpp"

namespace drey::redis {

/// One entry's life, in the words of those who must know of it.
struct Life {
    std::optional<std::string> kept;  ///< by the server, in milliseconds; nothing: for ever
    std::int64_t fresh_until_ms = 0;  ///< in its envelope; 0: as long as it is kept
    std::uint32_t load_cost_us = 0;   ///< in its envelope
};

/// How long entries live: the server counts milliseconds until it drops them, readers compare Unix
/// time with what the envelope says. Thread-safe.
class Lifetime {
public:
    Lifetime(Ttl ttl, double jitter, std::optional<std::uint64_t> seed, ClockRef unix_clock)
        : ttl_(ttl), jitter_(jitter), unix_clock_(std::move(unix_clock)),
          state_(seed ? *seed : std::random_device{}()) {}

    /// The life of an entry under these terms, that begins now.
    ///
    /// Where nothing follows after the fresh time the server alone ends it, and no clock but its
    /// own matters. If the entry is to be refreshed early its readers must know that time too.
    Life of(const Terms& terms) {
        if (terms.ttl) detail::check_ttl(*terms.ttl);
        const Ttl fresh = jittered(terms.ttl.value_or(ttl_), terms.jitter.value_or(jitter_));
        const std::int64_t stale = std::max<std::int64_t>(terms.stale_for.nanoseconds(), 0);
        Life life;
        if (terms.load_cost.count() > 0) life.load_cost_us = to_load_cost_us(terms.load_cost);
        if (fresh == never) return life;
        life.kept = milliseconds(std::chrono::nanoseconds(sum(fresh.nanoseconds(), stale)));
        if (stale != 0 || life.load_cost_us != 0) life.fresh_until_ms = end_of(fresh.nanoseconds());
        return life;
    }

    /// The longest that an entry under these terms is kept, as `Life::kept`.
    std::optional<std::string> longest(Terms terms) {
        terms.jitter = 0.0;
        return of(terms).kept;
    }

    /// How many nanoseconds are left of the fresh time; 0 or less: it is over.
    std::int64_t left(std::int64_t fresh_until_ms) const noexcept {
        constexpr std::int64_t most = no_deadline / a_millisecond;
        // Others may write what they like there; no time of ours is beyond these.
        if (fresh_until_ms == 0 || fresh_until_ms > most) return no_deadline;
        return std::max<std::int64_t>(fresh_until_ms, 0) * a_millisecond - unix_now();
    }

    /// Rounded up, so that nothing that should live at all is over at once.
    static std::optional<std::string> milliseconds(Ttl ttl) {
        if (ttl == never) return std::nullopt;
        return std::to_string(in_milliseconds(ttl.nanoseconds()));
    }

    /// Whether it is over before it begins; the server would refuse it.
    static bool is_over(const std::optional<std::string>& milliseconds) {
        return milliseconds && *milliseconds == "0";
    }

    /// Between half of it and all of it, so that those who wait do not come back together.
    std::chrono::nanoseconds jittered(std::chrono::nanoseconds pause) {
        const auto half = static_cast<double>(pause.count()) / 2;
        return std::chrono::nanoseconds(static_cast<std::int64_t>(half + half * random()));
    }

private:
    static constexpr std::int64_t a_millisecond = 1'000'000;

    static std::int64_t in_milliseconds(std::int64_t nanoseconds) noexcept {
        return nanoseconds / a_millisecond + (nanoseconds % a_millisecond != 0 ? 1 : 0);
    }

    /// Of two that are not negative; what is too long is for ever.
    static std::int64_t sum(std::int64_t a, std::int64_t b) noexcept {
        return a > no_deadline - b ? no_deadline : a + b;
    }

    /// When a time ends that begins now, in milliseconds: not 0, and nothing at all is over at
    /// once.
    std::int64_t end_of(std::int64_t fresh) const noexcept {
        const std::int64_t now = unix_now();
        const std::int64_t end =
            fresh == 0 ? now / a_millisecond : in_milliseconds(sum(now, fresh));
        return std::max<std::int64_t>(end, 1);
    }

    std::int64_t unix_now() const noexcept { return std::max<std::int64_t>(unix_clock_.now(), 0); }

    /// Shortened by a random share, but not to nothing.
    Ttl jittered(Ttl ttl, double jitter) {
        if (ttl == never || ttl.nanoseconds() == 0 || jitter == 0.0) return ttl;
        const double kept = 1.0 - jitter * random();
        const double full = std::min(static_cast<double>(ttl.nanoseconds()), 9e18);
        const auto shortened = static_cast<std::int64_t>(full * kept);
        return std::chrono::nanoseconds(std::max<std::int64_t>(shortened, 1));
    }

    /// In [0, 1).
    double random() {
        const std::uint64_t step = state_.fetch_add(detail::golden_step, std::memory_order_relaxed);
        return static_cast<double>(detail::scrambled(step) >> 11) * 0x1p-53;
    }

    const Ttl ttl_;
    const double jitter_;
    const ClockRef unix_clock_;
    std::atomic<std::uint64_t> state_;
};

}  // namespace drey::redis
