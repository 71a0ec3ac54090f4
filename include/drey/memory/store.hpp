#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/detail/fixed_array.hpp"
#include "drey/detail/tickets.hpp"
#include "drey/kept.hpp"
#include "drey/lookup.hpp"
#include "drey/memory/quick_store.hpp"
#include "drey/memory/write.hpp"
#include "drey/options.hpp"

namespace drey {

/// The in-process store: what the facade's calls do to entries. Thread-safe if `Sync` is Shared.
///
/// A value is fresh, then perhaps stale, then gone; a key may also hold an absence, the news that
/// there is no such row. Where it says "live" below, it means a fresh value: stale values and
/// absences are seen by `find`, `look` and `prepare` only. Writes and removals remove them.
template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
class Store : public QuickStore<K, V, Policy, Hasher, Equal, Sync> {
    using Base = QuickStore<K, V, Policy, Hasher, Equal, Sync>;
    using Base::advise_of_hit;
    using Base::advise_of_miss;
    using Base::counters_;
    using Base::each_live;
    using Base::erase_unchanged;
    using Base::expire;
    using Base::expiry_;
    using Base::finish;
    using Base::hit_at_once;
    using Base::missed_at_once;
    using Base::notify;
    using Base::options_;
    using Base::overwrite_at_once;
    using Base::readers_;
    using Base::shard_number;
    using Base::shard_of;
    using Base::shards_;
    using Base::touch;
    using Base::write;
    using typename Base::Guard;
    using typename Base::Item;
    using typename Base::Part;
    using typename Base::QuickGuard;
    template <class Q>
    using AsArgument = typename Base::template AsArgument<Q>;
    template <class T>
    using AsRvalue = typename Base::template AsRvalue<T>;

public:
    using Base::Base;
    using Base::hash;

    // ---- reading -------------------------------------------------------------------------------

    /// Calls `use(value)` with the key's live value, in place, without a lock. Returns whether
    /// there was one. Counts a hit or a miss.
    template <class Q, class Use>
    [[gnu::always_inline]] bool read(const Q& key, Hash h, Use&& use) {
        {
            QuickGuard guard(readers_);
            if (const Item* item = hit_at_once(guard, key, h)) [[likely]] {
                std::invoke(use, item->value.get());
                return true;
            }
        }
        if (missed_at_once(h)) return false;
        const auto if_hit = [&](const V& value, const Reading&) { std::invoke(use, value); };
        return look_with_care<Asks::for_live_value, AsArgument<Q>>(key, h, if_hit) == Found::hit;
    }

    template <class Q, class Use>
    [[gnu::always_inline]] bool read(const Q& key, Use&& use) {
        return read(key, hash(key), std::forward<Use>(use));
    }

    /// A copy of the key's live value.
    template <class Q>
    [[gnu::always_inline]] std::optional<V> get(const Q& key) {
        const Hash h = hash(key);
        if constexpr (std::is_scalar_v<V>) {
            // The optional is made of registers, at one place: put together from two, it would be
            // written to memory and read back in one piece, for which processors wait.
            ScalarResult result{};
            if (!get_at_once(key, h, result) && !missed_at_once(h)) [[unlikely]]
                result = get_with_care<AsArgument<Q>>(key, h);
            return result.found ? std::optional<V>(result.value) : std::nullopt;
        } else {
            std::optional<V> found;
            read(key, h, [&](const V& value) { found.emplace(value); });
            return found;
        }
    }

    /// What `look` does, as an answer of its own.
    template <class Q>
    Lookup<V> find(const Q& key) {
        std::optional<V> value;
        const auto copy = [&](const V& found, const Reading&) { value.emplace(found); };
        switch (look(key, Attempt(*this, key), copy)) {
            case Found::hit:
                return Lookup<V>::hit(*std::move(value));
            case Found::stale:
                return Lookup<V>::stale(*std::move(value));
            case Found::absent:
                return Lookup<V>::absent();
            default:
                return Lookup<V>::miss();
        }
    }

    /// What the key has; calls `use(value)` with a live value. Neither a hit nor a miss, to the
    /// counters or to the policy.
    template <class Q, class Use>
    Found peek(const Q& key, Hash h, Use&& use) {
        Guard guard(readers_);
        Part& shard = shard_of(h);
        const auto found = shard.look(guard, key, h);
        const Found state = shard.reading(found, expiry_.clock()).state;
        if (state == Found::hit) std::invoke(std::forward<Use>(use), found.item->value.get());
        return state;
    }

