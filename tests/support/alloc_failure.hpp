#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>

/// Counts the blocks that `new` has handed out, and fails allocations on demand. Replaces the
/// global operator new and delete, so one test file, and only one, of an executable may include
/// this.
namespace support {

struct Allocations {
    static constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

    static inline std::atomic<long> live{0};              // blocks of all threads
    static inline thread_local std::size_t left = never;  // successes until the next failure
    static inline thread_local bool failed = false;
    static inline thread_local bool all = false;  // after the first failure everything fails

    static void* take(std::size_t size, std::size_t alignment) noexcept {
        if (left != never) {
            if (left == 0) {
                failed = true;
                if (!all) left = never;
                return nullptr;
            }
            --left;
        }
        void* block =
            alignment <= alignof(std::max_align_t)
                ? std::malloc(size != 0 ? size : 1)
                : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
        if (block != nullptr) live.fetch_add(1, std::memory_order_relaxed);
        return block;
    }
    static void* take_or_throw(std::size_t size, std::size_t alignment) {
        if (void* block = take(size, alignment)) return block;
        throw std::bad_alloc();
    }
    static void give_back(void* block) noexcept {
        if (block != nullptr) live.fetch_sub(1, std::memory_order_relaxed);
        std::free(block);
    }
};

/// While it lives, the calling thread's allocation number `n`, counted from 0, fails; with
/// `from_then_on`, all later ones do too.
class FailAllocation {
public:
    explicit FailAllocation(std::size_t n, bool from_then_on = false) {
        Allocations::failed = false;
        Allocations::all = from_then_on;
        Allocations::left = n;
    }
    FailAllocation(const FailAllocation&) = delete;
    FailAllocation& operator=(const FailAllocation&) = delete;
    ~FailAllocation() { Allocations::left = Allocations::never; }

    /// Whether there were that many.
    bool happened() const { return Allocations::failed; }
};

}  // namespace support

// NOLINTBEGIN: these must have external linkage and no `inline`.
void* operator new(std::size_t n) { return support::Allocations::take_or_throw(n, 1); }
void* operator new[](std::size_t n) { return support::Allocations::take_or_throw(n, 1); }
void* operator new(std::size_t n, std::align_val_t a) {
    return support::Allocations::take_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
    return support::Allocations::take_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
    return support::Allocations::take(n, 1);
}
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
    return support::Allocations::take(n, 1);
}
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
    return support::Allocations::take(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
    return support::Allocations::take(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { support::Allocations::give_back(p); }
void operator delete[](void* p) noexcept { support::Allocations::give_back(p); }
void operator delete(void* p, std::size_t) noexcept { support::Allocations::give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { support::Allocations::give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { support::Allocations::give_back(p); }
void operator delete[](void* p, std::align_val_t) noexcept { support::Allocations::give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    support::Allocations::give_back(p);
}
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
    support::Allocations::give_back(p);
}
void operator delete(void* p, const std::nothrow_t&) noexcept {
    support::Allocations::give_back(p);
}
void operator delete[](void* p, const std::nothrow_t&) noexcept {
    support::Allocations::give_back(p);
}
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept {
    support::Allocations::give_back(p);
}
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept {
    support::Allocations::give_back(p);
}
// NOLINTEND
