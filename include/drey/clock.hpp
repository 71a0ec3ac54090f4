#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <memory>
#include <ratio>
#include <type_traits>
#include <utility>

/// Time: how long entries live, and where "now" comes from.
namespace drey {

/// A time to live in nanoseconds. Converts from any std::chrono duration and saturates instead of
/// overflowing, so that `std::chrono::hours::max()` is a very long time and not a negative one.
class Ttl {
public:
    template <class Rep, class Period>
    constexpr Ttl(std::chrono::duration<Rep, Period> d) noexcept : count_(saturated(d)) {}

    constexpr std::int64_t nanoseconds() const noexcept { return count_; }
    constexpr bool operator==(const Ttl&) const noexcept = default;

private:
    template <class Rep, class Period>
    static constexpr std::int64_t saturated(std::chrono::duration<Rep, Period> d) noexcept {
        constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
        constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
        using Float = std::chrono::duration<long double, std::nano>;
        // The comparison is made in floating point, whose rounding matters only near the limits,
        // where 292 years more or less a microsecond saturate alike.
        const auto approximate = std::chrono::duration_cast<Float>(d).count();
        if (!(approximate > static_cast<long double>(least))) return least;  // and NaN
        if (approximate >= static_cast<long double>(most)) return most;
        return std::chrono::duration_cast<std::chrono::duration<std::int64_t, std::nano>>(d)
            .count();
    }

    std::int64_t count_;
};

/// The TTL of an entry that does not expire.
inline constexpr Ttl never{std::chrono::nanoseconds::max()};

/// When an entry expires, in nanoseconds of its cache's clock; the largest value is never.
using Deadline = std::int64_t;
inline constexpr Deadline no_deadline = std::numeric_limits<Deadline>::max();

/// now + ttl, saturating. A negative ttl counts as zero.
constexpr Deadline deadline_after(std::int64_t now, std::int64_t ttl) noexcept {
    if (ttl <= 0) return now;
    return now > no_deadline - ttl ? no_deadline : now + ttl;
}

/// Where a cache takes its time from. `now` may be called from any thread.
class Clock {
public:
    virtual ~Clock() = default;

    /// Time since an arbitrary fixed moment; never goes back.
    virtual std::chrono::nanoseconds now() const noexcept = 0;

protected:
    Clock() = default;
    Clock(const Clock&) = default;
    Clock& operator=(const Clock&) = default;
};

/// std::chrono::steady_clock: the default. Its resolution is a nanosecond on today's systems.
class SteadyClock final : public Clock {
public:
    std::chrono::nanoseconds now() const noexcept override {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(
            std::chrono::steady_clock::now().time_since_epoch());
    }
};

/// A clock that moves only when told to, for tests: `clock.advance(5s)` instead of sleeping.
/// Thread-safe.
class ManualClock final : public Clock {
public:
    explicit ManualClock(std::chrono::nanoseconds start = {}) noexcept : now_(start.count()) {}

    std::chrono::nanoseconds now() const noexcept override {
        return std::chrono::nanoseconds{now_.load(std::memory_order_acquire)};
    }

    /// Release, and acquire above: who sees the new time also sees what was done before it.
    void advance(std::chrono::nanoseconds by) noexcept {
        now_.fetch_add(by.count(), std::memory_order_acq_rel);
    }

private:
    std::atomic<std::int64_t> now_;
};

/// What `.clock` takes: nothing (steady time), a clock that outlives the cache, by reference or
/// pointer, or a shared pointer that the cache keeps.
class ClockRef {
public:
    ClockRef() noexcept : clock_(&steady()) {}
    ClockRef(const Clock& clock) noexcept : clock_(&clock) {}
    ClockRef(const Clock&&) = delete;
    ClockRef(const Clock* clock) noexcept : clock_(clock != nullptr ? clock : &steady()) {}

    template <std::derived_from<Clock> C>
    ClockRef(std::shared_ptr<C> clock) noexcept
        : owner_(std::move(clock)), clock_(owner_ ? owner_.get() : &steady()) {}

    std::int64_t now() const noexcept { return clock_->now().count(); }

    /// Whether this is steady time, which passes by itself.
    bool is_steady() const noexcept { return clock_ == &steady(); }

    /// How long a thread may sleep that waits until `left` nanoseconds have passed: of a clock that
    /// is not the system's nobody tells us when it was set, so such a thread looks again soon.
    std::chrono::nanoseconds nap(std::int64_t left) const noexcept {
        constexpr std::int64_t a_moment = 1'000'000, an_hour = 3'600'000'000'000;
        return std::chrono::nanoseconds(std::min(left, is_steady() ? an_hour : a_moment));
    }

private:
    static const SteadyClock& steady() noexcept {
        static const SteadyClock clock;
        return clock;
    }

    std::shared_ptr<const Clock> owner_;
    const Clock* clock_;
};

}  // namespace drey
