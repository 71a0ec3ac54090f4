#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>

#include "drey/clock.hpp"
#include "drey/detail/tickets.hpp"
#include "drey/memory/departures.hpp"
#include "drey/memory/index.hpp"
#include "drey/memory/reclaim.hpp"
#include "drey/memory/shard_state.hpp"
#include "drey/memory/write.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

namespace drey {

/// One part of the store: a lock, what it guards, and what readers do without it.
///
/// Hits take no lock: see `look`. Writers take the shard's, for one step or a bounded batch of
/// them. Under it run no destructors, listeners, loaders, weighers or hashes of the user: only the
/// key's equality and the move constructors of key and value.
template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
class alignas(64) Shard {
    using State = ShardState<K, V, Policy, Hasher, Equal, Sync>;
    using Guard = typename Sync::Readers::Guard;
    using Lock = std::lock_guard<typename Sync::Mutex>;

public:
    using Context = typename State::Context;
    using Item = typename State::Item;

    /// Must be destroyed when no other thread uses it any more.
    Shard(Context& context, std::size_t first_entries, Budget budget, std::uint64_t seed)
        : state_(context, first_entries, budget, seed) {}

    // ---- reading, without the lock -------------------------------------------------------------

    /// An entry that a reader's guard protects: until the guard protects another or ends, it is not
    /// destroyed and its slot is not reused.
    struct Found {
        const Item* item = nullptr;
        Slot slot = no_slot;
    };

    /// Finds the key's entry and protects it. Lock-free; throws what the key's equality throws.
    /// Inlined by force: a look-up that stays in registers is most of a fast hit.
    template <class Q>
    [[gnu::always_inline]] Found look(Guard& guard, const Q& key, Hash h) const {
        auto home = state_.index.home(h);
        for (; home.candidates != 0; home.drop_first()) {
            const auto& word = home.first();
            // Acquire: we go on to read the entry that was published by this word.
            const Index::Place place{home.table, &word, word.load(std::memory_order_acquire)};
            if (place.value == 0) continue;
            const Item* item = state_.slab.pointer(place.slot());
            guard.protect(item);
            if (!state_.index.still_holds(place)) [[unlikely]]
                return look_again(guard, key, h);
            if (state_.context.equal(item->key, key)) [[likely]]
                return {item, place.slot()};
        }
        if (home.is_last() && state_.index.is_current(home.table)) return {};
        return look_again(guard, key, h);
    }

    /// Whether the entry in s, which the caller protects, has expired.
    bool expired(Slot s, const ClockRef& clock) const {
        return state_.deadlines.in_use() && state_.deadlines.passed(s, clock);
    }

    /// Delivers a hit on an entry that the caller protects.
    void touch(Slot s, Hash h) noexcept {
        if constexpr (Policy::on_hit == OnHit::marks) {
            state_.policy.hit(s, h);
        } else if constexpr (Policy::on_hit == OnHit::reorders) {
            // Rather than wait for a writer, lose this reordering: exact with one thread, nearly so
            // with many.
            if (!mutex_.try_lock()) return;
            // If it has left meanwhile the policy does not know it. It cannot be another entry's
            // slot: it is protected.
            if (state_.live.contains(s)) state_.policy.hit(s, h);
            mutex_.unlock();
        }
    }

    // ---- one key, under the lock ---------------------------------------------------------------

    Written write(Item& item, const WriteRequest<V>& request, Departures& departures) {
        const Lock lock(mutex_);
        return state_.write(item, request, departures);
    }

    /// Removes the key's entry. Returns whether a live one was there. Dooms the key's loads.
    template <class Q>
    bool erase(const Q& key, Hash h, std::int64_t now, Departures& departures) {
        const Lock lock(mutex_);
        return erase_at(state_.find(key, h), h, now, departures);
    }

