#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/detail/tickets.hpp"
#include "drey/kept.hpp"
#include "drey/lookup.hpp"
#include "drey/memory/departures.hpp"
#include "drey/memory/gate.hpp"
#include "drey/memory/look.hpp"
#include "drey/memory/notes.hpp"
#include "drey/memory/pending_hits.hpp"
#include "drey/memory/reclaim.hpp"
#include "drey/memory/segment.hpp"
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
    using Segment = drey::Segment<typename State::Item, State::lends_marks>;
    class Lock;

public:
    using Context = typename State::Context;
    using Item = typename State::Item;

    using Blocks = typename State::Blocks;

    /// Must be destroyed when no other thread uses it any more.
    Shard(Context& context, Blocks& blocks, std::uint32_t number, Budget budget, std::uint64_t seed)
        : state_(context, blocks, number, budget, seed) {
        if (!can_overwrite_at_once || context.listens || context.weighed) {
            gate_.shut();
            gate_.close();
        }
    }

    // ---- reading, without the lock -------------------------------------------------------------

    using Found = FoundEntry<Item>;

    /// Finds the key's entry and protects it. What is there is found without a lock; who finds
    /// nothing looks again while the shard's writer is replacing an entry, and in the end waits for
    /// the lock. Throws what the key's equality throws.
    template <class Q>
    Found look(Guard& guard, const Q& key, Hash h) const {
        const Tag tag = tag_of(h);
        for (int attempt = 0; attempt < patience; ++attempt) {
            const auto replacements = state_.table.replacements();
            const bool absences = state_.table.has_absences();
            for (auto* segment = state_.table.newest(); segment != nullptr;
                 segment = segment->older()) {
                std::uint32_t group = segment->home(h);
                Found found = look_in_group(*segment, group, guard, key, tag);
                if (found.item == nullptr && absences) [[unlikely]]
                    found = look_for_absence(*segment, group, guard, key, h);
                if (found.item == nullptr && segment->overflows(group, h)) [[unlikely]] {
                    ProbePath path = segment->path(h);
                    while (found.item == nullptr && segment->overflows(group, h) && path.next()) {
                        group = path.group();
                        found = look_in_group(*segment, group, guard, key, tag);
                        if (found.item == nullptr && absences) [[unlikely]]
                            found = look_for_absence(*segment, group, guard, key, h);
                    }
                }
                if (found.item != nullptr) return found;
            }
            if (!state_.table.replaced_since(replacements)) return {};
        }
        const Lock lock(*this);
        const Slot s = state_.find(key, h);
        if (s == no_slot) return {};
        // Published under the lock, so not yet withdrawn: who withdraws it will see the hazard.
        guard.protect(state_.table.address(s));
        return {state_.table.address(s), s, state_.table.is_absence(s, h)};
    }

    /// Whether one look tells that the key with hash h has no entry, as it does of most that have
    /// none. Lock-free. Believed as `look` believes what it has not found: no entry was changing
    /// places meanwhile.
    bool surely_lacks(Hash h) const noexcept {
        const auto replacements = state_.table.replacements();
        return state_.table.surely_lacks(h) && !state_.table.replaced_since(replacements);
    }

    /// What there is to say of what was found, which the caller protects. Reads the clock only if
    /// time changes it.
    Reading reading(const Found& found, const ClockRef& clock) const {
        if (found.item == nullptr) return {.state = drey::Found::miss};
        if (state_.labels.in_use()) [[unlikely]]
            return reading_with_labels(found, clock);
        return reading_by_time(found, clock);
    }

    /// Whether all that a hit does is to touch a mark, and here and there to `sample`.
    static constexpr bool lends_marks = State::lends_marks;
    static void touch(Mark mark) noexcept { PolicyDriver<Policy>::touch(mark); }
    static constexpr bool has_samples = PolicyDriver<Policy>::has_samples;
    void sample(Hash h) noexcept { state_.policy.sample(h); }

    void sample_by(Hash factor) noexcept { state_.policy.sample_by(factor); }

    /// What hits `sample`, but for changes that other threads are making.
    Hash samples_below() const noexcept {
        const Lock lock(*this);
        return state_.policy.samples_below();
    }

    /// Whether hits wait for who takes the lock. (Where there is none, there is nothing to save.)
    static constexpr bool defers_hits = Policy::on_hit == OnHit::reorders && Sync::is_shared;

    /// Delivers a hit on an entry that the caller protects, at once: if it could wait, there was no
    /// room for it.
    void touch([[maybe_unused]] std::size_t lane, Slot s, Hash h) noexcept {
        if constexpr (defers_hits) {
            hit_under_lock(lane, s, h);
        } else if constexpr (lends_marks) {
            state_.policy.touch(state_.table.mark(s));
            sample(h);
        } else {
            state_.policy.hit(s, h);
        }
    }

    // ---- overwriting, without the lock ---------------------------------------------------------

    /// Whether values are changed in place, which is one store.
    static constexpr bool can_overwrite_at_once = ValueCell<V>::overwrites_in_place;
    static_assert(alignof(Item) % 2 == 0, "drey: hazards tell by odd addresses who is writing");

    /// Overwrites the value of an entry that the guard protects and whose place shows this tag.
    /// Whether it did: not if the entry is being withdrawn or the gate is shut.
    ///
    /// The put counts as done at the moment when it found the entry published with the gate open.
    /// Should the entry be withdrawn after that and before the store, then it was overwritten and
    /// at once withdrawn: nobody can tell. Who could, since it looks at the value it withdraws,
    /// shuts the gate first.
    template <class QuickGuard>
    [[gnu::always_inline]] bool overwrite_at_once(QuickGuard& guard, const Item* item,
                                                  const std::atomic<Tag>& shown, Tag tag,
                                                  V value) noexcept {
        guard.protect_to_write(item);
        if (shown.load(std::memory_order_acquire) != tag || !gate_.is_open()) [[unlikely]]
            return false;
        const_cast<Item*>(item)->value.set(value);
        return true;
    }

    /// From now on nobody overwrites without the lock. Needs `await_writers` and `close` after it.
    void shut_gate() noexcept { gate_.shut(); }
    void open_gate() noexcept { gate_.open(); }
    void close_gate() noexcept { gate_.close(); }

    /// While it lives, nobody overwrites an entry of the shard without its lock.
    class Shut {
    public:
        explicit Shut(Shard& shard) noexcept : gate_(shard.gate_) {
            gate_.shut();
            if (!gate_.is_closed()) shard.state_.context.readers.await_writers();
        }
        Shut(const Shut&) = delete;
        Shut& operator=(const Shut&) = delete;
        ~Shut() { gate_.open(); }

    private:
        Gate& gate_;
    };

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
        gate_.shut();
        const Lock lock(*this);
        state_.tickets.add(ticket);
    }

    void return_ticket(Ticket& ticket) noexcept {
        {
            const Lock lock(*this);
            state_.tickets.remove(ticket);
        }
        gate_.open();
    }

    /// The same of a watch.
    void begin_watch(Watch& watch) noexcept {
        gate_.shut();
        const Lock lock(*this);
        state_.tickets.add(watch);
    }

    void end_watch(Watch& watch) noexcept {
        {
            const Lock lock(*this);
            state_.tickets.remove(watch);
        }
        gate_.open();
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

    /// What is left of an entry that the caller protects, if anything is.
    std::optional<Kept> kept(const Found& found, const ClockRef& clock) const {
        const Deadline deadline = state_.deadlines.at(found.slot);
        const Note note = state_.notes.at(found.slot);
        const Deadline fresh_until = std::min(deadline, note.fresh_until);
        Kept kept{.load_cost = note.load_cost};
        if (const Labels::Set* labels = state_.labels.of(found.slot)) {
            if (labels->is_dropped()) return std::nullopt;
            kept.tags = labels->texts();
        }
        if (fresh_until == no_deadline) return kept;
        const std::int64_t now = clock.now();
        if (deadline <= now) return std::nullopt;
        kept.fresh_left = std::max<std::int64_t>(fresh_until - now, 0);
        kept.stale_left =
            deadline == no_deadline ? no_deadline : deadline - std::max(now, fresh_until);
        return kept;
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
    static constexpr int patience = 16;
    static constexpr std::size_t most_at_once = 256;
    static constexpr std::int64_t no_time = std::numeric_limits<std::int64_t>::min();

    Reading reading_by_time(const Found& found, const ClockRef& clock) const {
        const Deadline deadline = state_.deadlines.at(found.slot);
        const Note note = state_.notes.at(found.slot);
        const Deadline end = std::min(deadline, note.fresh_until);
        if (end == no_deadline)
            return {.state = found.is_absence ? drey::Found::absent : drey::Found::hit};
        const std::int64_t now = clock.now();
        return {.state = standing(deadline, note.fresh_until, found.is_absence, now),
                .left = end - now,
                .load_cost = std::chrono::nanoseconds(note.load_cost),
                .fresh_until = end};
    }

    [[gnu::noinline]] Reading reading_with_labels(const Found& found, const ClockRef& clock) const {
        const Labels::Set* labels = state_.labels.of(found.slot);
        if (labels == nullptr) return reading_by_time(found, clock);
        const TagTime before = labels->now();  // what is invalidated after this may go unseen
        if (labels->is_dropped()) return {.state = drey::Found::miss};
        Reading reading = reading_by_time(found, clock);
        reading.tags_hold = before;
        return reading;
    }

    template <class Protects, class Q>
    [[gnu::always_inline]] Found look_in_group(const Segment& segment, std::uint32_t group,
                                               Protects& guard, const Q& key, Tag tag) const {
        std::size_t cell = 0;
        const auto matches = [&](const Item& item) { return state_.context.equal(item.key, key); };
        const Item* item =
            look_in<Item>(segment.tags(), segment.cells(), group, guard, tag, matches, cell);
        if (item == nullptr) return {};
        return {item, segment.first() + static_cast<Slot>(cell)};
    }

    /// A function of its own, so that it costs those who find values nothing.
    template <class Q>
    [[gnu::noinline]] Found look_for_absence(const Segment& segment, std::uint32_t group,
                                             Guard& guard, const Q& key, Hash h) const {
        Found found = look_in_group(segment, group, guard, key, absent_tag_of(h));
        found.is_absence = true;
        return found;
    }

    bool erase_at(Slot s, Hash h, std::int64_t now, Departures& departures) noexcept {
        state_.tickets.doom(h);
        if (s == no_slot) return false;
        const bool is_hit = state_.is_hit(s, h, now);
        const bool expired = state_.deadlines.at(s) <= now;
        state_.withdraw(s, h, expired ? Removal::expired : Removal::erased, departures);
        state_.account.give_back_surplus();
        return is_hit;
    }

    /// Rather than wait for a writer, it loses the hit: exact with one thread, nearly so with many.
    [[gnu::noinline]] void hit_under_lock(std::size_t lane, Slot s, Hash h) noexcept {
        PendingHits& pending = *state_.context.pending_hits;
        pending.prepare(lane);
        if (!mutex_.try_lock()) return pending.threads_met();
        const Lock lock(*this, std::adopt_lock);
        // If it has left meanwhile the policy does not know it. It cannot be another entry's slot:
        // it is protected.
        if (state_.table.contains(s)) state_.policy.hit(s, h);
        pending.make_room(lane, state_.table.shard());
    }

    [[gnu::noinline]] void deliver_hits() noexcept {
        const auto deliver = [this](std::span<Slot> slots) {
            // As above, but for entries that nobody protects: what has taken an entry's slot is
            // hit in its place.
            const auto gone = std::remove_if(slots.begin(), slots.end(),
                                             [&](Slot s) { return !state_.table.contains(s); });
            const std::span<const Slot> held(slots.begin(), gone);
            state_.policy.prefetch(held);
            for (const Slot s : held) state_.policy.hit(s, state_.hash_of(s));
        };
        state_.context.pending_hits->deliver(state_.table.shard(), deliver);
    }

    Gate gate_;  // first, and alone with what readers read
    State state_;
    mutable typename Sync::Mutex mutex_;
};

/// The one way to the shard's lock. Who could change what it guards has first, with it, told the
/// policy of the hits that wait for that; who has the shard as const only reads, and leaves them.
template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
class Shard<K, V, Policy, Hasher, Equal, Sync>::Lock {
public:
    explicit Lock(const Shard& shard) noexcept : mutex_(shard.mutex_) { mutex_.lock(); }
    explicit Lock(Shard& shard) noexcept : Lock(std::as_const(shard)) {
        if constexpr (defers_hits) shard.deliver_hits();
    }
    /// For who has locked it.
    Lock(Shard& shard, std::adopt_lock_t) noexcept : mutex_(shard.mutex_) {
        if constexpr (defers_hits) shard.deliver_hits();
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() { mutex_.unlock(); }

private:
    typename Sync::Mutex& mutex_;
};

}  // namespace drey
