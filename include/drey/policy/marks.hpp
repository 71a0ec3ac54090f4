#pragma once

#include <atomic>
#include <cstdint>

#include "drey/detail/stable_column.hpp"
#include "drey/types.hpp"

namespace drey {

/// A saturating counter a slot, for policies whose hits only leave a mark (`OnHit::marks`).
///
/// `touch` may be called by any number of threads at once and beside every other member: the
/// counters are atomic and never move. Order does not matter for a mark (a policy that misses one
/// errs by one hit), so every access is relaxed. Two hits at once may count as one; that is the
/// price of a plain load and store instead of a locked instruction.
template <std::uint8_t Most>
class Marks {
    static_assert(Most > 0);

public:
    /// Makes room for every slot below `n`. May throw std::bad_alloc.
    void grow(std::size_t n) { marks_.grow(n); }

    /// Starts the mark of a slot that enters the policy. Nobody can be touching it yet.
    void start(Slot s, std::uint8_t at = 0) noexcept { marks_.emplace(s, at); }

    /// Adds one, up to `Most`. A saturated mark is only read, so a hot entry's cache line stays
    /// shared between the cores that hit it.
    void touch(Slot s) noexcept {
        auto& mark = marks_[s];
        const std::uint8_t now = mark.load(std::memory_order_relaxed);
        if (now < Most) mark.store(static_cast<std::uint8_t>(now + 1), std::memory_order_relaxed);
    }

    std::uint8_t get(Slot s) const noexcept { return marks_[s].load(std::memory_order_relaxed); }
    void set(Slot s, std::uint8_t to) noexcept { marks_[s].store(to, std::memory_order_relaxed); }

private:
    detail::StableColumn<std::atomic<std::uint8_t>> marks_;
};

}  // namespace drey
