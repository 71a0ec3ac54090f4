#pragma once

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif

namespace drey::detail {

/// Has these called at each fork of the process from now on: `before`, then `in_parent` or
/// `in_child`; null for nothing. The child has no thread but the one that forked. Where there is no
/// fork, or no memory to remember them, they are not called.
inline void at_fork([[maybe_unused]] void (*before)(), [[maybe_unused]] void (*in_parent)(),
                    [[maybe_unused]] void (*in_child)()) noexcept {
#if __has_include(<pthread.h>)
    static_cast<void>(::pthread_atfork(before, in_parent, in_child));
#endif
}

}  // namespace drey::detail
