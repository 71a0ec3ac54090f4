#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "drey/memory/tags.hpp"
#include "drey/types.hpp"

namespace drey {

/// An entry that a reader's guard protects: until the guard protects another or ends, it is not
/// destroyed and its slot is not reused.
template <class Item>
struct FoundEntry {
    const Item* item = nullptr;
    Slot slot = no_slot;
    bool is_absence = false;
};

/// The entry of a group that shows this tag and for which `matches(entry)` holds, and its cell, all
/// groups' being counted through; protected by the guard. Null if there is none. `tags` and `items`
/// are those of all groups. Lock-free. Inlined by force: a look-up that stays in registers is most
/// of a fast hit.
template <class Item, class Protects, class Matches>
[[gnu::always_inline]] inline const Item* look_in(const TagGroup* tags, const Item* items,
                                                  std::uint32_t group, Protects& guard, Tag tag,
                                                  Matches&& matches, std::size_t& cell) {
    const std::size_t first = std::size_t{group} * TagGroup::places;
    for (auto found = tags[group].match(tag); found != 0; found &= found - 1) {
        cell = first + static_cast<unsigned>(std::countr_zero(found));
        const Item* item = items + cell;
        guard.protect(item);
        // Once more, now that whoever withdraws the entry there must see that we protect it.
        // Acquire: we go on to read the entry that was published with this tag, which need not
        // be the one of a moment ago.
        if (tag_of_cell(tags, cell).load(std::memory_order_acquire) != tag) [[unlikely]]
            continue;
        if (matches(*item)) [[likely]]
            return item;
    }
    return nullptr;
}

}  // namespace drey
