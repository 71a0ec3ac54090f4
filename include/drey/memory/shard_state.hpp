#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "drey/clock.hpp"
#include "drey/detail/assert.hpp"
#include "drey/detail/tickets.hpp"
#include "drey/hash.hpp"
#include "drey/memory/account.hpp"
#include "drey/memory/deadlines.hpp"
#include "drey/memory/departures.hpp"
#include "drey/memory/entry.hpp"
#include "drey/memory/entry_labels.hpp"
#include "drey/memory/notes.hpp"
#include "drey/memory/pending_hits.hpp"
#include "drey/memory/reclaim.hpp"
#include "drey/memory/table.hpp"
#include "drey/memory/write.hpp"
#include "drey/policy/driver.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

namespace drey {

/// What all shards of a store have in common.
template <class Hasher, class Equal, class Sync>
struct ShardContext {
    Hasher hasher;
    Equal equal;
    std::uint64_t salt;
    typename Sync::Readers& readers;
    Ledger& ledger;
    bool weighed;
    bool listens;               // departures are to be reported before they are retired
    PendingHits* pending_hits;  // null where hits do not wait for the lock
};

/// All that a shard's lock guards, and the steps of an entry's life that are taken under it. Every
/// call needs the lock, but for what readers do with `table`, `deadlines` and `policy`.
///
/// How an entry lives: it is moved into a free place of the table, its slot; published there;
/// withdrawn from table and policy; listed for the listener, if there is one; retired; and when no
/// reader protects it any more, destroyed (`reclaim`, without the lock) and its slot given back.
///
/// Invariants (checked by `validate`)
/// - The policy holds exactly the slots that are published.
/// - A slot is published, in `retired`, free, or held by a call in progress.
/// - The account's use is the sum of the live entries' weights.
/// - What its note says becomes stale does so before its deadline. Absences have no notes.
template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
class ShardState {
    static constexpr bool keeps_hash = !detail::CheapHash<Hasher, K>;

public:
    using Context = ShardContext<Hasher, Equal, Sync>;
    using Item = Entry<K, V, keeps_hash>;

    static constexpr bool lends_marks = PolicyDriver<Policy>::lends_marks;
    using Blocks = drey::Blocks<Item, lends_marks>;

    ShardState(Context& common, Blocks& blocks, std::uint32_t number, Budget budget,
               std::uint64_t seed)
        : context(common), table(blocks, number), account(common.ledger, common.weighed) {
        policy.seed(seed);
        policy.budget(budget);
    }
    ShardState(const ShardState&) = delete;
    ShardState& operator=(const ShardState&) = delete;

    ~ShardState() {
        if constexpr (!std::is_trivially_destructible_v<Item>) {
            const auto destroy = [&](Slot s) { std::destroy_at(table.address(s)); };
            for (Slot s = table.next(0); s != no_slot; s = table.next(s + 1)) destroy(s);
            retired.for_each(destroy);
        }
    }

    // What readers use without the lock: entries, marks, deadlines, notes and labels that never
    // move, and of a policy that marks, what hits call.
    Context& context;
    Table<Item, lends_marks> table;
    Deadlines deadlines;
    PolicyDriver<Policy> policy;
    Notes notes;  // last, as quick hits need neither it
    EntryLabels labels;

    // The rest is the lock's alone; it begins a cache line that readers do not touch.
    alignas(64) Account account;
    Retired<typename Sync::Readers::Moment> retired;
    Tickets tickets;

    template <class Q>
    Slot find(const Q& key, Hash h) const {
        return table.find(h, [&](const Item& item) { return context.equal(item.key, key); });
    }

    Hash hash_of(const Item& item) const noexcept {
        if constexpr (keeps_hash) {
            return item.hash;
        } else {
            return context.hasher(item.key, context.salt);
        }
    }
    [[gnu::always_inline]] Hash hash_of(Slot s) const noexcept { return hash_of(table.at(s)); }

