#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "drey/policy/mark_column.hpp"
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

    /// Uses the store's memory: see HasLentMarks. May throw std::bad_alloc.
    void lend(const LentMarks& marks) { marks_.lend(marks); }

    /// Starts the mark of a slot that enters the policy. Nobody can be touching it yet.
    void start(Slot s, std::uint8_t at = 0) noexcept { marks_.start(s, at); }

    /// Adds one, up to `Most`.
    void touch(Slot s) noexcept { touch(marks_[s]); }
    static void touch(Mark& mark) noexcept {
        const unsigned now = mark.load(std::memory_order_relaxed);
        MarkColumn::set_if(now < Most, mark, now + 1);
    }

    std::uint8_t get(Slot s) const noexcept { return marks_.get(s); }
    void set(Slot s, std::uint8_t to) noexcept { marks_.set(s, to); }

private:
    MarkColumn marks_;
};

}  // namespace drey
