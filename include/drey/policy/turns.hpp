#pragma once

#include <algorithm>
#include <cstddef>

#include "drey/policy/mark_column.hpp"
#include "drey/types.hpp"

namespace drey {

/// Two counters a slot, 0 to 3 each: the hits since somebody last looked, which come without a
/// lock, and the turns that earlier ones have earned. For policies that mark (`OnHit::marks`) and
/// want to know what is new. Half a byte a slot.
///
/// `touch` may be called by any number of threads at once and beside every other member but
/// `lend`; the rest is for the holder of the lock. Hits may get lost, or be there again after they
/// were settled, if a neighbouring slot was touched at that moment (Mark); so who loops until turns
/// run out must bound the loop.
class Turns {
public:
    static constexpr unsigned most = Mark::most;

    /// Makes room for every slot below `n`. May throw std::bad_alloc.
    void grow(std::size_t n) {
        hits_.grow(n);
        turns_.grow(n);
    }

    /// Uses the store's memory for hits: see HasLentMarks. May throw std::bad_alloc.
    void lend(const LentMarks& marks) { hits_.lend(marks); }

    /// Starts the counters of a slot that enters the policy.
    void start(Slot s) noexcept { set_turns(s, 0); }
    void start_as(Slot to, Slot from) noexcept {
        hits_[to].set(hits(from));
        turns_[to].set(turns(from));
    }

    /// Adds a hit.
    void touch(Slot s) noexcept { touch(hits_[s]); }
    static void touch(Mark mark) noexcept { mark.add(); }

    unsigned hits(Slot s) const noexcept { return hits_[s].get(); }
    unsigned turns(Slot s) const noexcept { return turns_[s].get(); }

    struct Settled {
        unsigned hits;   // there were
        unsigned turns;  // there are
    };

    /// Turns the hits into as many turns.
    Settled settle(Slot s) noexcept {
        const Mark hits = hits_[s], turns = turns_[s];
        const unsigned fresh = hits.get();
        if (fresh == 0) return {0, turns.get()};
        const unsigned now = std::min(most, turns.get() + fresh);
        hits.set(0);
        turns.set(now);
        return {fresh, now};
    }

    /// Sets the turns, and the hits to 0.
    void set_turns(Slot s, unsigned turns) noexcept {
        hits_[s].set(0);
        turns_[s].set(turns);
    }

private:
    MarkColumn hits_;
    OwnMarks turns_;
};

}  // namespace drey
