#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "drey/advise/advisor.hpp"
#include "drey/advise/watch_line.hpp"
#include "drey/detail/fixed_array.hpp"
#include "drey/memory/balance.hpp"
#include "drey/memory/expiry.hpp"
#include "drey/memory/hit_counters.hpp"
#include "drey/memory/labels.hpp"
#include "drey/memory/pending_hits.hpp"
#include "drey/memory/shard.hpp"
#include "drey/memory/sizing.hpp"
#include "drey/memory/sync.hpp"
#include "drey/options.hpp"

namespace drey {

/// All shards of a cache together: which one a key lives in, the capacity they share, the options
/// (TTL, jitter, weigher, listener), and what follows a write.
///
/// Thread-safe if `Sync` is Shared. Every call that writes ends with `finish`, outside the locks:
/// the listener hears of what left, what left is retired, and what nobody reads any more is
/// destroyed.
template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
class Shards {
public:
    using Options = MemoryOptions<K, V>;

    explicit Shards(Options options, typename Sync::Readers readers = typename Sync::Readers{},
                    Hasher hasher = {}, Equal equal = {})
        : options_((detail::check(options), std::move(options))), readers_(readers),
          ledger_(clamped(options_.capacity), shard_count()),
          pending_hits_(Part::defers_hits ? std::make_unique<PendingHits>(shard_count()) : nullptr),
          context_{hasher,
                   equal,
                   salt(),
                   readers_,
                   ledger_,
                   options_.weigher != nullptr,
                   options_.on_removal != nullptr,
                   pending_hits_.get()},
          expiry_(options_.clock, options_.ttl, options_.jitter, context_.salt),
          labels_(context_.salt), counters_(Sync::is_shared),
          blocks_(static_cast<unsigned>(std::countr_zero(shard_count())),
                  detail::first_entries(options_.capacity, context_.weighed, shard_count())),
          shards_(shard_count(),
                  [this](std::size_t i) {
                      return Part(context_, blocks_, static_cast<std::uint32_t>(i), budget(),
                                  detail::mix(i, context_.salt));
                  }),
          watch_line_(detail::scrambled(context_.salt)) {
        for (Part& shard : shards_) shard.sample_by(watch_line_.factor());
        watch_for_policy();
        if (options_.advise)
            advisor_ = options_.advise.make()({&PolicyId<Policy>::value, options_.capacity,
                                               options_.advise_memory, Sync::is_shared, counters_,
                                               watch_line_});
    }

    Shards(const Shards&) = delete;
    Shards& operator=(const Shards&) = delete;

    template <class Q>
    Hash hash(const Q& key) const {
        return detail::salted_hash(context_.hasher, key, context_.salt);
    }

    template <class Q>
    [[gnu::always_inline]] bool equal(const K& a, const Q& b) const {
        return context_.equal(a, b);
    }

    template <class Q>
    std::size_t erase(const Q& key) {
        const Hash h = hash(key);
        Part& shard = shard_of(h);
        Departures departures;
        const bool erased = shard.erase(key, h, expiry_.now(), departures);
        finish(shard, departures);
        if (advisor_) [[unlikely]]
            advisor_->erased(watch_line_.order(h));
        return erased ? 1 : 0;
    }

    /// Removes every entry; returns how many.
    std::size_t clear() {
        std::size_t removed = 0;
        for (Part& shard : shards_)
            for (Slot from = 0; from != no_slot;) {
                Departures departures;
                from = shard.clear_some(from, removed, departures);
                finish(shard, departures);
            }
        if (advisor_) advisor_->cleared();
        return removed;
    }

    /// From now on nobody finds what has the tag. O(1); may throw std::bad_alloc if no tag was ever
    /// used. Entries that are gone by this stay in their places until they are found, overwritten
    /// or evicted.
    void invalidate_tag(std::string_view tag) { labels_.get().invalidate(tag); }

    /// How often a tag was invalidated.
    TagTime tag_time() const noexcept { return labels_.now(); }

    /// How many tags entries have; for tests.
    std::size_t tags() const {
        const Labels* labels = labels_.if_any();
        return labels == nullptr ? 0 : labels->size();
    }

    /// Removes the entries whose deadline has passed; returns how many. O(expired).
    std::size_t purge_expired() {
        std::size_t removed = 0;
        const std::int64_t now = expiry_.now();
        for (Part& shard : shards_)
            for (bool more = true; more;) {
                Departures departures;
                more = shard.purge_some(now, removed, departures);
                finish(shard, departures);
                if (!more) shard.reclaim(Reclaim::all);
            }
        return removed;
    }

    std::size_t size() const {
        std::size_t total = 0;
        for (const Part& shard : shards_) total += shard.size();
        return total;
    }

    std::size_t capacity() const noexcept { return static_cast<std::size_t>(ledger_.capacity()); }

