#pragma once

#include <atomic>

#include "drey/detail/assert.hpp"

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define DREY_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DREY_THREAD_SANITIZER 1
#endif
#endif
#ifndef DREY_THREAD_SANITIZER
#define DREY_THREAD_SANITIZER 0
#endif

/// Asymmetric fences: a pair of store-load fences of which the frequent side costs nothing.
///
/// Where the kernel has membarrier(2), the light fence only keeps the compiler from reordering and
/// the heavy one interrupts every running thread of the process, which is a full fence at some
/// point of each one's program. Elsewhere both are ordinary sequentially consistent fences.
namespace drey::detail {

/// A sequentially consistent fence, in a form that ThreadSanitizer accepts.
inline void full_fence() noexcept {
#if DREY_THREAD_SANITIZER
    static std::atomic<int> everywhere{0};
    everywhere.fetch_add(1, std::memory_order_seq_cst);
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

/// Keeps loads that come later, of any kind, from being made before loads of atomics with
/// `before_load_fence`. ThreadSanitizer knows no fences: there the earlier loads acquire.
inline void load_fence() noexcept {
#if !DREY_THREAD_SANITIZER
    std::atomic_thread_fence(std::memory_order_acquire);
#endif
}
inline constexpr std::memory_order before_load_fence =
    DREY_THREAD_SANITIZER ? std::memory_order_acquire : std::memory_order_relaxed;

// From the kernel's ABI, since <linux/membarrier.h> may be older than the kernel that runs this.
inline constexpr int membarrier_private_expedited = 1 << 3;
inline constexpr int membarrier_register_private_expedited = 1 << 4;

/// Registers this process for expedited membarrier; false where there is none: on other systems, on
/// Linux before 4.14, and where a sandbox forbids it. A forked child is registered as its parent.
inline bool has_process_fence() noexcept {
#if defined(__linux__) && defined(__NR_membarrier)
    static const bool registered =
        ::syscall(__NR_membarrier, membarrier_register_private_expedited, 0, 0) == 0;
    return registered;
#else
    return false;
#endif
}

/// A full fence in every thread of the process. Needs `has_process_fence()`.
inline void process_fence() noexcept {
#if defined(__linux__) && defined(__NR_membarrier)
    full_fence();  // the caller's own, should the kernel find no other thread to interrupt
    // Readers have relied on it all along. A sandbox that forbids it must do so before the first
    // cache is made; to go on without would be to destroy what somebody reads.
    if (::syscall(__NR_membarrier, membarrier_private_expedited, 0, 0) != 0)
        broken("membarrier(2), which worked when the process registered for it, fails");
#endif
}

}  // namespace drey::detail
