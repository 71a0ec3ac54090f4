#pragma once

#include <atomic>
#include <cstdint>

namespace drey {

/// A mutex of four bytes that spins a little before it sleeps: shards are locked for tens of
/// nanoseconds, far less than it takes to sleep and wake. Meets BasicLockable and Lockable.
///
/// States as in Drepper, "Futexes are tricky" (2004): unlocked, locked, locked with sleepers.
/// Acquire on taking and release on leaving order the guarded data as with any mutex.
class SpinMutex {
public:
    SpinMutex() = default;
    SpinMutex(const SpinMutex&) = delete;
    SpinMutex& operator=(const SpinMutex&) = delete;

    bool try_lock() noexcept {
        std::uint32_t expected = unlocked;
        return state_.compare_exchange_strong(expected, locked, std::memory_order_acquire,
                                              std::memory_order_relaxed);
    }

    void lock() noexcept {
        if (!try_lock()) [[unlikely]]
            lock_slowly();
    }

    [[gnu::always_inline]] void unlock() noexcept {
        if (state_.exchange(unlocked, std::memory_order_release) == contended) [[unlikely]]
            wake_one();
    }

private:
    static constexpr std::uint32_t unlocked = 0, locked = 1, contended = 2;
    static constexpr int spins = 100;

    static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    [[gnu::noinline]] void wake_one() noexcept { state_.notify_one(); }

    [[gnu::noinline]] void lock_slowly() noexcept {
        for (int i = 0; i < spins; ++i) {
            if (state_.load(std::memory_order_relaxed) == unlocked && try_lock()) return;
            pause();
        }
        // From here on we may have slept among others, so we always leave `contended` behind: one
        // wake-up too many is harmless, one too few is not.
        while (state_.exchange(contended, std::memory_order_acquire) != unlocked)
            state_.wait(contended, std::memory_order_relaxed);
    }

    std::atomic<std::uint32_t> state_{unlocked};
};

}  // namespace drey