    /// Evicts down to a smaller capacity, or makes room for a larger one.
    void set_capacity(std::size_t capacity) {
        detail::check_capacity(capacity);
        set_budgets(ledger_.fair_share_of(clamped(capacity)));
        ledger_.set_capacity(clamped(capacity));
        detail::settle(ledger_, shards_, [this](Part& shard, Weight to) { shrink(shard, to); });
        if (advisor_) advisor_->set_capacity(capacity);
    }

    Stats stats() const {
        Stats stats;
        counters_.add_to(stats);
        for (const Part& shard : shards_) shard.add_to(stats);
        stats.rejections = rejections_.load(std::memory_order_relaxed);
        stats.listener_failures = listener_failures_.load(std::memory_order_relaxed);
        return stats;
    }

    Advice advice() {
        if (!advisor_) throw std::logic_error("drey: advice needs .advise = true");
        return advisor_->advice();
    }

    /// Destroys what has left the cache and nobody is reading any more.
    void synchronize() noexcept {
        for (Part& shard : shards_) shard.reclaim(Reclaim::all);
    }

    std::size_t shards() const noexcept { return shards_.size(); }

    /// Slots in use, live and retired: what the memory is proportional to.
    std::size_t slots() const {
        std::size_t total = 0;
        for (const Part& shard : shards_) total += shard.slots();
        return total;
    }

    bool validate() const {
        return std::all_of(shards_.begin(), shards_.end(),
                           [](const Part& shard) { return shard.validate(); });
    }

    /// The same of tags, while no other thread is using the cache.
    bool validate_tags() const {
        std::size_t uses = 0;
        for (const Part& shard : shards_) uses += shard.labels();
        const Labels* labels = labels_.if_any();
        return labels == nullptr ? uses == 0 : labels->validate(uses);
    }

protected:
    using Part = Shard<K, V, Policy, Hasher, Equal, Sync>;
    using Guard = typename Sync::Readers::Guard;
    using Item = typename Part::Item;

    static Weight clamped(std::size_t capacity) noexcept {
        return std::min<Weight>(capacity, std::numeric_limits<std::int64_t>::max());
    }

    std::size_t shard_count() const {
        if (!Sync::is_shared) return 1;
        if (options_.shards != 0)
            return std::min(options_.shards, std::bit_floor(options_.capacity));
        return detail::shard_count(options_.capacity, options_.weigher != nullptr);
    }

    std::uint64_t salt() const {
        return options_.seed ? detail::mix(*options_.seed, detail::pi_2) : detail::process_salt();
    }

    Budget budget() const noexcept { return {ledger_.fair_share(), context_.weighed}; }

    /// Tells each shard's policy what it may hold. If one throws, those before it are told the old
    /// budget again, and it is as if nothing had been asked.
    void set_budgets(Weight share) {
        const std::lock_guard lock(budgets_mutex_);
        std::size_t told = 0;
        try {
            for (; told < shards_.size(); ++told)
                shards_[told].set_budget({share, context_.weighed});
        } catch (...) {
            try {
                while (told > 0) shards_[--told].set_budget(budget());
            } catch (...) {  // It goes on with a budget that is not its own, which is but advice.
            }
            watch_for_policy();
            throw;
        }
        watch_for_policy();
    }

    /// What is the sample of any shard's policy is watched.
    void watch_for_policy() noexcept {
        Hash line = 0;
        for (const Part& shard : shards_) line = std::max(line, shard.samples_below());
        watch_line_.set_policys(line);
    }

    std::uint32_t shard_number(Hash h) const noexcept { return blocks_.shard(h); }
    Part& shard_of(Hash h) noexcept { return shards_[shard_number(h)]; }

    Written write(Item& item, WriteRequest<V>& request, const Terms& terms) {
        if (!expiry_.is_never(terms) || !terms.tags.empty())
            return write_with_extras(item, request, terms);
        request.now = expiry_.now();
        return keep(item, request);
    }

    /// Apart, so that it costs nothing where nothing expires and nothing has tags.
    [[gnu::noinline]] Written write_with_extras(Item& item, WriteRequest<V>& request,
                                                const Terms& terms) {
        const auto times = expiry_.times(terms, request.hash);
        request.now = times.now;
        Labels::Owner labels;
        if (!terms.tags.empty()) labels = labels_.get().make(terms.tags, request.obtained_at);
        const Extras extras{times.deadline, times.note, labels.get()};
        if (!extras.are_blank()) {
            request.extras = &extras;
            // Acquire: who sees that care was taken relies on gates that are closed.
            if (!request.is_absence && !careful_.load(std::memory_order_acquire)) take_care();
        }
        const Written written = keep(item, request);
        if (written == Written::yes) static_cast<void>(labels.release());  // they are the entry's
        return written;
    }

