#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <mutex>
#include <span>
#include <type_traits>

#include "drey/memory/retired.hpp"
#include "drey/memory/table.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

/// What happens to retired entries, and when.
namespace drey {

/// No more than this many entries of a shard wait to be reclaimed, but for those that are read.
inline constexpr std::size_t most_retired = 2 * retired_batch;

/// Whether it is time, after an entry left for `cause`: when a 32nd of what is live was retired
/// lately, or a batch, or a 16th of `allowance` by weight, so that the memory beyond
/// the capacity stays small and each fence serves many; at once what the user removed, so that its
/// destructor has run when the call returns; and always, where that costs nothing.
template <class Item, class Sync, class Retired>
Reclaim reclaim_due(Removal cause, const Retired& retired, std::size_t live, Weight allowance,
                    bool weighed) noexcept {
    constexpr bool trivial = std::is_trivially_destructible_v<Item>;
    // Entries whose destruction nobody can see may be reclaimed half a page's worth at a time.
    constexpr std::size_t least = trivial ? std::clamp<std::size_t>(2048 / sizeof(Item), 1, 32) : 1;
    if (!Sync::is_shared) return Reclaim::all;
    if (!trivial && (cause == Removal::erased || cause == Removal::cleared)) return Reclaim::all;
    if (weighed && retired.weight > allowance / 16) return Reclaim::all;
    return retired.recent() >= std::clamp(live / 32, least, retired_batch) ? Reclaim::some
                                                                           : Reclaim::nothing;
}

/// Destroys retired entries that no reader protects and frees their slots. Never waits for readers:
/// what is protected stays for the next time. Destructors run outside the lock.
///
/// `destroy(slots)` destroys the entries there, and what belongs to them.
///
/// `some` is the batch that waits, if another thread has made the fence that it waits for, and the
/// next one begins to wait. If nobody has made one, this does, and then reclaims all.
template <class Sync, class Retired, class Table, class Destroy>
void reclaim(Reclaim how_much, Retired& retired, Table& table, typename Sync::Mutex& mutex,
             typename Sync::Readers& readers, Destroy&& destroy) noexcept {
    typename Retired::Batch batch;
    typename Retired::Pass pass;
    do {
        std::size_t count = 0;
        bool fenced = false;
        {
            const std::lock_guard lock(mutex);
            retired.weight = 0;
            fenced = retired.is_any_waiting() && readers.fenced_since(retired.since());
            if (how_much == Reclaim::some && retired.is_any_waiting() && !fenced)
                how_much = Reclaim::all;
            count = retired.take_waiting(batch);
            if (how_much == Reclaim::some && retired.recent() != 0) retired.wait(readers.now());
            if (how_much == Reclaim::all && count == 0) count = pass.take(retired, batch);
        }
        if (count == 0) return;
        const auto held = fenced ? readers.held_without_fence() : readers.held();
        auto free = batch.begin() + count;
        if (!held.is_empty())
            free = std::partition(batch.begin(), free,
                                  [&](Slot s) { return !held.contains(table.address(s)); });
        destroy(std::span<const Slot>(batch.begin(), free));
        const std::lock_guard lock(mutex);
        std::for_each(batch.begin(), free, [&](Slot s) { table.give_back(s); });
        std::for_each(free, batch.begin() + count, [&](Slot s) { retired.keep(s); });
    } while (how_much == Reclaim::all);
}

}  // namespace drey
