#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include "drey/clock.hpp"

namespace drey {

/// Threads that wait for what the holders of a lock do, or for the clock to go on. All is called
/// with that lock.
class Sleepers {
public:
    explicit Sleepers(const ClockRef& clock) : clock_(clock) {}

    /// Until woken, or about then, if that is known: a clock that is not the system's wakes nobody.
    void sleep(std::unique_lock<std::mutex>& lock, std::optional<std::int64_t> then = {}) {
        ++count_;
        if (then) {
            woken_.wait_for(lock, std::chrono::nanoseconds(time_until(*then)));
        } else {
            woken_.wait(lock);
        }
        --count_;
    }

    void wake() noexcept {
        if (count_ > 0) woken_.notify_all();
    }

private:
    std::int64_t time_until(std::int64_t then) const noexcept {
        constexpr std::uint64_t an_hour = 3'600'000'000'000, a_moment = 100'000;
        const std::int64_t now = clock_.now();
        if (then <= now) return a_moment;
        // Unsigned, since the difference may be more than an int64_t holds.
        const std::uint64_t time =
            static_cast<std::uint64_t>(then) - static_cast<std::uint64_t>(now);
        return static_cast<std::int64_t>(std::clamp(time, a_moment, an_hour));
    }

    const ClockRef& clock_;
    std::condition_variable woken_;
    std::size_t count_ = 0;
};

}  // namespace drey
