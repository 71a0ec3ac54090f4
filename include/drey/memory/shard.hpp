#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "drey/detail/tickets.hpp"
#include "drey/memory/departures.hpp"
#include "drey/memory/reclaim.hpp"
#include "drey/memory/unlocked_shard.hpp"
#include "drey/memory/write.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

namespace drey {

/// One part of the store: a lock, what it guards, and what readers do without it.
///
/// Hits take no lock: see `UnlockedShard`. Writers take the shard's, for one step or a bounded
/// batch of them. Under it run no destructors, listeners, loaders, weighers or hashes of the user:
/// only the key's equality and the move constructors of key and value.
template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
class Shard : public UnlockedShard<K, V, Policy, Hasher, Equal, Sync> {
    using Base = UnlockedShard<K, V, Policy, Hasher, Equal, Sync>;
    using Base::mutex_;
    using Base::state_;
    using typename Base::Guard;
    using typename Base::Lock;

public:
    using Base::Base;
    using Base::open_gate;
    using Base::shut_gate;
    using typename Base::Found;
    using typename Base::Item;
    using typename Base::Shut;

    // ---- one key, under the lock ---------------------------------------------------------------

    [[gnu::always_inline]] Written write(Item& item, const WriteRequest<V>& request,
                                         Departures& departures) {
        const Lock lock(*this);
        return state_.write(item, request, departures);
    }

    /// Removes the key's entry. Returns whether it was a hit. Dooms the key's loads.
    template <class Q>
    bool erase(const Q& key, Hash h, std::int64_t now, Departures& departures) {
        const Lock lock(*this);
        return erase_at(state_.find(key, h), h, now, departures);
    }

    /// Removes the key's entry if it is what the caller saw. Returns whether it was. Dooms the
    /// key's loads.
    template <class Q>
    bool erase_unchanged(const Q& key, Hash h, const Seen<V>& seen, std::int64_t now,
                         Departures& departures) {
        const Shut shut(*this);
        const Lock lock(*this);
        const Slot s = state_.find(key, h);
        if (!state_.is_unchanged(s, seen)) return false;
        erase_at(s, h, now, departures);
        return true;
    }

    /// Removes the entry that the caller saw, and protects, if it is still live and has the same
    /// value. Returns whether it was. Then dooms its key's loads. The gate must be shut.
    bool erase_seen(const Seen<V>& seen, Departures& departures) {
        const Lock lock(*this);
        if (!state_.table.contains(seen.slot) || !state_.is_unchanged(seen.slot, seen))
            return false;
        erase_at(seen.slot, state_.hash_of(seen.slot), no_time, departures);
        return true;
    }

    /// Removes the entry in s if it has expired by `now`, or its label was invalidated; it need not
    /// be the one the caller saw.
    void expire(Slot s, std::int64_t now, Departures& departures) {
        const Lock lock(*this);
        if (!state_.table.contains(s)) return;
        if (state_.deadlines.at(s) > now && !state_.labels.is_dropped(s)) return;
        state_.withdraw(s, Removal::expired, departures);
        state_.account.give_back_surplus();
    }

    /// Withdraws the key's entry if it is a hit, for the caller alone, who must `retire` its slot
    /// in the end; returns the slot or `no_slot`. `may_take(item)` may throw to prevent it. Dooms
    /// the key's loads.
    template <class Q, class MayTake>
    Slot detach(const Q& key, Hash h, std::int64_t now, MayTake&& may_take,
                Departures& departures) {
        const Lock lock(*this);
        const Slot s = state_.find(key, h);
        if (s == no_slot || !state_.is_hit(s, h, now)) {
            erase_at(s, h, now, departures);
            return no_slot;
        }
        may_take(state_.table.at(s));
        state_.tickets.doom(h);
        state_.unlink(s, h, Removal::erased);
        state_.account.give_back_surplus();
        return s;
    }

    // ---- loads ---------------------------------------------------------------------------------

    /// While a ticket is out, puts must take the lock to doom it. One that is past the gate already
    /// began before the load, and may come before it or after it.
    void take_ticket(Ticket& ticket) noexcept {
        shut_gate();
        const Lock lock(*this);
        state_.tickets.add(ticket);
    }

    void return_ticket(Ticket& ticket) noexcept {
        {
            const Lock lock(*this);
            state_.tickets.remove(ticket);
        }
        open_gate();
    }

    /// The same of a watch.
    void begin_watch(Watch& watch) noexcept {
        shut_gate();
        const Lock lock(*this);
        state_.tickets.add(watch);
    }

    void end_watch(Watch& watch) noexcept {
        {
            const Lock lock(*this);
            state_.tickets.remove(watch);
        }
        open_gate();
    }

    bool has_seen(const Watch& watch, Hash h) const noexcept {
        const Lock lock(*this);
        return watch.has_seen(h);
    }

    /// Dooms the loads of all keys of this shard.
    void doom_all() noexcept {
        const Lock lock(*this);
        state_.tickets.doom_all();
    }

    // ---- many entries, some at a time: nobody waits long for the lock --------------------------

    /// Removes live entries from slot `from` on; returns where to go on, or `no_slot` at the end.
    Slot clear_some(Slot from, std::size_t& removed, Departures& departures) {
        const Lock lock(*this);
        if (from == 0) state_.tickets.doom_all();
        std::size_t left = most_at_once;
        for (Slot s = state_.table.next(from); s != no_slot; s = state_.table.next(s + 1)) {
            if (left-- == 0 || departures.full_without_allocating()) return s;
            state_.withdraw(s, Removal::cleared, departures);
            ++removed;
        }
        state_.account.give_back_surplus();
        return no_slot;
    }

