#pragma once

#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include "drey/error.hpp"

namespace drey::redis {

/// Time on the wire is real time, whatever the cache's clock says.
using TimePoint = std::chrono::steady_clock::time_point;

/// How an attempt ended: well, or with what and why. The reason never holds credentials.
struct [[nodiscard]] Outcome {
    Outcome() = default;
    Outcome(Errc code, std::string why = {}) : error(code), reason(std::move(why)) {}

    bool ok() const noexcept { return !error; }

    std::error_code error;
    std::string reason;
};

}  // namespace drey::redis
