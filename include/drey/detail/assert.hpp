#pragma once

#include <cstdio>
#include <cstdlib>

namespace drey::detail {

/// For contracts whose breach would corrupt memory later and elsewhere (a policy that evicts a
/// slot it does not hold): say so and stop, in every build.
[[noreturn]] inline void broken(const char* what) noexcept {
    std::fprintf(stderr, "drey: %s\n", what);
    std::abort();
}

}  // namespace drey::detail
