#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <new>

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
/// after `open_for` it lets one call through, the probe, closes if that goes well and opens anew if
/// not. What was admitted before it opened and ends after that says nothing about the server of
/// now. Thread-safe; while all is well a call costs two relaxed loads.
class Breaker {
public:
    enum class Admission { refused, usual, probe };

    Breaker(const BreakerOptions& options, ClockRef clock)
        : options_(options), clock_(std::move(clock)) {}

    /// Whether the caller may ask. If so, it must say how that went.
    Admission admit() {
        if (state_.load(std::memory_order_relaxed) == BreakerState::closed) return Admission::usual;
        const std::lock_guard lock(mutex_);
        const BreakerState state = state_.load(std::memory_order_relaxed);
        if (state == BreakerState::closed) return Admission::usual;
        if (state == BreakerState::half_open || clock_.now() < open_until_)
            return Admission::refused;
        state_.store(BreakerState::half_open, std::memory_order_relaxed);
        return Admission::probe;
    }

    void succeeded(Admission admitted) noexcept {
        if (admitted == Admission::probe)
            state_.store(BreakerState::closed, std::memory_order_relaxed);
    }

    void failed(Admission admitted) noexcept {
        const std::lock_guard lock(mutex_);
        const Deadline now = clock_.now();
        if (admitted == Admission::probe) return open(now);
        if (state_.load(std::memory_order_relaxed) != BreakerState::closed) return;
        try {
            failures_.push_back(now);
        } catch (const std::bad_alloc&) {  // one more will come
            return;
        }
        while (deadline_after(failures_.front(), options_.window.nanoseconds()) < now)
            failures_.pop_front();
        if (failures_.size() >= options_.failures) open(now);
    }

    BreakerState state() const noexcept { return state_.load(std::memory_order_relaxed); }

private:
    void open(Deadline now) noexcept {
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
