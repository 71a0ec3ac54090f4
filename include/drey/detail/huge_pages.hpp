#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "drey/detail/leak_sanitizer.hpp"

namespace drey::detail {

inline constexpr std::size_t huge_page = std::size_t{1} << 21;  // or so

/// Asks for huge pages for what of this memory fills whole ones, before it is first touched: who
/// looks up a key at random would else wait for the page tables as long as for the entry. It is
/// advice, and what comes of it is the system's business. (Most Linux systems give huge pages to
/// those who ask, and to nobody else.)
inline void advise_huge_pages([[maybe_unused]] void* memory,
                              [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t in_page = huge_page - 1;
    const auto from = (reinterpret_cast<std::uintptr_t>(memory) + in_page) & ~in_page;
    const auto to = (reinterpret_cast<std::uintptr_t>(memory) + bytes) & ~in_page;
    if (from < to)
        static_cast<void>(::madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE));
#endif
}

#if defined(__linux__) && defined(MADV_HUGEPAGE)
inline constexpr bool can_map = true;

/// New memory of the system's, in huge pages as above, from the beginning of one on: what comes
/// first is in one for sure, if the system gives any. Throws std::bad_alloc.
inline void* map(std::size_t bytes) {
    const std::size_t reserved = bytes + huge_page;
    void* const memory =
        ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    // What lies before and behind goes back, by whole pages.
    const auto up = [](std::uintptr_t x, std::size_t to) { return (x + to - 1) & ~(to - 1); };
    const auto start = reinterpret_cast<std::uintptr_t>(memory);
    const auto from = up(start, huge_page);
    const auto to = up(from + bytes, static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
    if (from > start) ::munmap(memory, from - start);
    if (to < start + reserved) ::munmap(reinterpret_cast<void*>(to), start + reserved - to);
    auto* const mapped = reinterpret_cast<void*>(from);
    advise_huge_pages(mapped, bytes);
    begin_leak_root(mapped, bytes);
    return mapped;
}
inline void unmap(void* memory, std::size_t bytes) noexcept {
    end_leak_root(memory, bytes);
    ::munmap(memory, bytes);
}
#else
inline constexpr bool can_map = false;
inline void* map(std::size_t) { throw std::bad_alloc(); }
inline void unmap(void*, std::size_t) noexcept {}
#endif

/// Makes containers that ask for them.
template <class T>
struct HugePageAllocator : std::allocator<T> {
    HugePageAllocator() = default;
    template <class U>
    HugePageAllocator(const HugePageAllocator<U>&) noexcept {}

    T* allocate(std::size_t count) {
        T* const memory = std::allocator<T>::allocate(count);
        advise_huge_pages(memory, count * sizeof(T));
        return memory;
    }

    template <class U>
    struct rebind {
        using other = HugePageAllocator<U>;
    };
};

}  // namespace drey::detail
