#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "drey/error.hpp"

namespace drey {

/// Why an entry left.
enum class Removal {
    replaced,  ///< overwritten by another value for its key
    erased,   ///< erase, erase_if, take, an update that returned nothing, or its tag's invalidation
    evicted,  ///< the policy's victim
    expired,  ///< past its deadline
    cleared,  ///< clear
};
inline constexpr std::size_t removal_causes = 5;

/// What a cache has counted since it was made. A plain value: take two and subtract them.
///
/// The counters are exact once the threads that counted have been joined; while they run, each is
/// a moment's truth of its own.
struct Stats {
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t insertions = 0;     ///< writes that were kept, overwrites included
    std::uint64_t rejections = 0;     ///< writes that were not: too heavy, or not admitted
    std::uint64_t loads = 0;          ///< loaders that returned
    std::uint64_t load_failures = 0;  ///< loaders that threw
    std::uint64_t dropped_loads = 0;  ///< results not kept: invalidated meanwhile, or too heavy
    std::chrono::nanoseconds load_time{};  ///< spent in loaders, failed ones included
    std::uint64_t stale_serves = 0;        ///< stale values that `get_or_load` returned
    std::uint64_t absent_hits = 0;         ///< hits that remembered: there is no such row
    std::uint64_t refreshes = 0;           ///< loads in the background, of what is there already
    std::uint64_t load_timeouts = 0;       ///< calls that did not wait for their load to the end
    std::uint64_t listener_failures = 0;   ///< exceptions out of `on_removal`, swallowed
    std::array<std::uint64_t, removal_causes> removals{};  ///< by cause
    std::array<std::uint64_t, error_kinds> errors{};       ///< of a remote server, by Errc

    /// Removals for one cause.
    constexpr std::uint64_t removed(Removal cause) const noexcept {
        return removals[static_cast<std::size_t>(cause)];
    }
    /// Failures of one kind.
    constexpr std::uint64_t failed(Errc kind) const noexcept {
        return errors[static_cast<std::size_t>(kind)];
    }
    constexpr std::uint64_t evictions() const noexcept { return removed(Removal::evicted); }
    constexpr std::uint64_t expirations() const noexcept { return removed(Removal::expired); }

    /// Hits per look-up, in [0, 1]; 0 before the first look-up.
    constexpr double hit_ratio() const noexcept {
        const std::uint64_t lookups = hits + misses;
        return lookups == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(lookups);
    }
};

}  // namespace drey
