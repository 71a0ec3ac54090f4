#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "drey/clock.hpp"

namespace drey {

/// Where work runs that no caller waits for: any callable that takes a task and runs it, once, now
/// or later, on any thread. May throw to refuse a task, and may drop one.
using Executor = std::function<void(std::function<void()>)>;

/// What a backend is told along with a value, or with the news that there is none. What is left
/// out comes from the backend's options.
struct Terms {
    std::optional<Ttl> ttl = {};              ///< how long it is fresh
    std::optional<double> jitter = {};        ///< shortens that by a random share below this
    Ttl stale_for = std::chrono::seconds(0);  ///< how long it is kept, and may be used, after that
    std::chrono::nanoseconds load_cost{0};    ///< how long it took to load; 0: unknown
};

}  // namespace drey
