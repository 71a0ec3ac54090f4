#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace drey::detail {

/// Asks for huge pages for what of this memory fills whole ones, before it is first touched: who
/// looks up a key at random would else wait for the page tables as long as for the entry. It is
/// advice, and what comes of it is the system's business. (Most Linux systems give huge pages to
/// those who ask, and to nobody else.)
inline void advise_huge_pages([[maybe_unused]] void* memory,
                              [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t huge = std::uintptr_t{1} << 21;
    const auto from = (reinterpret_cast<std::uintptr_t>(memory) + huge - 1) & ~(huge - 1);
    const auto to = (reinterpret_cast<std::uintptr_t>(memory) + bytes) & ~(huge - 1);
    if (from < to)
        static_cast<void>(::madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE));
#endif
}

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
