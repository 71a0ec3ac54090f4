#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "drey/clock.hpp"
#include "drey/hash.hpp"
#include "drey/options.hpp"
#include "drey/terms.hpp"

namespace drey::redis {

/// How long entries live, in the milliseconds that Redis counts. Thread-safe.
class Lifetime {
public:
    Lifetime(Ttl ttl, double jitter, std::optional<std::uint64_t> seed)
        : ttl_(ttl), jitter_(jitter), state_(seed ? *seed : std::random_device{}()) {}

    /// What to tell the server for an entry with this TTL, or with the cache's; nothing is for
    /// ever.
    std::optional<std::string> of(const Terms& terms) {
        if (terms.ttl) detail::check_ttl(*terms.ttl);
        const Ttl ttl = terms.ttl.value_or(ttl_);
        if (ttl == never || ttl.nanoseconds() == 0 || jitter_ == 0.0) return milliseconds(ttl);
        const double kept = 1.0 - jitter_ * random();
        const double full = std::min(static_cast<double>(ttl.nanoseconds()), 9e18);
        const auto shortened = static_cast<std::int64_t>(full * kept);
        return milliseconds(std::chrono::nanoseconds(std::max<std::int64_t>(shortened, 1)));
    }

    /// Rounded up, so that nothing that should live at all is over at once.
    static std::optional<std::string> milliseconds(Ttl ttl) {
        if (ttl == never) return std::nullopt;
        return std::to_string(ttl.nanoseconds() / 1'000'000 +
                              (ttl.nanoseconds() % 1'000'000 != 0 ? 1 : 0));
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
    /// In [0, 1).
    double random() {
        const std::uint64_t step = state_.fetch_add(detail::golden_step, std::memory_order_relaxed);
        return static_cast<double>(detail::scrambled(step) >> 11) * 0x1p-53;
    }

    const Ttl ttl_;
    const double jitter_;
    std::atomic<std::uint64_t> state_;
};

}  // namespace drey::redis
