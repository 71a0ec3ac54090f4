#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "drey/redis/outcome.hpp"

namespace drey::redis {

/// How long the server may take over one call of the facade, all round trips together. The user's
/// code that runs in between, such as a loader, does not count, nor does waiting for a thread to
/// run it on.
class Patience {
public:
    explicit Patience(std::chrono::nanoseconds limit) : deadline_(Clock::now() + limit) {}

    TimePoint deadline() const noexcept { return deadline_; }

    void pause() noexcept {
        if (!paused_) paused_ = Clock::now();
    }
    void resume() noexcept {
        if (paused_) deadline_ += Clock::now() - *paused_;
        paused_.reset();
    }

private:
    using Clock = std::chrono::steady_clock;

    TimePoint deadline_;
    std::optional<TimePoint> paused_;  // since when
};

}  // namespace drey::redis
