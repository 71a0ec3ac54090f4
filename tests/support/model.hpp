#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

/// A cache said as plainly as possible.
///
/// The model does not decide who leaves unless it must: it is told what left, by the listener, and
/// judges whether that was right: that entry, at that moment, for that cause, once. Where the
/// policy is deterministic and there is one shard, it does decide, by a naive policy of its own,
/// and the cache must agree to the last victim. Without a listener, evictions are found out by
/// looking, and of what expired it is only known that it cannot be found.
namespace model {

using Id = std::uint32_t;  // what a key is made of
using drey::Removal;
using drey::Weight;

class Mismatch : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void check(bool holds, const char* otherwise) {
    if (!holds) throw Mismatch(otherwise);
}

// ---- naive policies, in the words of the standard library
// -----------------------------------------

class Order {
public:
    virtual ~Order() = default;
    virtual void insert(Id) = 0;
    virtual void hit(Id) = 0;
    virtual void erase(Id) = 0;
    virtual Id evict() = 0;  // chooses, and forgets
};

/// FIFO, LRU and MRU: one list, latest in front.
class ListOrder final : public Order {
public:
    ListOrder(bool hits_move, bool latest_leaves)
        : hits_move_(hits_move), latest_leaves_(latest_leaves) {}
    void insert(Id id) override {
        list_.push_front(id);
        at_[id] = list_.begin();
    }
    void hit(Id id) override {
        if (hits_move_) list_.splice(list_.begin(), list_, at_.at(id));
    }
    void erase(Id id) override {
        list_.erase(at_.at(id));
        at_.erase(id);
    }
    Id evict() override {
        check(!list_.empty(), "evicted though nothing is held");
        const Id victim = latest_leaves_ ? list_.front() : list_.back();
        erase(victim);
        return victim;
    }

private:
    bool hits_move_, latest_leaves_;
    std::list<Id> list_;
    std::unordered_map<Id, std::list<Id>::iterator> at_;
};

/// LFU: the smallest count leaves, among equals the least recently used.
class CountOrder final : public Order {
public:
    void insert(Id id) override { put(id, 1); }
    void hit(Id id) override {
        const std::uint64_t count = at_.at(id)->count;
        erase(id);
        put(id, count + 1);
    }
    void erase(Id id) override {
        entries_.erase(at_.at(id));
        at_.erase(id);
    }
    Id evict() override {
        check(!entries_.empty(), "evicted though nothing is held");
        const Id victim = entries_.begin()->id;
        erase(victim);
        return victim;
    }

private:
    struct Entry {
        std::uint64_t count, touched;
        Id id;
        auto operator<=>(const Entry&) const = default;
    };
    void put(Id id, std::uint64_t count) { at_[id] = entries_.insert({count, ++now_, id}).first; }

    std::uint64_t now_ = 0;
    std::set<Entry> entries_;
    std::unordered_map<Id, std::set<Entry>::iterator> at_;
};

class SieveOrder final : public Order {
public:
    void insert(Id id) override {
        queue_.push_back({id, false});
        at_[id] = std::prev(queue_.end());
    }
    void hit(Id id) override { at_.at(id)->visited = true; }
    void erase(Id id) override {
        const auto entry = at_.at(id);
        if (hand_ == entry) ++hand_;
        queue_.erase(entry);
        at_.erase(id);
    }
    Id evict() override {
        check(!queue_.empty(), "evicted though nothing is held");
        for (;; ++hand_) {
            if (hand_ == queue_.end()) hand_ = queue_.begin();
            if (!std::exchange(hand_->visited, false)) break;
        }
        const Id victim = hand_->id;
        erase(victim);
        return victim;
    }

private:
    struct Entry {
        Id id;
        bool visited;
    };
    std::list<Entry> queue_;  // oldest first; its end stands for no hand
    std::list<Entry>::iterator hand_ = queue_.end();
    std::unordered_map<Id, std::list<Entry>::iterator> at_;
};

/// The naive twin of a policy, or null if it is not deterministic or not easily said.
template <class Policy>
std::unique_ptr<Order> order_of() {
    if constexpr (std::is_same_v<Policy, drey::Fifo>) {
        return std::make_unique<ListOrder>(false, false);
    } else if constexpr (std::is_same_v<Policy, drey::Lru>) {
        return std::make_unique<ListOrder>(true, false);
    } else if constexpr (std::is_same_v<Policy, drey::Mru>) {
        return std::make_unique<ListOrder>(true, true);
    } else if constexpr (std::is_same_v<Policy, drey::Lfu>) {
        return std::make_unique<CountOrder>();
    } else if constexpr (std::is_same_v<Policy, drey::Sieve>) {
        return std::make_unique<SieveOrder>();
    } else {
        return nullptr;
    }
}

// ---- the model ---------------------------------------------------------------------------------

struct Event {
    Id id;
    std::uint64_t value;
    Removal cause;
};

class Model {
public:
    struct Entry {
        std::uint64_t value;
        Weight weight;
        drey::Deadline deadline;
    };
    enum class If { always, absent, loaded };

