#pragma once

#include <atomic>
#include <cstdint>

namespace drey {

/// What those who overwrite without a shard's lock look at before they do, after they have said
/// that they are about to. Open while nobody has it shut. To shut it does not wait for those who
/// are past it; `await_writers` of the readers does.
///
/// Orders: whoever shuts it and then awaits the writers has a full fence between, as has a writer
/// (light, see hazards.hpp) between its announcement and `is_open`: one of the two sees the other.
class Gate {
public:
    void shut() noexcept { shut_.fetch_add(1, std::memory_order_relaxed); }
    void open() noexcept { shut_.fetch_sub(1, std::memory_order_release); }

    /// It never opens again, and all that were past it are done. Release and acquire: who sees that
    /// it is closed sees what they have written.
    void close() noexcept { closed_.store(true, std::memory_order_release); }
    bool is_closed() const noexcept { return closed_.load(std::memory_order_acquire); }

    /// Acquire: who finds it open again sees what was done behind it.
    bool is_open() const noexcept { return shut_.load(std::memory_order_acquire) == 0; }

private:
    std::atomic<std::uint32_t> shut_{0};
    std::atomic<bool> closed_{false};
};

}  // namespace drey
