#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "drey/clock.hpp"

namespace drey {

/// How often to try again what failed, and how long to wait before: exponential back-off.
struct Retry {
    std::size_t attempts = 5;                          ///< in all, at least 1
    Ttl first_delay = std::chrono::milliseconds(100);  ///< after the first that failed
    double factor = 2.0;                               ///< by which each delay exceeds the last
    Ttl max_delay = std::chrono::seconds(30);          ///< and none exceeds that
};

namespace detail {

/// Throws std::invalid_argument that names the first field that is wrong.
inline void check(const Retry& retry) {
    if (retry.attempts == 0) throw std::invalid_argument("drey: retry.attempts must be at least 1");
    if (retry.first_delay.nanoseconds() < 0)
        throw std::invalid_argument("drey: retry.first_delay must not be negative");
    if (!(retry.factor >= 1.0))
        throw std::invalid_argument("drey: retry.factor must be at least 1");
    if (retry.max_delay.nanoseconds() < retry.first_delay.nanoseconds())
        throw std::invalid_argument("drey: retry.max_delay must be at least retry.first_delay");
}

/// The nanoseconds to wait after that many failures, at least 1, in a row.
inline std::int64_t delay_after(const Retry& retry, std::size_t failures) noexcept {
    const std::int64_t first = retry.first_delay.nanoseconds(),
                       most = retry.max_delay.nanoseconds();
    if (first == 0) return 0;
    const double delay =
        static_cast<double>(first) * std::pow(retry.factor, static_cast<double>(failures - 1));
    if (!(delay < static_cast<double>(most))) return most;
    return std::min(static_cast<std::int64_t>(delay), most);
}

}  // namespace detail
}  // namespace drey
