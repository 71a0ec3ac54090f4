#pragma once

#include <chrono>

#include "drey/clock.hpp"

namespace drey::detail {

/// Unix time, which all machines share, as far as their clocks agree. Unlike steady time it can be
/// set, and go back.
class SystemClock final : public Clock {
public:
    std::chrono::nanoseconds now() const noexcept override {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(
            std::chrono::system_clock::now().time_since_epoch());
    }
};

inline const Clock& system_clock() noexcept {
    static const SystemClock clock;
    return clock;
}

}  // namespace drey::detail