    /// Whether the published entry in s, whose hash is h, is a value within its TTL.
    bool is_hit(Slot s, Hash h, std::int64_t now) const noexcept {
        return standing(deadlines.at(s), notes.at(s).fresh_until, table.is_absence(s, h), now) ==
                   Found::hit &&
               !labels.is_dropped(s);
    }

    /// Destroys retired entries; without the lock.
    void destroy(std::span<const Slot> slots) noexcept {
        if constexpr (!std::is_trivially_destructible_v<Item>)
            for (const Slot s : slots) std::destroy_at(table.address(s));
        if (labels.in_use())
            for (const Slot s : slots) labels.clear(s);
    }

    bool is_unchanged(Slot now, const Seen<V>& seen) const noexcept {
        if (now != seen.slot) return false;
        if (seen.was_hit && labels.is_dropped(now)) return false;
        if constexpr (ValueCell<V>::overwrites_in_place) {
            if (now == no_slot || !seen.value) return true;
            const V value = table.at(now).value.get(), was = *seen.value;
            return std::memcmp(&value, &was, sizeof(V)) == 0;
        }
        return true;
    }

    /// Moves `item` in, if the request's condition holds. Strong guarantee, but that a bad_alloc
    /// while making room for a heavy entry may come after some evictions. `item` is moved from only
    /// if the result is `yes` or it throws.
    [[gnu::always_inline]] Written write(Item& item, const WriteRequest<V>& request,
                                         Departures& departures) {
        const Hash h = request.hash;
        if (request.ticket != nullptr &&
            (request.ticket->doomed() ||
             (request.extras != nullptr && request.extras->labels != nullptr &&
              request.extras->labels->is_dropped())))
            return Written::doomed;
        Slot old = table.surely_lacks(h) ? no_slot : find(item.key, h);
        if (request.condition == WriteIf::absent && old != no_slot && is_hit(old, h, request.now))
            return Written::present;
        if (request.condition == WriteIf::unchanged && !is_unchanged(old, *request.seen))
            return Written::changed;
        if (old != no_slot && overwrites_in_place(old, request))
            return overwrite(old, item, request);

        // What may throw and changes nothing that can be seen.
        reserve_one(request.extras);
        if (!account.claim_for(request.weight, old, request.may_starve)) return Written::no_room;
        if (old == no_slot && !policy.admit(h, request.weight)) return Written::refused;
        const Slot fresh = make(std::move(item), h);

        // From here on nothing throws but the listing of more departures than usual.
        try {
            sweep(request.now, old, departures);
            make_room(request.weight, old, request.now, departures);
            if (context.listens && old != no_slot) departures.reserve_one();
        } catch (...) {
            retired.add(fresh);
            throw;
        }
        if (request.ticket == nullptr) tickets.doom(h);
        if (has_extras_) set_extras(fresh, request.extras);
        account.enter(fresh, request.weight);
        if (old != no_slot) {
            const bool reported = is_reported(old, h);
            const bool expired = deadlines.at(old) <= request.now;
            policy.moved(old, fresh, h, request.weight);
            table.replace(old, fresh, h, request.is_absence);
            leave(old, expired ? Removal::expired : Removal::replaced, reported, departures);
        } else {
            policy.inserted(fresh, h, request.weight);
            table.publish(fresh, h, request.is_absence);
        }
        ++insertions_;
        return Written::yes;
    }

    /// Takes a live entry out: nobody finds it any more. `unlink` leaves its slot to the caller.
    [[gnu::noinline]] void withdraw(Slot s, Hash h, Removal cause,
                                    Departures& departures) noexcept {
        policy.erased(s);
        hide(s, h, cause, departures);
    }
    void withdraw(Slot s, Removal cause, Departures& departures) noexcept {
        withdraw(s, hash_of(s), cause, departures);
    }
    void unlink(Slot s, Hash h, Removal cause) noexcept {
        policy.erased(s);
        table.withdraw(s, h);
        forget(s, cause);
    }