    /// Whether the key has a live value. Neither a hit nor a miss.
    template <class Q>
    bool contains(const Q& key) {
        return peek(key, hash(key), [](const V&) {}) == Found::hit;
    }

    // ---- writing -------------------------------------------------------------------------------

    /// Stores the value under the terms that `terms()` makes, which have no TTL and no tags of
    /// their own. It is only called if they make a difference.
    template <std::invocable MakeTerms>
    [[gnu::always_inline]] bool put(K&& key, V&& value, MakeTerms&& terms) {
        const Hash h = hash(std::as_const(key));
        if constexpr (Part::can_overwrite_at_once)
            if (expiry_.is_never_by_default() && overwrite_at_once(std::as_const(key), h, value))
                [[likely]]
                return true;
        return put_with_care<AsRvalue<K>, AsRvalue<V>>(std::move(key), std::move(value), h, terms);
    }

    /// Stores the value if the condition holds; whether it did.
    bool put(K&& key, V&& value, const Terms& terms, WriteIf condition) {
        const Hash h = hash(std::as_const(key));
        if constexpr (Part::can_overwrite_at_once)
            if (condition == WriteIf::always && expiry_.is_never(terms) && terms.tags.empty() &&
                overwrite_at_once(std::as_const(key), h, value))
                return true;
        return put(std::move(key), std::move(value), h, terms, condition, nullptr);
    }

    bool put(K&& key, V&& value, Hash h, const Terms& terms, WriteIf condition,
             const Ticket* ticket, TagTime obtained_at = any_tag_time) {
        Item item(std::move(key), std::move(value), h);
        WriteRequest<V> request{
            .hash = h, .obtained_at = obtained_at, .condition = condition, .ticket = ticket};
        return write(item, request, terms) == Written::yes;
    }

    /// Replaces the key's value by what `change(optional<V>)` returns for it; nothing removes it.
    /// Returns whether the key has a value now.
    template <class Change>
    bool update(K&& key, Change&& change, const Terms& terms) {
        const Hash h = hash(std::as_const(key));
        std::optional<K> own(std::move(key));
        for (;;)
            if (const auto has_value = try_update(own, h, change, terms)) {
                shard_of(h).reclaim_if_due(*has_value ? Removal::replaced : Removal::erased);
                return *has_value;
            }
    }

    /// Removes the key's entry and returns its value if it is live, moved if nobody else is reading
    /// it.
    template <class Q>
    std::optional<V> take(const Q& key) {
        const Hash h = hash(key);
        Part& shard = shard_of(h);
        Departures departures;
        const typename Part::Shut shut(shard);
        const Slot s = shard.detach(
            key, h, expiry_.now(),
            [&](const Item& item) {
                if (!std::is_copy_constructible_v<V> && readers_.held_by_me(&item))
                    throw std::logic_error(
                        "drey: take of a move-only value that the caller itself is visiting");
            },
            departures);
        finish(shard, departures);
        if (s == no_slot) return std::nullopt;

        struct Retire {
            Part& shard;
            Slot slot;
            ~Retire() {
                shard.retire(slot);
                shard.reclaim(Reclaim::all);
            }
        } retire{shard, s};
        Item& item = shard.item(s);
        if (options_.on_removal) notify(item, Removal::erased);
        for (;;) {
            const auto held = readers_.held();
            if (!held.contains(&item)) return std::optional<V>(item.value.take());
            if constexpr (std::is_copy_constructible_v<V>) {
                return std::optional<V>(item.value.get());
            } else {
                std::this_thread::yield();
            }
        }
    }

    /// Removes the live entries for which `pred(key, value)` holds; returns how many.
    template <class Pred>
    std::size_t erase_if(Pred&& pred) {
        std::size_t erased = 0;
        const struct AtTheEnd {  // also when pred throws
            Store& store;
            ~AtTheEnd() {
                for (Part& shard : store.shards_) shard.open_gate();
                store.synchronize();
            }
        } at_the_end{*this};
        for (Part& shard : shards_) shard.shut_gate();
        readers_.await_writers();
        for (Part& shard : shards_) shard.doom_all();
        each_live([&](Part& shard, Slot s, const Item& item) {
            const auto& value = item.value.get();
            Seen<V> seen{s, true};
            if constexpr (ValueCell<V>::overwrites_in_place) seen.value = value;
            if (!std::invoke(pred, item.key, value)) return;
            Departures departures;
            if (shard.erase_seen(seen, departures)) ++erased;
            departures.reclaim = Reclaim::nothing;  // all at once, at the end
            finish(shard, departures);
        });
        return erased;
    }

