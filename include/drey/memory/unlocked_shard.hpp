#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "drey/clock.hpp"
#include "drey/kept.hpp"
#include "drey/lookup.hpp"
#include "drey/memory/gate.hpp"
#include "drey/memory/look.hpp"
#include "drey/memory/notes.hpp"
#include "drey/memory/pending_hits.hpp"
#include "drey/memory/segment.hpp"
#include "drey/memory/shard_state.hpp"
#include "drey/types.hpp"

namespace drey {

/// A shard to those who have not locked it: what they read, what a hit leaves, how a value is
/// overwritten in place; and the one way to the lock. `Shard` has what is done under it.
template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
class alignas(64) UnlockedShard {
protected:
    using State = ShardState<K, V, Policy, Hasher, Equal, Sync>;
    using Guard = typename Sync::Readers::Guard;
    using Segment = drey::Segment<typename State::Item, State::lends_marks>;
    class Lock;

public:
    using Context = typename State::Context;
    using Item = typename State::Item;
    using Blocks = typename State::Blocks;
    using Found = FoundEntry<Item>;

    /// Must be destroyed when no other thread uses it any more.
    UnlockedShard(Context& context, Blocks& blocks, std::uint32_t number, Budget budget,
                  std::uint64_t seed)
        : state_(context, blocks, number, budget, seed) {
        if (!can_overwrite_at_once || context.listens || context.weighed) {
            gate_.shut();
            gate_.close();
        }
    }

    // ---- reading -------------------------------------------------------------------------------

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

    // ---- overwriting ---------------------------------------------------------------------------

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
        explicit Shut(UnlockedShard& shard) noexcept : gate_(shard.gate_) {
            gate_.shut();
            if (!gate_.is_closed()) shard.state_.context.readers.await_writers();
        }
        Shut(const Shut&) = delete;
        Shut& operator=(const Shut&) = delete;
        ~Shut() { gate_.open(); }

    private:
        Gate& gate_;
    };

private:
    static constexpr int patience = 16;

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

protected:
    State state_;
    mutable typename Sync::Mutex mutex_;
};

/// The one way to the shard's lock. Who could change what it guards has first, with it, told the
/// policy of the hits that wait for that; who has the shard as const only reads, and leaves them.
template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
class UnlockedShard<K, V, Policy, Hasher, Equal, Sync>::Lock {
public:
    explicit Lock(const UnlockedShard& shard) noexcept : mutex_(shard.mutex_) { mutex_.lock(); }
    explicit Lock(UnlockedShard& shard) noexcept : Lock(std::as_const(shard)) {
        if constexpr (defers_hits) shard.deliver_hits();
    }
    /// For who has locked it.
    Lock(UnlockedShard& shard, std::adopt_lock_t) noexcept : mutex_(shard.mutex_) {
        if constexpr (defers_hits) shard.deliver_hits();
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() { mutex_.unlock(); }

private:
    typename Sync::Mutex& mutex_;
};

}  // namespace drey
