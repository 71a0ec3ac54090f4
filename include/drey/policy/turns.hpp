#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "drey/policy/mark_column.hpp"
#include "drey/types.hpp"

namespace drey {

/// Two counters a slot, 0 to 3 each, in one byte: the hits since somebody last looked, which come
/// without a lock, and the turns that earlier ones have earned. For policies that mark
/// (`OnHit::marks`) and want to know what is new.
///
/// Threads as with Marks: `touch` may come at any time, and every access is relaxed. A hit that
/// comes while the turns are changed may undo that change; so who loops until they run out must
/// bound the loop.
class Turns {
public:
    static constexpr unsigned most = 3;

    /// Makes room for every slot below `n`. May throw std::bad_alloc.
    void grow(std::size_t n) { bytes_.grow(n); }

    /// Uses the store's memory: see HasLentMarks. May throw std::bad_alloc.
    void lend(const LentMarks& marks) { bytes_.lend(marks); }

    /// Starts the counters of a slot that enters the policy. Nobody can be touching it yet.
    void start(Slot s) noexcept { bytes_.start(s, 0); }
    void start_as(Slot to, Slot from) noexcept { bytes_.start(to, bytes_.get(from)); }

    /// Adds a hit.
    void touch(Slot s) noexcept { touch(bytes_[s]); }
    static void touch(Mark& mark) noexcept {
        const unsigned now = mark.load(std::memory_order_relaxed);
        MarkColumn::set_if((now & most) < most, mark, now + 1);
    }

    unsigned hits(Slot s) const noexcept { return get(s) & most; }
    unsigned turns(Slot s) const noexcept { return get(s) >> 2; }

    struct Settled {
        unsigned hits;   // there were
        unsigned turns;  // there are
    };

    /// Turns the hits into as many turns.
    Settled settle(Slot s) noexcept {
        const unsigned byte = get(s);
        const unsigned hits = byte & most;
        if (hits == 0) return {0, byte >> 2};
        const unsigned turns = std::min(most, (byte >> 2) + hits);
        set_turns(s, turns);
        return {hits, turns};
    }

    /// Sets the turns, and the hits to 0.
    void set_turns(Slot s, unsigned turns) noexcept {
        bytes_.set(s, static_cast<std::uint8_t>(turns << 2));
    }

private:
    unsigned get(Slot s) const noexcept { return bytes_.get(s); }

    MarkColumn bytes_;
};

}  // namespace drey
