#pragma once

#include <algorithm>
#include <cstddef>

#include "drey/memory/ledger.hpp"
#include "drey/types.hpp"

/// How shards give up capacity, to a lower total or to each other. `shrink(shard, allowance)` makes
/// one evict until it holds no more than that. No lock is held from one shard to the next.
namespace drey::detail {

/// After the capacity was lowered: gives back what is claimed and not used, then the same share of
/// each shard's entries.
template <class Shards, class Shrink>
void settle(const Ledger& ledger, Shards& shards, Shrink&& shrink) {
    if (ledger.overdrawn() == 0) return;
    Weight used = 0;
    for (auto& shard : shards) used += shard.give_back_unused();
    const double cut = std::min(1.0, static_cast<double>(ledger.overdrawn()) /
                                         static_cast<double>(std::max<Weight>(used, 1)));
    for (auto& shard : shards) {
        const Weight mine = shard.allowance();
        shrink(shard, mine - std::min(mine, static_cast<Weight>(static_cast<double>(mine) * cut)));
    }
    for (auto& shard : shards)  // what rounding left, and others claimed meanwhile
        if (const Weight over = ledger.overdrawn(); over != 0)
            shrink(shard, shard.allowance() - std::min(over, shard.allowance()));
}

/// Makes the shard with the largest allowance give up `need`, or what `poor` lacks of a fair share
/// in bits. False if no other shard has anything to give.
template <class Shards, class Shard, class Shrink>
bool take_from_richest(const Ledger& ledger, Shards& shards, const Shard& poor, Weight need,
                       Shrink&& shrink) {
    Shard* richest = nullptr;
    Weight most = 0;
    for (Shard& other : shards)
        if (&other != &poor && other.allowance() > most) {
            most = other.allowance();
            richest = &other;
        }
    if (richest == nullptr) return false;
    shrink(*richest, most - std::min(most, std::max(need, ledger.fair_share() / 8)));
    return true;
}

}  // namespace drey::detail