    // ---- loads ---------------------------------------------------------------------------------

    /// What a load of the key with hash h holds while it runs.
    class LoadTicket : public TicketOf<Part> {
    public:
        LoadTicket(Store& store, Hash h) noexcept
            : TicketOf<Part>(store.shard_of(h), h), taken_at_(store.tag_time()) {}

        /// Before the loader runs: what is invalidated after this dooms what has its tag.
        TagTime taken_at() const noexcept { return taken_at_; }

    private:
        const TagTime taken_at_;
    };

    /// One call's way from the look-up that misses to the fill: here it is the hash.
    class Attempt {
    public:
        template <class Q>
        Attempt(const Store& store, const Q& key, Counts counts = Counts::yes)
            : hash_(store.hash(key)), counts_(counts) {}
        Hash hash() const noexcept { return hash_; }
        Counts counts() const noexcept { return counts_; }

    private:
        Hash hash_;
        Counts counts_;
    };

    /// What the key has, for who loads: calls `use(value, reading)` with a value, in place, without
    /// a lock, be it live or stale. If it counts, it is a hit if that spares a load, else a miss.
    template <class Q, class Use>
    Found look(const Q& key, const Attempt& attempt, Use&& use) {
        Found found = Found::hit;
        const auto use_for_good = [&](const V& value) { std::invoke(use, value, Reading{}); };
        if (attempt.counts() == Counts::no || !look_at_once(key, attempt, use_for_good))
            found = look_closely(key, attempt, use);
        return found;
    }

    /// The first half of `look`: calls `use(value)` and says yes if the value is what most hits
    /// are, and will not expire. Else nothing has happened, and the other half is to be asked.
    template <class Q, class Use>
    [[gnu::always_inline]] bool look_at_once(const Q& key, const Attempt& attempt, Use&& use) {
        QuickGuard guard(readers_);
        const Item* item = hit_at_once(guard, key, attempt.hash());
        if (item == nullptr) [[unlikely]]
            return false;
        std::invoke(use, item->value.get());
        return true;
    }

    template <class Q, class Use>
    Found look_closely(const Q& key, const Attempt& attempt, Use&& use) {
        if (attempt.counts() == Counts::yes && missed_at_once(attempt.hash())) return Found::miss;
        return look_with_care<Asks::for_all, AsArgument<Q>>(key, attempt.hash(), use,
                                                            attempt.counts());
    }

    /// Whether another load has stored something since the look-up that missed: a value, with which
    /// it calls `use(value)`, or an absence. Else whether there is a stale value.
    template <class Use>
    Found prepare(const LoadTicket&, const K& key, const Attempt& attempt, LoadFor why, Use&& use) {
        if (why == LoadFor::refresh) return Found::miss;
        return peek(key, attempt.hash(), std::forward<Use>(use));
    }

    void give_up(const LoadTicket&, const Attempt&) noexcept {}

    /// Stores what was loaded, unless the ticket is doomed; whether it did.
    bool fill(const LoadTicket& ticket, K&& key, V&& value, const Terms& terms, const Attempt&) {
        return put(std::move(key), std::move(value), ticket.ticket().hash(), terms, WriteIf::always,
                   &ticket.ticket(), ticket.taken_at());
    }

    /// Stores that there is no such row, in place of whatever is there, unless the ticket is
    /// doomed; whether it did.
    bool fill_absent(const LoadTicket& ticket, K&& key, const Terms& terms, const Attempt&) {
        const Hash h = ticket.ticket().hash();
        Item item(std::move(key), NoValue{}, h);
        WriteRequest<V> request{.hash = h,
                                .is_absence = true,
                                .obtained_at = ticket.taken_at(),
                                .ticket = &ticket.ticket()};
        return write(item, request,
                     {.ttl = terms.ttl, .jitter = terms.jitter, .tags = terms.tags}) ==
               Written::yes;
    }

