#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "drey/redis/outcome.hpp"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>
#else
#include <algorithm>
#include <thread>
#endif

namespace drey::redis {

/// A number that threads sleep on until it changes. What std::atomic::wait is, but for a deadline,
/// which that lacks: a futex on Linux; elsewhere who has a deadline looks every millisecond.
class WaitWord {
public:
    /// Acquire, paired with the release in `wake_all`: who sees the change sees what led to it.
    std::uint32_t value() const noexcept { return word_.load(std::memory_order_acquire); }

    /// Changes it and wakes all who sleep.
    void wake_all() noexcept {
        word_.fetch_add(1, std::memory_order_release);
#if defined(__linux__)
        ::syscall(SYS_futex, address(), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr,
                  0);
#else
        word_.notify_all();
#endif
    }

    /// Sleeps while it is `seen`, until the deadline at most; may wake for no reason.
    void wait(std::uint32_t seen, TimePoint deadline) noexcept {
#if defined(__linux__)
        // Absolute, and on the steady clock, as FUTEX_WAIT_BITSET has it.
        const std::chrono::nanoseconds since = deadline.time_since_epoch();
        const timespec at{static_cast<time_t>(since.count() / 1'000'000'000),
                          static_cast<long>(since.count() % 1'000'000'000)};
        ::syscall(SYS_futex, address(), FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seen,
                  deadline == TimePoint::max() ? nullptr : &at, nullptr, FUTEX_BITSET_MATCH_ANY);
#else
        if (deadline == TimePoint::max()) return word_.wait(seen);
        const auto left = deadline - std::chrono::steady_clock::now();
        if (left > left.zero() && value() == seen)
            std::this_thread::sleep_for(
                std::min<std::chrono::nanoseconds>(left, std::chrono::milliseconds(1)));
#endif
    }

private:
#if defined(__linux__)
    static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t),
                  "drey: the kernel reads the number itself");
    std::uint32_t* address() noexcept { return reinterpret_cast<std::uint32_t*>(&word_); }
#endif

    std::atomic<std::uint32_t> word_{0};
};

}  // namespace drey::redis