    Model(std::size_t capacity, bool one_shard, bool listens, bool timed,
          std::unique_ptr<Order> order, const drey::ManualClock& clock)
        : one_shard_(one_shard), listens_(listens), blind_(timed && !listens),
          order_(one_shard && !blind_ ? std::move(order) : nullptr), clock_(clock),
          capacity_(capacity) {}

    std::vector<Event> events;  // by the listener; without one, the evictions, in any order
    drey::Stats stats;          // what the cache should have counted

    /// Whether `size` may be what the cache holds.
    bool could_hold(std::size_t size) const {
        return size <= held_.size() && size >= (blind_ ? live_count() : held_.size());
    }
    /// Whether so many may have left as expired.
    bool could_have_expired(std::uint64_t count) const {
        const auto told = stats.expirations();
        return blind_ ? count <= told + held_.size() - live_count() : count == told;
    }
    std::size_t capacity() const { return capacity_; }
    const std::unordered_map<Id, Entry>& held() const { return held_; }

    /// The key's live entry, or null.
    const Entry* live(Id id) const {
        const auto at = held_.find(id);
        return at != held_.end() && at->second.deadline > now() ? &at->second : nullptr;
    }
    std::size_t live_count() const {
        std::size_t count = 0;
        for (const auto& [id, entry] : held_) count += entry.deadline > now();
        return count;
    }

    /// A look-up that counts. Null on a miss.
    const Entry* read(Id id) {
        const Entry* entry = live(id);
        ++(entry != nullptr ? stats.hits : stats.misses);
        if (entry != nullptr) {
            if (order_) order_->hit(id);
        } else if (held_.contains(id)) {
            leaves(id, Removal::expired);
        }
        return entry;
    }

    /// A write; whether the value must have been kept.
    bool put(Id id, Entry entry, If condition) {
        if (entry.weight > capacity_) {
            ++stats.rejections;
            if (condition == If::always) remove(id, Removal::erased);
            return false;
        }
        if (condition == If::absent && live(id) != nullptr) return false;
        make_room(id, entry.weight);
        if (held_.contains(id)) {
            leaves(id, live(id) != nullptr ? Removal::replaced : Removal::expired, true);
            if (order_) order_->hit(id);
        } else if (order_) {
            order_->insert(id);
        }
        held_[id] = entry;
        deadlines_.insert({entry.deadline, id});
        used_ += entry.weight;
        ++stats.insertions;
        return true;
    }

    /// Removes the key; whether there was a live entry.
    bool remove(Id id, Removal cause) {
        if (!held_.contains(id)) return false;
        const bool was_live = live(id) != nullptr;
        leaves(id, was_live ? cause : Removal::expired);
        return was_live;
    }

    /// Removes all these, in whatever order the cache chose.
    template <class Pred>
    std::size_t remove_all(Removal cause, Pred&& pred) {
        std::vector<Id> ids;
        for (const auto& [id, entry] : held_)
            if (pred(id, entry)) ids.push_back(id);
        for (std::size_t left = ids.size(); left > 0; --left) {
            if (!listens_) {
                leaves(ids[left - 1], cause);
                continue;
            }
            check(next_ < events.size(), "an entry left without a word to the listener");
            const Id id = events[next_].id;
            check(std::find(ids.begin(), ids.end(), id) != ids.end(), "the wrong entry left");
            check(held_.contains(id), "an entry left twice");
            leaves(id, cause);
        }
        return ids.size();
    }

    /// Removes everything, of which the cache had `size`.
    void clear(std::size_t size) {
        const std::size_t known =
            remove_all(Removal::cleared, [](Id, const Entry&) { return true; });
        // Those that were counted as cleared and had left before had expired then.
        stats.removals[static_cast<std::size_t>(Removal::cleared)] -= known - size;
        stats.removals[static_cast<std::size_t>(Removal::expired)] += known - size;
    }

    void set_capacity(std::size_t capacity) {
        capacity_ = capacity;
        make_room({}, 0);
    }

