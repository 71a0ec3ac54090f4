#pragma once

#include <chrono>
#include <cstdint>

#include "drey/redis/outcome.hpp"

namespace drey::redis {

/// How long the server may take over one call of the facade, all round trips together. The user's
/// code that runs in between, such as a loader, does not count.
class Patience {
public:
    explicit Patience(std::chrono::nanoseconds limit) : deadline_(Clock::now() + limit) {}

    TimePoint deadline() const noexcept { return deadline_; }

    void pause() noexcept { paused_ = Clock::now(); }
    void resume() noexcept { deadline_ += Clock::now() - paused_; }

private:
    using Clock = std::chrono::steady_clock;

    TimePoint deadline_;
    TimePoint paused_{};
};

}  // namespace drey::redis