    /// A function of its own for all who write: below it a write is one function up to the
    /// eviction, each step of it inlined by force, as a call saves and restores all registers.
    [[gnu::noinline]] Written keep(Item& item, WriteRequest<V>& request) {
        return keep_here(item, request);
    }
    /// `keep` as part of the one caller that has it all to itself: plain puts.
    [[gnu::always_inline]] Written keep_here(Item& item, WriteRequest<V>& request) {
        if (options_.weigher)
            request.weight = request.is_absence
                                 ? options_.absent_weight
                                 : options_.weigher(std::as_const(item.key), item.value.get());
        Part& shard = shard_of(request.hash);
        Written written = Written::refused;
        if (request.weight <= ledger_.capacity()) {
            for (std::size_t attempt = 0;; ++attempt) {
                written = write_once(shard, item, request);
                if (written != Written::no_room) break;
                if (attempt == shards_.size()) {  // others keep taking what we free
                    written = Written::refused;
                    break;
                }
                const bool taken = detail::take_from_richest(
                    ledger_, shards_, shard, request.weight,
                    [this](Part& other, Weight to) { shrink(other, to); });
                request.may_starve = !taken || attempt > 1;
            }
        }
        if (written == Written::refused) {
            // The key has a newer value, which we do not keep; the older one must not be found.
            if (request.condition == WriteIf::unchanged) {
                if (!erase_unchanged(item.key, request.hash, *request.seen))
                    return Written::changed;
            } else if (request.condition == WriteIf::always &&
                       (request.ticket == nullptr || !request.ticket->doomed())) {
                // After a load this may take a value that was put this moment. So may an eviction.
                erase(std::as_const(item.key));
            }
            rejections_.fetch_add(1, std::memory_order_relaxed);
        }
        return written;
    }

    /// The first value that time or a tag will change is about to come: quick calls know nothing of
    /// that.
    /// (Absences need no care: quick calls do not find them.)
    [[gnu::noinline]] void take_care() noexcept {
        readers_.take_care();
        for (Part& shard : shards_) shard.shut_gate();
        readers_.await_writers();
        for (Part& shard : shards_) shard.close_gate();
        careful_.store(true, std::memory_order_release);
    }

    [[gnu::always_inline]] Written write_once(Part& shard, Item& item,
                                              const WriteRequest<V>& request) {
        Departures departures;
        try {
            const Written written = shard.write(item, request, departures);
            finish(shard, departures);
            return written;
        } catch (...) {
            finish(shard, departures);
            throw;
        }
    }

    /// Makes a shard evict until it holds no more than `allowance`.
    void shrink(Part& shard, Weight allowance) {
        const std::int64_t now = expiry_.now();
        for (bool done = false; !done;) {
            Departures departures;
            done = shard.shrink_some(allowance, now, departures);
            finish(shard, departures);
        }
    }

    void expire(Part& shard, Slot s) {
        Departures departures;
        shard.expire(s, expiry_.now(), departures);
        finish(shard, departures);
    }

    bool erase_unchanged(const K& key, Hash h, const Seen<V>& seen) {
        Part& shard = shard_of(h);
        Departures departures;
        const bool erased = shard.erase_unchanged(key, h, seen, expiry_.now(), departures);
        finish(shard, departures);
        return erased;
    }

    /// Calls `f(shard, slot, item)` for entries that are hits; each is protected while f runs. Goes
    /// no further than the slots there were, or it might never end while f, or others, write.
    template <class F>
    void each_live(F&& f) {
        const std::int64_t now = expiry_.now();
        for (Part& shard : shards_)
            for (std::size_t from = 0, end = shard.slots_end(); from < end;) {
                Guard guard(readers_);
                const auto found = shard.next_live(static_cast<Slot>(from), guard, now);
                if (found.item == nullptr || found.slot >= end) break;
                f(shard, found.slot, *found.item);
                from = found.slot + std::size_t{1};
            }
    }

    void notify(const Item& item, Removal cause) noexcept {
        try {
            options_.on_removal(item.key, item.value.get(), cause);
        } catch (...) {
            listener_failures_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    void finish(Part& shard, Departures& departures) noexcept {
        if (departures.size() != 0 || departures.reclaim != Reclaim::nothing)
            follow(shard, departures);
    }
    [[gnu::noinline]] void follow(Part& shard, Departures& departures) noexcept {
        for (std::size_t i = 0; i < departures.size(); ++i)
            notify(shard.item(departures[i].slot), departures[i].cause);
        if (departures.size() != 0) shard.retire(departures);
        if (departures.reclaim != Reclaim::nothing) shard.reclaim(departures.reclaim);
    }

    const Options options_;
    typename Sync::Readers readers_;
    Ledger ledger_;
    const std::unique_ptr<PendingHits> pending_hits_;
    typename Part::Context context_;
    Expiry expiry_;
    LazyLabels labels_;  // before the shards, whose entries have them
    HitCounters counters_;
    std::atomic<bool> careful_{false};
    std::atomic<std::uint64_t> rejections_{0};
    std::atomic<std::uint64_t> listener_failures_{0};
    std::unique_ptr<Advisor> advisor_;
    typename Part::Blocks blocks_;
    detail::FixedArray<Part> shards_;  // a power of two
    typename Sync::Mutex budgets_mutex_;
    WatchLine watch_line_;
};

}  // namespace drey
