#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/types.hpp"
#include "drey/writing/retry.hpp"
#include "drey/writing/write.hpp"

namespace drey {

/// What is to be written behind a cache, in which order, and when.
///
/// A structure without threads, locks and clock: its owner guards it, and says what time it is. It
/// calls no user code but the equality of keys, and destructors of exceptions. What allocates
/// (`add`) or compares (`find`, `fail`) may throw, and then has changed nothing. What leaves is
/// handed out, to be destroyed outside the lock.
///
/// Each key has one entry, and so one write in flight at most: writes of a key cannot overtake each
/// other. An entry is *waiting* for its batch, *flying* in it, or *resting* after a failure. A put
/// that finds it flying leaves a newer value behind; the entry then waits again once it has landed,
/// whether or not that write went well.
///
/// A put *pins* the entry from before the value is queued until the cache has it too. A pinned
/// entry is not taken into a batch, and does not leave: else the value could be written and
/// forgotten here before the cache has it, and a reader that had seen it would see the old one
/// again.
///
/// Invariants: an entry is in one list, the one that its state says, and in the index; waiting
/// entries are in the order in which they are due, but that those back from a rest are before all
/// others; only a flying entry has something in flight, and only one can have a newer value;
/// `queued == coalesced + written + failed + pending`.
template <class K, class V, class Identity>
class WriteQueue {
    struct Entry;

public:
    using Pending = std::shared_ptr<const PendingWrite<K, V>>;
    /// Entries, in no list of the queue.
    using Entries = std::list<Entry>;
    /// Counts puts; one that is lower was earlier.
    using Number = std::uint64_t;

    static constexpr Number every_number = std::numeric_limits<Number>::max();

    WriteQueue(Ttl flush_every, std::size_t max_batch, const Retry& retry)
        : flush_every_(flush_every.nanoseconds()), max_batch_(max_batch), retry_(retry) {}

    std::size_t size() const noexcept { return index_.size(); }
    bool empty() const noexcept { return index_.empty(); }
    /// The number of the next put.
    Number next_number() const noexcept { return next_; }

    // ---- putting -------------------------------------------------------------------------------

    /// What an entry is before its put knows whether it is needed; made outside the lock.
    static Entries prepare(Hash h, Pending write) {
        Entries fresh;
        fresh.emplace_back(h, std::move(write));
        return fresh;
    }

    Entry* find(Hash h, const K& key) const {
        const auto [first, last] = index_.equal_range(h);
        for (auto at = first; at != last; ++at)
            if (Identity::equal(at->second->write->key, key)) return &*at->second;
        return nullptr;
    }

    static const Pending& latest(const Entry& entry) noexcept { return entry.write; }

    /// Queues a key that has no entry, pinned. Throws if there is no memory, and then has changed
    /// nothing.
    Entry& add(Entries& fresh, std::int64_t now) {
        const auto entry = fresh.begin();
        index_.emplace(entry->hash, entry);
        entry->number = next_++;
        enlist(waiting_, fresh, entry, deadline_after(now, flush_every_));
        ++stats_.queued;
        pin(*entry);
        return *entry;
    }

    /// Queues another value for an entry's key, pinned; returns the one that it replaces, to be
    /// destroyed outside the lock. A key that waits keeps its place, and one that rests its rest.
    Pending replace(Entry& entry, Pending write) noexcept {
        const bool is_second = entry.state == State::flying && entry.newer == none;
        if (is_second) {
            entry.newer = next_;
        } else {
            ++stats_.coalesced;
        }
        ++next_;
        ++stats_.queued;
        entry.attempts = 0;
        pin(entry);
        return std::exchange(entry.write, std::move(write));
    }

    /// The cache has the value too. Whether `due` may be earlier now.
    bool unpin(Entry& entry) noexcept {
        entry.is_pinned = false;
        if (entry.state == State::resting) return true;
        if (entry.state == State::flying) return false;
        --pinned_waiting_;
        return is_batch_full() || &*first_free() == &entry;
    }

    // ---- writing -------------------------------------------------------------------------------

