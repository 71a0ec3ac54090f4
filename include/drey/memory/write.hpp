#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>
#include <variant>

#include "drey/clock.hpp"
#include "drey/detail/tickets.hpp"
#include "drey/memory/entry.hpp"
#include "drey/memory/labels.hpp"
#include "drey/memory/notes.hpp"
#include "drey/options.hpp"
#include "drey/types.hpp"

namespace drey {

/// How a write ended.
enum class Written {
    yes,
    present,  ///< WriteIf::absent: something is there
    changed,  ///< WriteIf::unchanged: something else is there
    doomed,   ///< the ticket's key was invalidated
    refused,  ///< the policy did not admit it
    no_room,  ///< the shard's allowance cannot hold it; the store must find it more
};

/// What a caller saw under a key, to make sure later that it is still so. The caller protects the
/// slot meanwhile, so that it cannot come to hold another entry; a value that is overwritten in
/// place is compared itself.
template <class V>
struct Seen {
    Slot slot = no_slot;
    bool was_hit = false;  // the value in it was live
};
template <class V>
requires ValueCell<V>::overwrites_in_place struct Seen<V> {
    Slot slot = no_slot;
    bool was_hit = false;
    std::optional<V> value = {};
};

/// What an entry may have beside key and value.
struct Extras {
    Deadline deadline = no_deadline;
    Note note = {};
    Labels::Set* labels = nullptr;

    bool are_blank() const noexcept {
        return deadline == no_deadline && note.is_blank() && labels == nullptr;
    }
};

/// One write, as the store prepared it outside the lock.
template <class V>
struct WriteRequest {
    Hash hash;
    Weight weight = 1;
    bool is_absence = false;
    TagTime obtained_at = any_tag_time;
    const Extras* extras = nullptr;  // the entry's, if it has any and the write is kept
    std::int64_t now = 0;
    WriteIf condition = WriteIf::always;
    const Seen<V>* seen = nullptr;  // for WriteIf::unchanged
    const Ticket* ticket = nullptr;
    bool may_starve = false;  // evict here even if this shard is poor
};

}  // namespace drey