    /// Removes an expired entry or, if there is none, the policy's victim. Needs a live entry.
    /// `old` is about to be replaced, and is if the policy chooses it.
    Slot evict_one(std::int64_t now, Departures& departures, Slot old = no_slot) noexcept {
        if (deadlines.in_use())
            if (const Slot s = deadlines.expired(now, table); s != no_slot) {
                withdraw(s, Removal::expired, departures);
                return s;
            }
        LastHash hash_of(*this);
        const Slot victim = policy.evict(hash_of);
        if (!table.contains(victim))
            detail::broken("the eviction policy chose a slot that it does not hold");
        const Hash h = hash_of.slot == victim ? hash_of.hash : hash_of(victim);
        hide(victim, h, victim == old ? Removal::replaced : Removal::evicted, departures);
        return victim;
    }

    std::size_t label_count() const noexcept {
        std::size_t count = 0;
        for (Slot s = 0; s < labels.size(); ++s)
            if (const Labels::Set* set = labels.of(s)) count += set->size();
        return count;
    }

    /// What to reclaim after an entry left for this cause.
    Reclaim reclaim_due(Removal cause) const noexcept {
        return drey::reclaim_due<Item, Sync>(cause, retired, table.size(), account.allowance(),
                                             context.weighed);
    }

    void add_to(Stats& stats) const noexcept {
        stats.insertions += insertions_;
        for (std::size_t i = 0; i < removals_.size(); ++i) stats.removals[i] += removals_[i];
    }

    bool validate() const {
        std::size_t count = 0;
        Weight weight = 0;
        bool notes_hold = true;
        for (Slot s = table.next(0); s != no_slot; s = table.next(s + 1)) {
            weight += account.weight(s);
            ++count;
            const Note note = notes.at(s);
            const bool is_absence = table.is_absence(s, hash_of(s));
            notes_hold &=
                is_absence ? note.is_blank()
                           : note.fresh_until == no_deadline || note.fresh_until < deadlines.at(s);
        }
        bool retired_is_hidden = true;
        retired.for_each([&](Slot s) { retired_is_hidden &= !table.contains(s); });
        return retired_is_hidden && notes_hold && count == table.size() &&
               weight == account.used() && account.used() <= account.allowance() &&
               table.validate([&](Slot s) { return hash_of(s); }) && deadlines.validate(table) &&
               policy.validate();
    }

private:
    /// Tells a policy hashes, and knows the last one: most policies ask for their victim's.
    struct LastHash {
        explicit LastHash(const ShardState& its) noexcept : state(its) {}
        Hash operator()(Slot s) const noexcept {
            slot = s;
            return hash = state.hash_of(s);
        }
        const ShardState& state;
        mutable Slot slot = no_slot;
        mutable Hash hash = 0;
    };

    /// Makes sure that one more entry can be made, and every column has room for it.
    void reserve_one(const Extras* extras) {
        table.reserve_one();
        const std::size_t slots = table.end();
        if (slots != prepared_slots_) [[unlikely]]
            prepare(slots);
        if (extras != nullptr) grow_extras(slots, *extras);
    }
    [[gnu::noinline]] void prepare(std::size_t slots) {
        if constexpr (lends_marks)
            table.each_marks(marks_lent_, [&](const LentMarks& marks) {
                policy.lend(marks);
                marks_lent_ = marks.first + marks.count;
            });
        if (has_extras_) grow_extras(slots, {});
        policy.grow(slots);
        retired.grow(slots);
        account.grow(slots);
        prepared_slots_ = slots;
    }

    void grow_extras(std::size_t slots, const Extras& wanted) {
        has_extras_ = true;
        deadlines.grow(slots, wanted.deadline != no_deadline);
        notes.grow(slots, !wanted.note.is_blank());
        if (wanted.labels != nullptr || labels.in_use()) labels.grow(slots);
    }
    void set_extras(Slot s, const Extras* extras) noexcept {
        const Extras set = extras == nullptr ? Extras{} : *extras;
        deadlines.set(s, set.deadline);
        notes.set(s, set.note);
        labels.set(s, set.labels);
    }

