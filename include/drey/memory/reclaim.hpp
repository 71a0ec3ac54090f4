#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <type_traits>

#include "drey/memory/slot_set.hpp"
#include "drey/memory/table.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

/// What happens to retired entries: those that nobody can find any more and somebody may still
/// read.
namespace drey {

/// The retired entries of a shard, and what they weighed. For the holder of the shard's lock.
struct Retired {
    SlotSet slots;
    Weight weight = 0;  // of those retired since the last reclaim began

    void add(Slot s, Weight w) noexcept {
        slots.add(s);
        weight += w;
    }
};

inline constexpr std::size_t most_reclaimed_at_once = 256;

/// Whether it is time to reclaim, after an entry left for `cause`: when a 16th of what is live is
/// retired, or 256, or a 16th of `allowance` by weight, so that the memory beyond the capacity
/// stays small and each fence serves many; at once what the user removed, so that its destructor
/// has run when the call returns; and always, where that costs nothing.
template <class Item, class Sync>
bool is_reclaim_due(Removal cause, const Retired& retired, std::size_t live, Weight allowance,
                    bool weighed) noexcept {
    constexpr bool trivial = std::is_trivially_destructible_v<Item>;
    // Entries whose destruction nobody can see may be reclaimed a page's worth at a time.
    constexpr std::size_t least = trivial ? std::clamp<std::size_t>(4096 / sizeof(Item), 1, 64) : 1;
    if (!Sync::is_shared) return true;
    if (!trivial && (cause == Removal::erased || cause == Removal::cleared)) return true;
    if (weighed && retired.weight > allowance / 16) return true;
    return retired.slots.size() >= std::clamp(live / 16, least, most_reclaimed_at_once);
}

/// Destroys the retired entries that no reader protects and frees their slots. Never waits: what is
/// protected stays for the next time. Destructors run outside the lock.
template <class Item, class Sync>
void reclaim(Retired& retired, Table<Item>& table, typename Sync::Mutex& mutex,
             typename Sync::Readers& readers) noexcept {
    std::array<Slot, most_reclaimed_at_once> batch;
    for (Slot from = 0; from != no_slot;) {
        std::size_t count = 0;
        {
            const std::lock_guard lock(mutex);
            retired.weight = 0;
            for (from = retired.slots.next(from); from != no_slot && count < batch.size();
                 from = retired.slots.next(from)) {
                batch[count++] = from;
                retired.slots.remove(from);
            }
        }
        if (count == 0) return;
        const typename Sync::Readers::Held held(readers);
        const auto free = std::partition(batch.begin(), batch.begin() + count,
                                         [&](Slot s) { return !held.contains(table.address(s)); });
        std::for_each(batch.begin(), free, [&](Slot s) { std::destroy_at(table.address(s)); });
        const std::lock_guard lock(mutex);
        std::for_each(batch.begin(), free, [&](Slot s) { table.give_back(s); });
        std::for_each(free, batch.begin() + count, [&](Slot s) { retired.slots.add(s); });
    }
}

}  // namespace drey
