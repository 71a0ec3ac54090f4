#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

#include "drey/clock.hpp"
#include "drey/redis/options.hpp"

namespace drey {

/// Whether a server is asked at all.
enum class BreakerState {
    closed,     ///< asked as usual
    open,       ///< failed too often; not asked for a while
    half_open,  ///< one call is finding out whether it is back
};

namespace redis {

/// Circuit breaker (M. Nygard, "Release It!"). Opens after `failures` failures within `window`;
/// after `open_for` it lets one call through, closes if that goes well and opens anew if not.
/// Thread-safe; while all is well a call costs two relaxed loads.
class Breaker {
public:
    Breaker(const BreakerOptions& options, ClockRef clock)
        : options_(options), clock_(std::move(clock)) {}

    /// Whether the caller may ask. If so, it must report how that went.
    bool admits() {
        if (state_.load(std::memory_order_relaxed) == BreakerState::closed) return true;
        const std::lock_guard lock(mutex_);
        switch (state_.load(std::memory_order_relaxed)) {
            case BreakerState::closed:
                return true;
            case BreakerState::half_open:
                return false;
            case BreakerState::open:
                break;
        }
        if (clock_.now() < open_until_) return false;
        state_.store(BreakerState::half_open, std::memory_order_relaxed);
        return true;
    }

    void succeeded() {
        if (state_.load(std::memory_order_relaxed) != BreakerState::half_open) return;
        const std::lock_guard lock(mutex_);
        if (state_.load(std::memory_order_relaxed) == BreakerState::half_open)
            state_.store(BreakerState::closed, std::memory_order_relaxed);
    }

    void failed() {
        const std::lock_guard lock(mutex_);
        const Deadline now = clock_.now();
        switch (state_.load(std::memory_order_relaxed)) {
            case BreakerState::open:
                return;  // admitted before it opened
            case BreakerState::half_open:
                return open(now);
            case BreakerState::closed:
                break;
        }
        failures_.push_back(now);
        while (deadline_after(failures_.front(), options_.window.nanoseconds()) < now)
            failures_.pop_front();
        if (failures_.size() >= options_.failures) open(now);
    }

    BreakerState state() const noexcept { return state_.load(std::memory_order_relaxed); }

private:
    void open(Deadline now) {
        failures_.clear();
        open_until_ = deadline_after(now, options_.open_for.nanoseconds());
        state_.store(BreakerState::open, std::memory_order_relaxed);
    }

    const BreakerOptions options_;
    const ClockRef clock_;

    std::atomic<BreakerState> state_{BreakerState::closed};
    std::mutex mutex_;               // for the rest, and for changes of state
    std::deque<Deadline> failures_;  // within the window
    Deadline open_until_ = 0;
};

}  // namespace redis
}  // namespace drey
