#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include "drey/clock.hpp"

namespace drey {

/// Where work runs that no caller waits for: any callable that takes a task and runs it, once, now
/// or later, on any thread. May throw to refuse a task, and may drop one.
using Executor = std::function<void(std::function<void()>)>;

/// A moment in the life of a cache's tags: how often one had been invalidated.
using TagTime = std::uint64_t;

/// Later than any: what is obtained at no particular time is obtained now.
inline constexpr TagTime any_tag_time = std::numeric_limits<TagTime>::max();

/// What a backend is told along with a value, or with the news that there is none. What is left
/// out comes from the backend's options.
struct Terms {
    std::optional<Ttl> ttl = {};              ///< how long it is fresh
    std::optional<double> jitter = {};        ///< shortens that by a random share below this
    Ttl stale_for = std::chrono::seconds(0);  ///< how long it is kept, and may be used, after that
    std::chrono::nanoseconds load_cost{0};    ///< how long it took to load; 0: unknown
    std::span<const std::string> tags = {};   ///< by which it can be invalidated
};

}  // namespace drey