    /// Removes the key's entry if it is what the caller saw. Returns whether it was. Dooms the
    /// key's loads.
    template <class Q>
    bool erase_unchanged(const Q& key, Hash h, const Seen<V>& seen, std::int64_t now,
                         Departures& departures) {
        const Lock lock(mutex_);
        const Index::Place place = state_.find(key, h);
        if (!state_.is_unchanged(place ? place.slot() : no_slot, seen)) return false;
        erase_at(place, h, now, departures);
        return true;
    }

    /// Removes the entry that the caller saw, and protects, if it is still live and has the same
    /// value. Returns whether it was. Then dooms its key's loads.
    bool erase_seen(const Seen<V>& seen, Departures& departures) {
        const Lock lock(mutex_);
        if (!state_.live.contains(seen.slot) || !state_.is_unchanged(seen.slot, seen)) return false;
        const Hash h = state_.hash_of(seen.slot);
        erase_at(state_.index.place_of(h, seen.slot), h, no_time, departures);
        return true;
    }

    /// Removes the entry in s if it has expired by `now`; it need not be the one the caller saw.
    void expire(Slot s, std::int64_t now, Departures& departures) {
        const Lock lock(mutex_);
        if (!state_.live.contains(s) || state_.deadlines.at(s) > now) return;
        state_.withdraw(s, Removal::expired, departures);
        state_.account.give_back_surplus();
    }

    /// Withdraws the key's live entry for the caller alone, who must `retire` its slot in the end;
    /// returns the slot or `no_slot`. `may_take(item)` may throw to prevent it. Dooms the key's
    /// loads.
    template <class Q, class MayTake>
    Slot detach(const Q& key, Hash h, std::int64_t now, MayTake&& may_take,
                Departures& departures) {
        const Lock lock(mutex_);
        const Index::Place place = state_.find(key, h);
        const bool live = place && state_.deadlines.at(place.slot()) > now;
        if (live) may_take(state_.slab.at(place.slot()));
        if (!live) {
            erase_at(place, h, now, departures);
            return no_slot;
        }
        state_.tickets.doom(h);
        state_.unlink(place, h, Removal::erased);
        state_.account.give_back_surplus();
        return place.slot();
    }

    // ---- loads ---------------------------------------------------------------------------------

    void take_ticket(Ticket& ticket) noexcept {
        const Lock lock(mutex_);
        state_.tickets.add(ticket);
    }

    void return_ticket(Ticket& ticket) noexcept {
        const Lock lock(mutex_);
        state_.tickets.remove(ticket);
    }

    /// Dooms the loads of all keys of this shard.
    void doom_all() noexcept {
        const Lock lock(mutex_);
        state_.tickets.doom_all();
    }

    // ---- many entries, some at a time, so that nobody waits long for the lock
    // --------------------

    /// Removes live entries from slot `from` on; returns where to go on, or `no_slot` at the end.
    Slot clear_some(Slot from, std::size_t& removed, Departures& departures) {
        const Lock lock(mutex_);
        if (from == 0) state_.tickets.doom_all();
        std::size_t left = most_at_once;
        for (Slot s = state_.live.next(from); s != no_slot; s = state_.live.next(s + 1)) {
            if (left-- == 0 || departures.full_without_allocating()) return s;
            state_.withdraw(s, Removal::cleared, departures);
            ++removed;
        }
        state_.account.give_back_surplus();
        return no_slot;
    }

    /// Removes expired entries; returns whether there may be more.
    bool purge_some(std::int64_t now, std::size_t& removed, Departures& departures) {
        const Lock lock(mutex_);
        for (std::size_t left = most_at_once; left != 0 && !departures.full_without_allocating();
             --left) {
            const Slot s = state_.deadlines.expired(now, state_.live);
            if (s == no_slot) {
                state_.account.give_back_surplus();
                return false;
            }
            state_.withdraw(s, Removal::expired, departures);
            ++removed;
        }
        return true;
    }

    /// Evicts until the entries weigh at most `allowance`, and gives what that frees back to the
    /// ledger; returns whether it is done.
    bool shrink_some(Weight allowance, std::int64_t now, Departures& departures) {
        const Lock lock(mutex_);
        for (std::size_t left = most_at_once; left != 0 && state_.account.used() > allowance &&
                                              !departures.full_without_allocating();
             --left)
            state_.evict_one(now, departures);
        state_.account.give_back_beyond(allowance);
        return state_.account.used() <= allowance;
    }

