#pragma once

#include <cstddef>

#include "drey/policy/mark_column.hpp"
#include "drey/types.hpp"

namespace drey {

/// A counter a slot that saturates at `Most`, 1 to 3, for policies whose hits only leave a mark
/// (`OnHit::marks`). A quarter of a byte a slot.
///
/// `touch` may be called by any number of threads at once and beside every other member but
/// `lend`: the counters are atomic and never move. Of changes at once to neighbouring slots some
/// may get lost (Mark). To set one to more than 3 sets it to the two low bits.
template <unsigned Most>
class Marks {
    static_assert(Most > 0 && Most <= Mark::most, "drey: a mark counts to 1, 2 or 3");

public:
    /// Makes room for every slot below `n`. May throw std::bad_alloc.
    void grow(std::size_t n) { marks_.grow(n); }

    /// Uses the store's memory: see HasLentMarks. May throw std::bad_alloc.
    void lend(const LentMarks& marks) { marks_.lend(marks); }

    /// Starts the mark of a slot that enters the policy.
    void start(Slot s, unsigned at = 0) noexcept { set(s, at); }

    /// Adds one, up to `Most`.
    void touch(Slot s) noexcept { touch(marks_[s]); }
    static void touch(Mark mark) noexcept { mark.add(Most); }

    unsigned get(Slot s) const noexcept { return marks_[s].get(); }
    void set(Slot s, unsigned to) noexcept { marks_[s].set(to); }

private:
    MarkColumn marks_;
};

}  // namespace drey
