#pragma once

#include <cstdio>
#include <cstdlib>

namespace example {

/// Says what should hold, and ends the example if it does not.
inline void expect(bool holds, const char* claim) {
    std::printf("%s %s\n", holds ? "  ok  " : "WRONG ", claim);
    if (!holds) std::exit(EXIT_FAILURE);
}

}  // namespace example