    /// After each operation: everything that left was accounted for.
    void settle() {
        check(next_ == events.size(), "an entry left for no reason, or was reported twice");
        events.clear();
        next_ = 0;
        check(used() <= capacity_, "the cache holds more than its capacity");
    }

private:
    std::int64_t now() const { return clock_.now().count(); }
    bool any_expired() const { return !deadlines_.empty() && deadlines_.begin()->first <= now(); }

    bool too_much(std::optional<Id> id, Weight w) const {
        const Entry* old = nullptr;
        if (const auto at = id ? held_.find(*id) : held_.end(); at != held_.end())
            old = blind_ ? live(*id) : &at->second;
        return used() + w - (old != nullptr ? old->weight : 0) > capacity_;
    }

    Weight used() const {
        if (!blind_) return used_;
        Weight used = 0;
        for (const auto& [id, entry] : held_) used += entry.deadline > now() ? entry.weight : 0;
        return used;
    }

    void make_room(std::optional<Id> id, Weight w) {
        if (!listens_) return make_room_unheard(id, w);
        while (next_ < events.size()) {
            const Event event = events[next_];
            if (event.cause == Removal::expired) {
                // The one that is overwritten leaves last, unless its room is needed.
                if (one_shard_ && event.id == id && !too_much(id, w)) break;
                check(held_.contains(event.id) && live(event.id) == nullptr,
                      "an entry left as expired that had not");
                leaves(event.id, Removal::expired);
            } else if (event.cause == Removal::evicted) {
                if (one_shard_) {
                    check(too_much(id, w), "an entry was evicted though there was room");
                    check(!any_expired(), "a live entry was evicted before an expired one");
                }
                evicted(event.id, Removal::evicted);
            } else if (event.id == id && next_ + 1 < events.size()) {
                evicted(event.id, event.cause);  // the victim is what is overwritten
            } else {
                break;
            }
        }
        check(!too_much(id, w), "the cache holds more than its capacity");
    }

    void make_room_unheard(std::optional<Id> id, Weight w) {
        if (blind_ && one_shard_ && !events.empty()) {  // then no expired one can be left
            std::vector<Id> expired;
            for (const auto& [held, entry] : held_)
                if (entry.deadline <= now()) expired.push_back(held);
            for (const Id gone : expired) leaves(gone, Removal::expired);
        }
        if (order_) {  // any order, since nobody said it: take them in ours
            while (too_much(id, w)) {
                const Id victim = order_->evict();
                order_->insert(victim);
                if (victim == id) {
                    leaves(victim, Removal::replaced);
                    continue;
                }
                const auto at = std::find_if(events.begin(), events.end(),
                                             [&](const Event& e) { return e.id == victim; });
                check(at != events.end(), "the cache kept what the policy should have evicted");
                events.erase(at);
                leaves(victim, Removal::evicted);
            }
            check(events.empty(), "the cache evicted what the policy should have kept");
        }
        // In an order in which each was needed, if there is one.
        std::sort(events.begin(), events.end(), [&](const Event& a, const Event& b) {
            return held_.at(a.id).weight < held_.at(b.id).weight;
        });
        for (const Event& event : events) {
            if (one_shard_) check(too_much(id, w), "an entry was evicted though there was room");
            leaves(event.id, Removal::evicted);
        }
        events.clear();
        check(!too_much(id, w), "the cache holds more than its capacity");
    }

    void evicted(Id id, Removal cause) {
        if (order_) {
            const Id victim = order_->evict();
            order_->insert(victim);  // `leaves` takes it out
            check(victim == id, "the policy should have chosen another victim");
        }
        leaves(id, cause);
    }

    void leaves(Id id, Removal cause, bool keeps_place = false) {
        const auto at = held_.find(id);
        check(at != held_.end(), "an entry left that was not there");
        if (listens_) {
            check(next_ < events.size(), "an entry left without a word to the listener");
            const Event& event = events[next_++];
            check(event.id == id, "the listener was told of another entry");
            check(event.value == at->second.value, "the listener was given another value");
            check(event.cause == cause, "the listener was told another cause");
        }
        ++stats.removals[static_cast<std::size_t>(cause)];
        used_ -= at->second.weight;
        deadlines_.erase({at->second.deadline, id});
        if (order_ && !keeps_place) order_->erase(id);
        held_.erase(at);
    }

    bool one_shard_;
    bool listens_;
    bool blind_;  // nobody says who expired: those may be held still or not
    std::unique_ptr<Order> order_;
    const drey::ManualClock& clock_;
    std::size_t capacity_;
    Weight used_ = 0;
    std::size_t next_ = 0;
    std::unordered_map<Id, Entry> held_;
    std::set<std::pair<drey::Deadline, Id>> deadlines_;
};

}  // namespace model