    /// When there is something to write; the earliest time of all if a batch is full.
    std::optional<std::int64_t> due() const noexcept {
        if (is_batch_full()) return std::numeric_limits<std::int64_t>::min();
        std::optional<std::int64_t> due = rested();
        const auto first = first_free();
        if (first != waiting_.end()) due = std::min(due.value_or(first->due), first->due);
        return due;
    }

    /// When the first rest is over.
    std::optional<std::int64_t> rested() const noexcept {
        std::optional<std::int64_t> first;
        for (const Entry& entry : resting_)
            if (is_free(entry)) first = std::min(first.value_or(entry.due), entry.due);
        return first;
    }

    /// Ends all rests that are over by then.
    void wake(std::int64_t now) noexcept {
        for (auto at = resting_.end(); at != resting_.begin();) {
            const auto entry = std::prev(at);
            if (entry->due > now) {
                at = entry;
                continue;
            }
            if (!is_free(*entry)) ++pinned_waiting_;
            entry->state = State::waiting;
            waiting_.splice(waiting_.begin(), resting_, entry);
        }
    }

    /// Takes the next batch, of puts with a lower number than `before`, into `batch`, which is
    /// empty, and no more than it has room for. Nothing else may be flying.
    void take(std::vector<Pending>& batch, Number before) noexcept {
        const std::size_t most = std::min(max_batch_, batch.capacity());
        for (auto at = waiting_.begin(); at != waiting_.end() && batch.size() < most;) {
            const auto entry = at++;
            if (!is_free(*entry) || entry->number >= before) continue;
            entry->state = State::flying;
            entry->has_failed = false;
            batch.push_back(entry->write);
            flying_.splice(flying_.end(), waiting_, entry);
        }
        if (!batch.empty()) ++stats_.batches;
    }

    /// That key of the flying batch was not written. False if it is not in the batch.
    bool fail(Hash h, const K& key, const std::exception_ptr& why) {
        Entry* const entry = find(h, key);
        if (entry == nullptr || entry->state != State::flying) return false;
        entry->has_failed = true;
        entry->why = why;
        return true;
    }

    /// Nor was any other.
    void fail_all(const std::exception_ptr& why) noexcept {
        for (Entry& entry : flying_) {
            entry.has_failed = true;
            entry.why = why;
        }
    }

    /// What has left the queue.
    struct Landed {
        Entries written;
        Entries lost;  ///< tried as often as is allowed
    };

    /// The batch writer is back: what it wrote leaves, what it did not rests or is given up.
    Landed land(std::int64_t now) noexcept {
        Landed landed;
        while (!flying_.empty()) {
            const auto entry = flying_.begin();
            const bool has_newer = entry->newer != none;
            if (entry->has_failed) ++entry->failures;
            if (entry->has_failed && !has_newer && ++entry->attempts >= retry_.attempts) {
                lose(landed.lost, flying_, entry);
            } else if (entry->has_failed) {
                // A newer value makes the one that failed superfluous. The entry keeps its number:
                // who waits for the old value to be written waits for what replaces it.
                if (has_newer) ++stats_.coalesced;
                ++stats_.retried;
                entry->state = State::resting;
                entry->due = deadline_after(now, detail::delay_after(retry_, entry->failures));
                resting_.splice(resting_.end(), flying_, entry);
            } else {
                ++stats_.written;
                entry->why = nullptr;
                entry->failures = 0;
                if (has_newer) {
                    entry->number = entry->newer;
                    enlist(waiting_, flying_, entry, deadline_after(now, flush_every_));
                    if (!is_free(*entry)) ++pinned_waiting_;
                } else {
                    unlist(entry);
                    landed.written.splice(landed.written.end(), flying_, entry);
                }
            }
            entry->newer = none;
        }
        return landed;
    }

    /// Whether a put with a lower number is not written yet; those that rest may be left out.
    bool has_before(Number before, bool resting_too) const noexcept {
        const auto is_before = [&](const Entry& entry) { return entry.number < before; };
        return std::any_of(waiting_.begin(), waiting_.end(), is_before) ||
               std::any_of(flying_.begin(), flying_.end(), is_before) ||
               (resting_too && std::any_of(resting_.begin(), resting_.end(), is_before));
    }