    /// Removes expired entries; returns whether there may be more.
    bool purge_some(std::int64_t now, std::size_t& removed, Departures& departures) {
        const Lock lock(*this);
        for (std::size_t left = most_at_once; left != 0 && !departures.full_without_allocating();
             --left) {
            const Slot s = state_.deadlines.expired(now, state_.table);
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
        const Lock lock(*this);
        for (std::size_t left = most_at_once; left != 0 && state_.account.used() > allowance &&
                                              !departures.full_without_allocating();
             --left)
            state_.evict_one(now, departures);
        state_.account.give_back_beyond(allowance);
        return state_.account.used() <= allowance;
    }

    /// The first entry at or after `from` that is a hit, protected by `guard`, and its slot.
    Found next_live(Slot from, Guard& guard, std::int64_t now) {
        const Lock lock(*this);
        Slot s = state_.table.next(from);
        while (s != no_slot && !state_.is_hit(s, state_.hash_of(s), now))
            s = state_.table.next(s + 1);
        if (s == no_slot) return {};
        // Live under the lock, so not yet withdrawn: who withdraws it will see the hazard.
        guard.protect(state_.table.address(s));
        return {state_.table.address(s), s};
    }

    /// An entry as it was found once, to be found again.
    struct Listed {
        Hash hash;
        Slot slot;
        std::uint8_t hits;  // that the policy knows of
    };

    /// All entries, values or not, in the order in which the policy should see them inserted.
    /// Copied under the lock, in one go.
    std::vector<Listed> in_order() {
        std::vector<Listed> order;
        order.reserve(size());
        const auto add = [&](Slot s, unsigned hits) {
            constexpr unsigned most = std::numeric_limits<std::uint8_t>::max();
            order.push_back(
                {state_.hash_of(s), s, static_cast<std::uint8_t>(std::min(hits, most))});
        };
        const Lock lock(*this);
        if (!state_.policy.each_in_order(add))
            for (Slot s = state_.table.next(0); s != no_slot; s = state_.table.next(s + 1))
                add(s, 0);
        return order;
    }

    /// Finds an entry again, wherever it was moved by being overwritten, and protects it.
    Found look_again(const Listed& listed, Guard& guard) const {
        const Hash h = listed.hash;
        const Lock lock(*this);
        Slot s = listed.slot;
        if (!state_.table.contains(s) || state_.hash_of(s) != h)
            s = state_.table.find(h, [&](const Item& item) { return state_.hash_of(item) == h; });
        if (s == no_slot) return {};
        guard.protect(state_.table.address(s));
        return {state_.table.address(s), s, state_.table.is_absence(s, h)};
    }

    // ---- what left, after the lock -------------------------------------------------------------

    /// The entry in a slot that a call in progress holds or protects.
    Item& item(Slot s) noexcept { return state_.table.at(s); }

    /// Slots that were reported, and now wait for their readers.
    void retire(const Departures& reported) noexcept {
        const Lock lock(*this);
        for (std::size_t i = 0; i < reported.size(); ++i) state_.retired.add(reported[i].slot);
    }
    void retire(Slot s) noexcept {
        const Lock lock(*this);
        state_.retired.add(s);
    }

    void reclaim(Reclaim how_much) noexcept {
        drey::reclaim<Sync>(how_much, state_.retired, state_.table, mutex_, state_.context.readers,
                            [this](std::span<const Slot> slots) { state_.destroy(slots); });
    }

    /// Reclaims if that is due after an entry left for this cause.
    void reclaim_if_due(Removal cause) noexcept {
        Reclaim due = Reclaim::nothing;
        {
            const Lock lock(*this);
            if (state_.retired.size() != 0) due = state_.reclaim_due(cause);
        }
        if (due != Reclaim::nothing) reclaim(due);
    }

    // ---- capacity and counts -------------------------------------------------------------------

    Weight allowance() const {
        const Lock lock(*this);
        return state_.account.allowance();
    }

    /// Gives back what the shard does not use; returns what it does.
    Weight give_back_unused() noexcept {
        const Lock lock(*this);
        state_.account.give_back_beyond(0);
        return state_.account.used();
    }

    void set_budget(Budget budget) {
        const Lock lock(*this);
        state_.policy.budget(budget);
    }

    std::size_t size() const {
        const Lock lock(*this);
        return state_.table.size();
    }

    /// How many labels the entries have, each as often as an entry has it; for tests. Linear.
    std::size_t labels() const {
        const Lock lock(*this);
        return state_.label_count();
    }

    /// How many slots hold an entry, live or retired.
    std::size_t slots() const {
        const Lock lock(*this);
        return state_.table.taken();
    }

    /// All slots are below, until the table grows.
    std::size_t slots_end() const {
        const Lock lock(*this);
        return state_.table.end();
    }

    void add_to(Stats& stats) const {
        const Lock lock(*this);
        state_.add_to(stats);
    }

    bool validate() const {
        const Lock lock(*this);
        return state_.validate();
    }

private:
    static constexpr std::size_t most_at_once = 256;
    static constexpr std::int64_t no_time = std::numeric_limits<std::int64_t>::min();

    bool erase_at(Slot s, Hash h, std::int64_t now, Departures& departures) noexcept {
        state_.tickets.doom(h);
        if (s == no_slot) return false;
        const bool is_hit = state_.is_hit(s, h, now);
        const bool expired = state_.deadlines.at(s) <= now;
        state_.withdraw(s, h, expired ? Removal::expired : Removal::erased, departures);
        state_.account.give_back_surplus();
        return is_hit;
    }
};

}  // namespace drey
