#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "drey/clock.hpp"

namespace drey {

/// What is to be known of an entry, beside key and value, to make it anew elsewhere. Times are what
/// is left of them, in nanoseconds, since clocks begin anywhere.
struct Kept {
    std::int64_t fresh_left = no_deadline;  ///< of an absence: until it is forgotten
    std::int64_t stale_left = 0;            ///< how long it may be used after that
    std::int64_t load_cost = 0;             ///< how long it took to load; 0: unknown
    std::uint8_t hits = 0;                  ///< what the policy is to be told after the insertion
    std::vector<std::string> tags = {};     ///< by which it is invalidated

    bool operator==(const Kept&) const = default;
};

}  // namespace drey