    /// Moves the entry into a place that was reserved. Strong guarantee.
    Slot make(Item&& item, Hash h) {
        const Slot s = table.take(h);
        try {
            ::new (static_cast<void*>(table.address(s))) Item(std::move(item));
        } catch (...) {
            table.give_back(s);
            throw;
        }
        return s;
    }

    /// Whether a value is stored where the old one stands: it fits a word, nothing but it changes,
    /// and nobody wants to be told of the old one. What others overwrite without the lock must be:
    /// to replace it because of its value would lose theirs.
    bool overwrites_in_place(Slot old, const WriteRequest<V>& request) const noexcept {
        return ValueCell<V>::overwrites_in_place && !context.listens && !context.weighed &&
               request.extras == nullptr && !request.is_absence &&
               !table.is_absence(old, request.hash) && deadlines.at(old) == no_deadline &&
               notes.at(old).is_blank() && labels.of(old) == nullptr;
    }

    Written overwrite(Slot s, Item& item, const WriteRequest<V>& request) noexcept {
        if constexpr (ValueCell<V>::overwrites_in_place) {
            auto& value = table.at(s).value;
            // Others may be overwriting it without the lock.
            if (request.condition != WriteIf::unchanged || !request.seen->value) {
                value.set(item.value.get());
            } else if (!value.exchange(*request.seen->value, item.value.get())) {
                return Written::changed;
            }
            policy.hit(s, request.hash);
            if (request.ticket == nullptr) tickets.doom(request.hash);
            ++insertions_;
            ++removals_[static_cast<std::size_t>(Removal::replaced)];
        }
        return Written::yes;
    }

    /// Removes a few expired entries, so that they leave though nobody reads them.
    void sweep(std::int64_t now, Slot old, Departures& departures) {
        if (!deadlines.in_use()) [[likely]]
            return;
        for (int most = 2; most > 0; --most) {
            const Slot s = deadlines.expired(now, table);
            if (s == no_slot || s == old) return;
            if (context.listens) departures.reserve_one();
            withdraw(s, Removal::expired, departures);
        }
    }

    /// Evicts until w fits. `old`, the entry that it is to replace, counts as gone already; should
    /// the policy choose it, it is.
    void make_room(Weight w, Slot& old, std::int64_t now, Departures& departures) {
        while (!account.fits(w, old)) {
            if (context.listens) departures.reserve_one();
            if (evict_one(now, departures, old) == old) old = no_slot;
        }
    }

    /// Returns what it weighed.
    Weight forget(Slot s, Removal cause) noexcept {
        ++removals_[static_cast<std::size_t>(cause)];
        return account.leave(s);
    }

    /// Whether the listener is to be told when the published entry leaves: of values only.
    bool is_reported(Slot s, Hash h) const noexcept {
        return context.listens && !table.is_absence(s, h);
    }

    /// Hides an entry that the policy has forgotten. Inlined by force, as `leave` is: most entries
    /// leave by eviction, which is one function then.
    [[gnu::always_inline]] void hide(Slot s, Hash h, Removal cause,
                                     Departures& departures) noexcept {
        const bool reported = is_reported(s, h);
        table.withdraw(s, h);
        leave(s, cause, reported, departures);
    }

    /// The rest of an entry's leaving, once index and policy have forgotten it.
    [[gnu::always_inline]] void leave(Slot s, Removal cause, bool reported,
                                      Departures& departures) noexcept {
        // What took it away in truth is the invalidation of its label.
        const Removal told = has_extras_ && labels.is_dropped(s) ? Removal::erased : cause;
        retired.weight += forget(s, told);
        if (reported) {
            departures.add(s, told);
        } else {
            retired.add(s);
        }
        departures.reclaim = std::max(departures.reclaim, reclaim_due(cause));
    }

    std::size_t prepared_slots_ = 0;  // every column in use has room for these
    bool has_extras_ = false;         // whether any entry ever had
    std::size_t marks_lent_ = 0;      // of slots below
    std::uint64_t insertions_ = 0;
    std::array<std::uint64_t, removal_causes> removals_{};
};

}  // namespace drey
