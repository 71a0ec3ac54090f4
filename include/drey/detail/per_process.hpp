#pragma once

#include <atomic>
#include <memory>
#include <utility>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

namespace drey::detail {

/// A T for each process that comes to have this object: made by the first `get` in it, since what
/// the parent of a fork had is of no use in the child: threads that are not there, and locks that
/// they may hold. The child leaves that alone, and never destroys it. `get` is thread-safe.
template <class T>
class PerProcess {
public:
    PerProcess() = default;
    PerProcess(const PerProcess&) = delete;
    PerProcess& operator=(const PerProcess&) = delete;
    ~PerProcess() {
        if (is_ours(owned_.load(std::memory_order_acquire))) delete owned_.load();
    }

    /// This process's; null if it has none.
    T* find() const noexcept {
        Owned* const owned = owned_.load(std::memory_order_acquire);
        return is_ours(owned) ? &owned->value : nullptr;
    }

    /// This process's, made of `arguments` if it has none. Throws what making a T throws.
    template <class... Arguments>
    T& get(Arguments&&... arguments) {
        Owned* owned = owned_.load(std::memory_order_acquire);
        if (is_ours(owned)) return owned->value;
        auto mine = std::make_unique<Owned>(std::forward<Arguments>(arguments)...);
        // Release: who finds it finds it made. Whoever comes first, all use that one.
        if (owned_.compare_exchange_strong(owned, mine.get(), std::memory_order_acq_rel))
            return mine.release()->value;
        return owned->value;
    }

private:
    static long this_process() noexcept {
#if __has_include(<unistd.h>)
        return static_cast<long>(::getpid());
#else
        return 0;
#endif
    }

    struct Owned {
        template <class... Arguments>
        explicit Owned(Arguments&&... arguments) : value(std::forward<Arguments>(arguments)...) {}

        const long process = this_process();
        T value;
    };

    static bool is_ours(const Owned* owned) noexcept {
        return owned != nullptr && owned->process == this_process();
    }

    std::atomic<Owned*> owned_{nullptr};
};

}  // namespace drey::detail