    /// The first live entry at or after `from`, protected by `guard`, and its slot.
    Found next_live(Slot from, Guard& guard, std::int64_t now) {
        const Lock lock(mutex_);
        Slot s = state_.live.next(from);
        while (s != no_slot && state_.deadlines.at(s) <= now) s = state_.live.next(s + 1);
        if (s == no_slot) return {};
        // Live under the lock, so not yet withdrawn: who withdraws it will see the hazard.
        guard.protect(state_.slab.pointer(s));
        return {&state_.slab.at(s), s};
    }

    // ---- what left, after the lock -------------------------------------------------------------

    /// The entry in a slot that a call in progress holds or protects.
    Item& item(Slot s) noexcept { return state_.slab.at(s); }

    /// Slots that were reported, and now wait for their readers.
    void retire(const Departures& reported) noexcept {
        const Lock lock(mutex_);
        for (std::size_t i = 0; i < reported.size(); ++i)
            state_.retired.slots.add(reported[i].slot);
    }
    void retire(Slot s) noexcept {
        const Lock lock(mutex_);
        state_.retired.slots.add(s);
    }

    void reclaim() noexcept {
        drey::reclaim<Item, Sync>(state_.retired, state_.slab, mutex_, state_.context.readers);
    }

    /// Reclaims if that is due after an entry left for this cause.
    void reclaim_if_due(Removal cause) noexcept {
        {
            const Lock lock(mutex_);
            if (state_.retired.slots.size() == 0 || !state_.is_reclaim_due(cause)) return;
        }
        reclaim();
    }

    // ---- capacity and counts -------------------------------------------------------------------

    Weight allowance() const {
        const Lock lock(mutex_);
        return state_.account.allowance();
    }

    /// Gives back what the shard does not use; returns what it does.
    Weight give_back_unused() noexcept {
        const Lock lock(mutex_);
        state_.account.give_back_beyond(0);
        return state_.account.used();
    }

    void set_budget(Budget budget) {
        const Lock lock(mutex_);
        state_.policy.budget(budget);
    }

    std::size_t size() const {
        const Lock lock(mutex_);
        return state_.index.size();
    }

    /// How many slots ever held an entry: what the shard's memory is proportional to.
    std::size_t slots() const {
        const Lock lock(mutex_);
        return state_.slab.size();
    }

    void add_to(Stats& stats) const {
        const Lock lock(mutex_);
        state_.add_to(stats);
    }

    bool validate() const {
        const Lock lock(mutex_);
        return state_.validate();
    }

private:
    static constexpr std::size_t most_at_once = 256;
    static constexpr std::int64_t no_time = std::numeric_limits<std::int64_t>::min();

    /// `look` beyond the home group, or when a writer came between.
    template <class Q>
    [[gnu::noinline]] Found look_again(Guard& guard, const Q& key, Hash h) const {
        for (;;) {
            auto probe = state_.index.probe(h);
            while (probe.next()) {
                do {
                    const Item* item = state_.slab.pointer(probe.slot());
                    guard.protect(item);
                    if (state_.index.still_holds(probe.place())) {
                        if (state_.context.equal(item->key, key)) return {item, probe.slot()};
                        break;
                    }
                } while (state_.index.is_current(probe.table()) && probe.again());
            }
            if (state_.index.is_current(probe.table())) return {};
        }
    }

    bool erase_at(const Index::Place& place, Hash h, std::int64_t now,
                  Departures& departures) noexcept {
        state_.tickets.doom(h);
        if (!place) return false;
        const bool expired = state_.deadlines.at(place.slot()) <= now;
        state_.withdraw(place, h, expired ? Removal::expired : Removal::erased, departures);
        state_.account.give_back_surplus();
        return !expired;
    }

    State state_;
    mutable typename Sync::Mutex mutex_;
};

}  // namespace drey