    // ---- snapshots -----------------------------------------------------------------------------

    /// Calls `f(key, value, kept)` for each entry that has not expired, without a lock; the value
    /// is a null pointer if there is no such row. In the policy's order; shards take turns so that
    /// what is old in one comes with what is old in the others.
    template <class F>
    void each_in_order(F&& f) {
        std::vector<std::vector<typename Part::Listed>> orders;
        std::uint64_t rounds = 0;
        for (Part& shard : shards_) {
            orders.push_back(shard.in_order());
            rounds = std::max<std::uint64_t>(rounds, orders.back().size());
        }
        for (std::uint64_t round = 0; round < rounds; ++round)
            for (std::size_t i = 0; i < orders.size(); ++i) {
                const std::uint64_t size = orders[i].size();
                const std::uint64_t at = round * size / rounds;
                if (at == (round + 1) * size / rounds) continue;  // a smaller shard waits
                Guard guard(readers_);
                const auto& listed = orders[i][static_cast<std::size_t>(at)];
                const auto found = shards_[i].look_again(listed, guard);
                if (found.item == nullptr) continue;
                std::optional<Kept> kept = shards_[i].kept(found, expiry_.clock());
                if (!kept) continue;
                kept->hits = listed.hits;
                if (found.is_absence) {
                    f(found.item->key, static_cast<const V*>(nullptr), *kept);
                } else {
                    const auto& value = found.item->value.get();
                    f(found.item->key, std::addressof(value), *kept);
                }
            }
    }

    /// One `restore` of many entries, from its beginning, of a cache that others use meanwhile:
    /// what they write and remove from then on is newer than any of them.
    class Restoring {
    public:
        explicit Restoring(Store& store)
            : tags_hold_(store.tag_time()), watches_(store.shards_.size(), [&](std::size_t i) {
                  return WatchOf<Part>(store.shards_[i]);
              }) {}

    private:
        friend class Store;
        const TagTime tags_hold_;
        detail::FixedArray<WatchOf<Part>> watches_;
    };

    /// Stores what was kept of a value, or of the news that there is no such row, unless anything
    /// is known of the key that has not expired; whether it did. Loads in flight go on, and will
    /// overwrite it: what they bring is newer.
    bool restore(K&& key, std::optional<V>&& value, const Kept& kept, const Restoring& since) {
        const Hash h = hash(std::as_const(key));
        const LoadTicket ticket(*this, h);  // an erase from now on wins, as one before does
        if (since.watches_[shard_number(h)].has_seen(h)) return false;
        Part& shard = shard_of(h);
        Guard guard(readers_);
        const auto found = shard.look(guard, std::as_const(key), h);
        if (shard.reading(found, expiry_.clock()).state != Found::miss) return false;
        const Seen<V> seen{found.slot};
        WriteRequest<V> request{.hash = h,
                                .is_absence = !value,
                                .obtained_at = since.tags_hold_,
                                .condition = WriteIf::unchanged,
                                .seen = &seen,
                                .ticket = &ticket.ticket()};
        Item item =
            value ? Item(std::move(key), *std::move(value), h) : Item(std::move(key), NoValue{}, h);
        const Terms terms{.ttl = std::chrono::nanoseconds(kept.fresh_left),
                          .jitter = 0.0,
                          .stale_for = std::chrono::nanoseconds(kept.stale_left),
                          .load_cost = std::chrono::nanoseconds(kept.load_cost),
                          .tags = kept.tags};
        if (write(item, request, terms) != Written::yes) return false;
        if (kept.hits == 0) return true;
        const auto mine = shard.look_again({h, no_slot, 0}, guard);
        if (mine.item != nullptr)
            for (unsigned hits = 0; hits < kept.hits; ++hits) touch(guard.lane(), mine.slot, h);
        return true;
    }

    // ---- the rest ------------------------------------------------------------------------------

    /// Calls `f(key, value)` for each live value, without a lock.
    template <class F>
    void for_each(F&& f) {
        each_live(
            [&](Part&, Slot, const Item& item) { std::invoke(f, item.key, item.value.get()); });
    }

private:
    /// The other half. A function of its own, as `get_with_care` is.
    template <class Key, class Value, class MakeTerms>
    [[gnu::noinline]] bool put_with_care(Key key, Value value, Hash h, MakeTerms terms) {
        if (!expiry_.is_never_by_default())
            return put(std::move(key), std::move(value), h, terms(), WriteIf::always, nullptr);
        Item item(std::move(key), std::move(value), h);
        WriteRequest<V> request{.hash = h, .now = expiry_.now()};
        return this->keep_here(item, request) == Written::yes;
    }

