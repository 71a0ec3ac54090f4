#pragma once

#include <cstddef>

// Of LeakSanitizer's runtime (alone, or in AddressSanitizer's): there only in programs built with
// it, so a program without it sees null. Weak symbols are ELF's.
#if defined(__ELF__) && defined(__GNUC__)
#define DREY_LEAK_SANITIZER 1
extern "C" {
[[gnu::weak]] void __lsan_register_root_region(const void* begin, std::size_t bytes);
[[gnu::weak]] void __lsan_unregister_root_region(const void* begin, std::size_t bytes);
}
#else
#define DREY_LEAK_SANITIZER 0
#endif

namespace drey::detail {

/// Tells LeakSanitizer, if there is one, to look for pointers in memory that no allocator knows of;
/// else it reports as leaked what only a cache holds that is never destroyed. Thread-safe.
inline void begin_leak_root([[maybe_unused]] const void* memory,
                            [[maybe_unused]] std::size_t bytes) noexcept {
#if DREY_LEAK_SANITIZER
    if (&__lsan_register_root_region != nullptr) __lsan_register_root_region(memory, bytes);
#endif
}

/// To be called with the same before the memory goes.
inline void end_leak_root([[maybe_unused]] const void* memory,
                          [[maybe_unused]] std::size_t bytes) noexcept {
#if DREY_LEAK_SANITIZER
    if (&__lsan_unregister_root_region != nullptr) __lsan_unregister_root_region(memory, bytes);
#endif
}

}  // namespace drey::detail

#undef DREY_LEAK_SANITIZER