    /// Gives up what rests. Nothing may be flying or waiting.
    Entries give_up() noexcept {
        Entries lost;
        while (!resting_.empty()) lose(lost, resting_, resting_.begin());
        return lost;
    }

    /// Calls `f(number, failure)` for each that rests.
    template <class F>
    void for_each_resting(F&& f) const {
        for (const Entry& entry : resting_) f(entry.number, failure(entry, false));
    }

    static Number number(const Entry& entry) noexcept { return entry.number; }

    static WriteFailure<K, V> failure(const Entry& entry, bool is_final) noexcept {
        return {entry.write, entry.why, entry.attempts, is_final};
    }

    WriteStats stats() const noexcept {
        WriteStats stats = stats_;
        stats.pending = size();
        for (const Entry& entry : flying_) stats.pending += entry.newer != none ? 1 : 0;
        return stats;
    }

    /// Whether every invariant holds; for tests. Linear.
    bool validate() const {
        std::size_t pinned = 0;
        const auto well = [&](const Entries& list, State state) {
            for (auto at = list.begin(); at != list.end(); ++at) {
                if (at->state != state || find(at->hash, at->write->key) != &*at) return false;
                if (state != State::flying && at->newer != none) return false;
                if (at->number >= next_ || (at->newer != none && at->newer <= at->number))
                    return false;
                pinned += state == State::waiting && !is_free(*at) ? 1 : 0;
            }
            return true;
        };
        const WriteStats now = stats();
        return well(waiting_, State::waiting) && well(flying_, State::flying) &&
               well(resting_, State::resting) && pinned == pinned_waiting_ &&
               size() == waiting_.size() + flying_.size() + resting_.size() &&
               now.queued == now.coalesced + now.written + now.failed + now.pending;
    }

private:
    enum class State { waiting, flying, resting };
    using Index = std::unordered_multimap<Hash, typename std::list<Entry>::iterator>;

    static constexpr Number none = 0;

    struct Entry {
        Entry(Hash h, Pending w) : hash(h), write(std::move(w)) {}

        const Hash hash;
        Pending write;  // the latest
        State state = State::waiting;
        Number number = none;      // of the oldest put that is not written
        Number newer = none;       // of the first put since the entry took off
        std::int64_t due = 0;      // waiting: when to write it; resting: when the rest is over
        std::size_t attempts = 0;  // of the latest value, that failed
        std::size_t failures = 0;  // of the key, since it was last written
        bool has_failed = false;   // this flight
        bool is_pinned = false;
        std::exception_ptr why;  // of the last failure
    };
    using Iterator = typename Entries::iterator;

    static bool is_free(const Entry& entry) noexcept { return !entry.is_pinned; }

    bool is_batch_full() const noexcept { return waiting_.size() - pinned_waiting_ >= max_batch_; }

    typename Entries::const_iterator first_free() const noexcept {
        return std::find_if(waiting_.begin(), waiting_.end(), is_free);
    }

    void pin(Entry& entry) noexcept {
        entry.is_pinned = true;
        if (entry.state == State::waiting) ++pinned_waiting_;
    }

    void enlist(Entries& to, Entries& from, Iterator entry, std::int64_t due) noexcept {
        entry->state = State::waiting;
        entry->due = due;
        entry->attempts = 0;
        to.splice(to.end(), from, entry);
    }

    void unlist(Iterator entry) noexcept {
        auto at = index_.equal_range(entry->hash).first;
        while (at->second != entry) ++at;
        index_.erase(at);
    }

    void lose(Entries& to, Entries& from, Iterator entry) noexcept {
        ++stats_.failed;
        unlist(entry);
        to.splice(to.end(), from, entry);
    }

    const std::int64_t flush_every_;
    const std::size_t max_batch_;
    const Retry retry_;

    Index index_;
    Entries waiting_, flying_, resting_;
    std::size_t pinned_waiting_ = 0;
    Number next_ = 1;
    WriteStats stats_;
};

}  // namespace drey
