#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "drey/clock.hpp"
#include "drey/detail/stable_column.hpp"
#include "drey/lookup.hpp"
#include "drey/types.hpp"

namespace drey {

/// What there may be to know of an entry beside its deadline, which is when it must go.
struct Note {
    Deadline fresh_until = no_deadline;  ///< if that is before its deadline; then it is stale
    std::int64_t load_cost = 0;          ///< nanoseconds; 0: unknown

    bool is_blank() const noexcept { return fresh_until == no_deadline && load_cost == 0; }
};

/// What an entry is to a reader at a time. All calls go by this; but only to `find` and to loads do
/// stale values and absences differ from nothing.
constexpr Found standing(Deadline deadline, Deadline fresh_until, bool is_absence,
                         std::int64_t now) noexcept {
    if (deadline <= now) return Found::miss;
    if (is_absence) return Found::absent;
    return fresh_until <= now ? Found::stale : Found::hit;
}

/// The notes of a shard's entries. Nothing is stored until the first entry comes whose note is not
/// blank; from then on 16 bytes a slot.
///
/// Readers read them without a lock, as plain memory: a note is to its entry as the entry's key is.
/// It is written before the slot is published, by a tag stored with release that readers load with
/// acquire; it stays as it is while anybody may find or protect the entry; and the slot is reused
/// only after the last reader has let go.
///
/// All for the holder of the shard's lock, except `in_use` and `at`.
class Notes {
public:
    /// Acquire, paired with the release in `grow`: a reader may hold an entry that is older than
    /// the column, and must then see its chunks.
    bool in_use() const noexcept { return in_use_.load(std::memory_order_acquire); }

    /// The note of s, which the caller protects.
    Note at(Slot s) const noexcept { return in_use() ? column_[s] : Note{}; }

    /// Makes room for slots below n if notes are in use, or if `wanted` makes it so from now on.
    /// May throw std::bad_alloc, leaving what was there as it was.
    void grow(std::size_t n, bool wanted) {
        if (wanted || in_use()) [[unlikely]]
            cover(n);
    }

    /// Sets the note of a slot that is about to be published: each entry needs it, or it would have
    /// the note of the one before it there. No reader may hold the slot.
    void set(Slot s, const Note& note) noexcept {
        if (in_use()) column_.emplace(s, note);
    }

private:
    [[gnu::noinline]] void cover(std::size_t n) {
        column_.grow(n);
        if (in_use()) return;
        for (Slot s = 0; s < column_.size(); ++s) column_.emplace(s);
        in_use_.store(true, std::memory_order_release);
    }

    std::atomic<bool> in_use_{false};
    detail::StableColumn<Note> column_;
};

}  // namespace drey