    /// What a look-up wants to know. To who asks for a live value, all else is a miss.
    enum class Asks { for_live_value, for_all };

    /// The other half of `read` and `look`, for all cases. A function of its own, so that it costs
    /// hits no registers.
    template <Asks asks, class Argument, class Use>
    [[gnu::noinline]] Found look_with_care(Argument key, Hash h, Use& use,
                                           Counts counts = Counts::yes) {
        Part& shard = shard_of(h);
        Slot expired = no_slot;
        {
            Guard guard(readers_);
            const auto found = shard.look(guard, key, h);
            const Reading reading = shard.reading(found, expiry_.clock());
            if (reading.state == Found::hit) {
                if (counts == Counts::yes) {
                    counters_.hit(guard.lane());
                    advise_of_hit(guard.lane(), h);
                }
                touch(guard.lane(), found.slot, h);
                std::invoke(use, found.item->value.get(), reading);
                return Found::hit;
            }
            if (asks == Asks::for_all && reading.state == Found::absent) {
                if (counts == Counts::yes) {
                    counters_.absent_hit(guard.lane());
                    advise_of_hit(guard.lane(), h);
                }
                touch(guard.lane(), found.slot, h);
                return Found::absent;
            }
            if (counts == Counts::yes) {
                counters_.miss(guard.lane());
                advise_of_miss(guard.lane(), h,
                               found.item ? Sampled::found_stale : Sampled::looked_up);
            }
            if (asks == Asks::for_all && reading.state == Found::stale) {
                touch(guard.lane(), found.slot, h);  // it is of use, though a load would be of more
                std::invoke(use, found.item->value.get(), reading);
                return Found::stale;
            }
            if (reading.state == Found::miss) expired = found.slot;
        }
        if (expired != no_slot) [[unlikely]]
            expire(shard, expired);
        return Found::miss;
    }

    struct ScalarResult {
        V value;
        bool found;
    };

    template <class Q>
    [[gnu::always_inline]] bool get_at_once(const Q& key, Hash h, ScalarResult& result) {
        QuickGuard guard(readers_);
        const Item* item = hit_at_once(guard, key, h);
        if (item == nullptr) [[unlikely]]
            return false;
        result = {item->value.get(), true};
        return true;
    }

    template <class Argument>
    [[gnu::noinline]] ScalarResult get_with_care(Argument key, Hash h) {
        ScalarResult result{};
        const auto use = [&](V value, const Reading&) { result = {value, true}; };
        look_with_care<Asks::for_live_value, Argument>(key, h, use);
        return result;
    }

    /// One attempt at an update; nothing if the entry changed meanwhile. The guard is held until
    /// the write, so that the slot that we saw cannot come to hold another entry.
    template <class Change>
    std::optional<bool> try_update(std::optional<K>& key, Hash h, Change& change,
                                   const Terms& terms) {
        const TagTime obtained_at = terms.tags.empty() ? any_tag_time : this->tag_time();
        Part& shard = shard_of(h);
        Guard guard(readers_);
        const auto found = shard.look(guard, std::as_const(*key), h);
        std::optional<V> current;
        if (shard.reading(found, expiry_.clock()).state == Found::hit)
            current.emplace(found.item->value.get());
        Seen<V> seen{found.slot, current.has_value()};
        if constexpr (ValueCell<V>::overwrites_in_place) seen.value = current;
        std::optional<V> next = std::invoke(change, std::move(current));
        if (next) {
            Item item(*std::move(key), *std::move(next), h);
            WriteRequest<V> request{.hash = h,
                                    .obtained_at = obtained_at,
                                    .condition = WriteIf::unchanged,
                                    .seen = &seen};
            const Written written = write(item, request, terms);
            if (written != Written::changed) return written == Written::yes;
            key.emplace(std::move(item.key));
            return std::nullopt;
        }
        return erase_unchanged(*key, h, seen) ? std::optional<bool>(false) : std::nullopt;
    }
};

}  // namespace drey
