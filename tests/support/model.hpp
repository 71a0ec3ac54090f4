#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "drey/cache.hpp"
#include "drey/clock.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/sieve.hpp"

/// A cache said as plainly as possible, and random operations that drive a real one beside it.
///
/// The model does not decide who leaves unless it must: it is told what left, by the listener, and
/// judges whether that was right: that entry, at that moment, for that cause, once. Where the
/// policy is deterministic and there is one shard, it does decide, by a naive policy of its own,
/// and the cache must agree to the last victim.
///
/// Environment: DREY_TEST_OPS, operations a test case; DREY_TEST_SEED, which a failure prints.
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

inline std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

inline std::uint64_t random_seed() { return number_from("DREY_TEST_SEED", std::random_device{}()); }

class Dice {
public:
    explicit Dice(std::uint64_t seed) : engine_(seed) {}
    std::uint64_t below(std::uint64_t n) { return engine_() % n; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }

private:
    std::mt19937_64 engine_;
};

// ---- naive policies: /work/shared/traces/SEMANTICS.md, in the words of the standard library -----

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

    Model(std::size_t capacity, bool one_shard, bool listens, std::unique_ptr<Order> order,
          const drey::ManualClock& clock)
        : one_shard_(one_shard), listens_(listens), order_(one_shard ? std::move(order) : nullptr),
          clock_(clock), capacity_(capacity) {}

    std::vector<Event> events;  // by the listener; without one, the evictions, in any order
    drey::Stats stats;          // what the cache should have counted

    std::size_t size() const { return held_.size(); }
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

    void set_capacity(std::size_t capacity) {
        capacity_ = capacity;
        make_room({}, 0);
    }

    /// After each operation: everything that left was accounted for.
    void settle() {
        check(next_ == events.size(), "an entry left for no reason, or was reported twice");
        events.clear();
        next_ = 0;
        check(used_ <= capacity_, "the cache holds more than its capacity");
    }

private:
    std::int64_t now() const { return clock_.now().count(); }
    bool any_expired() const { return !deadlines_.empty() && deadlines_.begin()->first <= now(); }

    bool too_much(std::optional<Id> id, Weight w) const {
        const auto old = id ? held_.find(*id) : held_.end();
        return used_ + w - (old != held_.end() ? old->second.weight : 0) > capacity_;
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
                evicted(event.id);
            } else {
                break;
            }
        }
        check(!too_much(id, w), "the cache holds more than its capacity");
    }

    void make_room_unheard(std::optional<Id> id, Weight w) {
        if (order_) {  // any order, since nobody said it: take them in ours
            std::vector<Event> in_order;
            while (too_much(id, w)) {
                const Id victim = order_->evict();
                order_->insert(victim);
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
            if ((a.id == id) != (b.id == id)) return a.id == id;
            return held_.at(a.id).weight < held_.at(b.id).weight;
        });
        for (const Event& event : events) {
            if (one_shard_) check(too_much(id, w), "an entry was evicted though there was room");
            leaves(event.id, Removal::evicted);
        }
        events.clear();
        check(!too_much(id, w), "the cache holds more than its capacity");
    }

    void evicted(Id id) {
        if (order_) {
            const Id victim = order_->evict();
            order_->insert(victim);  // `leaves` takes it out
            check(victim == id, "the policy should have chosen another victim");
        }
        leaves(id, Removal::evicted);
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
    std::unique_ptr<Order> order_;
    const drey::ManualClock& clock_;
    std::size_t capacity_;
    Weight used_ = 0;
    std::size_t next_ = 0;
    std::unordered_map<Id, Entry> held_;
    std::set<std::pair<drey::Deadline, Id>> deadlines_;
};

// ---- keys and values ----------------------------------------------------------------------------

/// A value is its write's number, and its weight in the low 16 bits.
inline Weight weight_of(std::uint64_t value) { return value & 0xffff; }

struct Numbers {
    using Key = int;
    using Value = std::uint64_t;
    static Key key(Id id) { return static_cast<Key>(id); }
    static Key probe(Id id) { return key(id); }
    static Id id(Key key) { return static_cast<Id>(key); }
    static Value value(std::uint64_t number) { return number; }
    static std::uint64_t number(Value value) { return value; }
};

/// Too long to be stored inside a std::string, so that a use after free is one.
struct Texts {
    using Key = std::string;
    using Value = std::string;
    static Key key(Id id) { return "a key of many letters " + std::to_string(id); }
    static std::string_view probe(Id id) {
        static thread_local std::string kept;
        kept = key(id);
        return kept;
    }
    static Id id(const Key& key) { return static_cast<Id>(std::stoul(key.substr(22))); }
    static Value value(std::uint64_t number) {
        return "a value of many letters " + std::to_string(number);
    }
    static std::uint64_t number(const Value& value) { return std::stoull(value.substr(24)); }
};

/// A hash with as many different results as an episode wants; 0 for all.
struct NarrowHash {
    using is_transparent = void;
    static inline std::size_t distinct = 0;
    std::size_t operator()(std::string_view key) const {
        const std::size_t h = std::hash<std::string_view>{}(key);
        return distinct == 0 ? h : h % distinct;
    }
    std::size_t operator()(int key) const {
        const std::size_t h = std::hash<int>{}(key);
        return distinct == 0 ? h : h % distinct;
    }
};

// ---- random operations
// ---------------------------------------------------------------------------

/// One cache from birth to death, with settings and operations drawn from one seed.
template <class Policy, class Backend, class Kind, bool is_local>
class Episode {
    using Cache = drey::Cache<typename Kind::Key, typename Kind::Value, Backend>;

public:
    explicit Episode(std::uint64_t seed, std::uint64_t most_operations)
        : dice_(seed), settings_(draw(dice_, most_operations)) {}

    std::uint64_t run() {
        NarrowHash::distinct = settings_.distinct_hashes;
        Model model(settings_.capacity, settings_.shards == 1, settings_.listens,
                    order_of<Policy>(), clock_);
        model_ = &model;
        Cache cache(options());
        cache_ = &cache;
        for (done_ = 0; done_ < settings_.operations; ++done_) {
            step();
            after(dice_.one_in(settings_.universe / 8 + 4));
        }
        after(true);
        return done_;
    }

    std::string describe() const {
        std::string text =
            "capacity " + std::to_string(settings_.capacity) + ", shards " +
            std::to_string(settings_.shards) + ", keys " + std::to_string(settings_.universe) +
            ", hashes " + std::to_string(settings_.distinct_hashes) +
            (settings_.weighs ? ", weighed" : "") + (settings_.listens ? ", listener" : "") +
            (settings_.timed ? ", timed" : "") + "; operation " + std::to_string(done_) + ", after";
        const std::uint64_t first = done_ < log_.size() ? 0 : done_ + 1 - log_.size();
        for (std::uint64_t i = first; i <= done_; ++i) {
            const auto& [call, id, detail] = log_[i % log_.size()];
            text += "\n  " + std::string(call) + ' ' + std::to_string(id) + ' ' +
                    std::to_string(detail);
        }
        return text;
    }

private:
    struct Settings {
        std::size_t capacity, shards, universe, distinct_hashes;
        bool weighs, listens, timed, default_ttl;
        std::uint64_t operations;
    };

    static Settings draw(Dice& dice, std::uint64_t most_operations) {
        Settings s{};
        const std::uint64_t scale = dice.below(40);
        s.capacity = 1 + (scale < 20   ? dice.below(8)
                          : scale < 38 ? dice.below(100)
                          : scale < 39 ? dice.below(600)
                                       : dice.below(3000));
        s.shards = is_local || dice.one_in(2) ? 1 : std::size_t{4} << dice.below(3);
        s.distinct_hashes = dice.one_in(2) ? 0 : dice.one_in(2) ? 1 : 3;
        if (s.distinct_hashes != 0)
            s.capacity = std::min<std::size_t>(s.capacity, 200);  // linear to find, then
        s.universe = s.capacity + 1 + dice.below(2 * s.capacity + 4);
        s.weighs = dice.one_in(2);
        if (s.weighs) s.capacity *= 1 + dice.below(20);
        s.listens = !dice.one_in(4);
        s.timed = s.listens && !dice.one_in(3);  // who expired cannot be told from outside
        s.default_ttl = s.timed && dice.one_in(2);
        s.operations = std::min<std::uint64_t>(most_operations, 200 + 20 * s.universe);
        return s;
    }

    auto options() {
        drey::MemoryOptions<typename Kind::Key, typename Kind::Value> options;
        options.capacity = settings_.capacity;
        options.shards = settings_.shards;
        options.clock = clock_;
        if (dice_.one_in(2)) options.seed = dice_.below(1000);
        if (settings_.default_ttl) options.ttl = std::chrono::nanoseconds(default_ttl);
        if (settings_.weighs)
            options.weigher = [](const auto&, const auto& value) {
                return weight_of(Kind::number(value));
            };
        if (settings_.listens)
            options.on_removal = [this](const auto& key, const auto& value, Removal cause) {
                model_->events.push_back({Kind::id(key), Kind::number(value), cause});
            };
        return options;
    }

    void log(const char* call, Id id, std::uint64_t detail = 0) {
        log_[done_ % log_.size()] = {call, id, detail};
    }

    /// A new value, different from every other.
    std::uint64_t draw_value() {
        const std::size_t capacity = model_->capacity();
        Weight weight = 1;
        if (settings_.weighs) {
            const std::uint64_t kind = dice_.below(40);
            weight = kind == 0   ? 0
                     : kind == 1 ? capacity + 1 + dice_.below(capacity)
                     : kind == 2 ? capacity
                     : kind < 10 ? 1 + dice_.below(capacity)
                                 : 1 + dice_.below(capacity / 4 + 1);
        }
        return ++writes_ << 16 | std::min<Weight>(weight, 0xffff);
    }

    drey::PutOptions draw_ttl() {
        if (!settings_.timed || dice_.one_in(2)) return {};
        if (dice_.one_in(8)) return {.ttl = drey::never};
        return {.ttl = std::chrono::nanoseconds(dice_.below(40))};
    }

    Model::Entry entry(std::uint64_t value, drey::PutOptions put) const {
        const drey::Ttl ttl = put.ttl.value_or(
            settings_.default_ttl ? drey::Ttl(std::chrono::nanoseconds(default_ttl)) : drey::never);
        return {value, settings_.weighs ? weight_of(value) : 1,
                ttl == drey::never ? drey::no_deadline : clock_.now().count() + ttl.nanoseconds()};
    }

    Id draw_id() {
        // The lower of two draws: some keys are asked for more than others.
        return static_cast<Id>(
            std::min(dice_.below(settings_.universe), dice_.below(settings_.universe)));
    }

    void step() {
        const Id id = draw_id();
        const std::uint64_t kind = dice_.below(100);
        if (kind < 24) {
            get(id);
        } else if (kind < 28) {
            find(id);
        } else if (kind < 32) {
            visit(id);
        } else if (kind < 35) {
            contains(id);
        } else if (kind < 60) {
            put(id);
        } else if (kind < 66) {
            put_if_absent(id);
        } else if (kind < 73) {
            update(id);
        } else if (kind < 82) {
            get_or_load(id);
        } else if (kind < 86) {
            erase(id);
        } else if (kind < 89) {
            take(id);
        } else if (kind < 94) {
            advance();
        } else if (kind < 96) {
            for_each();
        } else {
            rarely(id);
        }
    }

    /// What empties the cache, or costs a walk through it.
    void rarely(Id id) {
        switch (dice_.below(16)) {
            case 0:
                return clear();
            case 1:
            case 2:
            case 3:
                return erase_if();
            case 4:
            case 5:
            case 6:
                return set_capacity();
            case 7:
            case 8:
            case 9:
                return purge_expired();
            case 10:
                return cache_->synchronize();
            default:
                return get(id);
        }
    }

    static void same(const Model::Entry* expected, std::optional<typename Kind::Value> got) {
        check((expected != nullptr) == got.has_value(),
              expected != nullptr ? "a live entry was missed" : "a value came from nowhere");
        if (got) check(Kind::number(*got) == expected->value, "not the value written last");
    }

    void get(Id id) {
        log("get", id);
        same(expect_read(id), cache_->get(Kind::probe(id)));
        finish_read(id);
    }

    void find(Id id) {
        log("find", id);
        const auto* expected = expect_read(id);
        const auto found = cache_->find(Kind::probe(id));
        check(found.is_hit() == (expected != nullptr) && found.is_miss() != found.is_hit(),
              "find tells another state");
        same(expected, found ? std::optional(*found) : std::nullopt);
        finish_read(id);
    }

    void visit(Id id) {
        log("visit", id);
        const auto* expected = expect_read(id);
        std::optional<typename Kind::Value> seen;
        const bool visited = cache_->visit(Kind::probe(id), [&](const auto& v) { seen = v; });
        check(visited == seen.has_value(), "visit returned one thing and did another");
        same(expected, seen);
        finish_read(id);
    }

    // What the model says must be asked before the call, and done after it, when the listener has
    // spoken.
    const Model::Entry* expect_read(Id id) const { return model_->live(id); }
    void finish_read(Id id) { model_->read(id); }

    void contains(Id id) {
        log("contains", id);
        check(cache_->contains(Kind::probe(id)) == (model_->live(id) != nullptr),
              "contains is wrong");
    }

    void put(Id id) {
        const auto value = draw_value();
        const auto options = draw_ttl();
        log("put", id, weight_of(value));
        const bool kept = cache_->put(Kind::key(id), Kind::value(value), options);
        hear_evictions(id);
        check(kept == model_->put(id, entry(value, options), Model::If::always),
              "put returned the contrary");
    }

    void put_if_absent(Id id) {
        const auto value = draw_value();
        const auto options = draw_ttl();
        log("put_if_absent", id, weight_of(value));
        const bool kept = cache_->put_if_absent(Kind::key(id), Kind::value(value), options);
        hear_evictions(id);
        check(kept == model_->put(id, entry(value, options), Model::If::absent),
              "put_if_absent returned the contrary");
    }

    void update(Id id) {
        const bool removes = dice_.one_in(4);
        const auto value = draw_value();
        const auto options = draw_ttl();
        log(removes ? "update to nothing" : "update", id, weight_of(value));
        const auto* expected = model_->live(id);
        std::size_t calls = 0;
        const bool has_value = cache_->update(
            Kind::key(id),
            [&](std::optional<typename Kind::Value> old) -> std::optional<typename Kind::Value> {
                ++calls;
                same(expected, std::move(old));
                if (removes) return std::nullopt;
                return Kind::value(value);
            },
            options);
        check(calls == 1, "one thread updates once");
        hear_evictions(id);
        if (removes) {
            model_->remove(id, Removal::erased);
            check(!has_value, "update to nothing said that there is a value");
        } else {
            check(has_value == model_->put(id, entry(value, options), Model::If::always),
                  "update returned the contrary");
        }
    }

    struct Broken {};

    void get_or_load(Id id) {
        const auto value = draw_value();
        const auto options = draw_ttl();
        const std::uint64_t kind = dice_.below(4);
        log(kind == 0   ? "get_or_load, throwing"
            : kind == 1 ? "get_or_load, no row"
                        : "get_or_load",
            id, weight_of(value));
        const auto* expected = expect_read(id);
        std::optional<typename Kind::Value> got;
        bool threw = false;
        std::size_t calls = 0;
        try {
            if (kind == 3) {
                got = cache_->get_or_load(Kind::probe(id), [&] {
                    ++calls;
                    return drey::Loaded<typename Kind::Value>{Kind::value(value), options};
                });
            } else {
                const auto loader =
                    [&](const typename Kind::Key& key) -> std::optional<typename Kind::Value> {
                    ++calls;
                    check(Kind::id(key) == id, "the loader was given another key");
                    if (kind == 0) throw Broken{};
                    if (kind == 1) return std::nullopt;
                    return Kind::value(value);
                };
                got = cache_->get_or_load(Kind::probe(id), loader, {.ttl = options.ttl});
            }
        } catch (const Broken&) {
            threw = true;
        }
        hear_evictions(id);
        check(calls == (expected != nullptr ? 0u : 1u), "the loader is called on a miss, once");
        if (expected != nullptr) {
            same(expected, got);
            finish_read(id);
            return;
        }
        finish_read(id);
        check(threw == (kind == 0), "what the loader throws comes out, and nothing else");
        ++(threw ? model_->stats.load_failures : model_->stats.loads);
        check(got.has_value() == (kind >= 2), "what was loaded comes out, and nothing else");
        if (!got) return;
        check(Kind::number(*got) == value, "get_or_load returned another value");
        if (!model_->put(id, entry(value, options), Model::If::loaded))
            ++model_->stats.dropped_loads;
    }

    void erase(Id id) {
        log("erase", id);
        const std::size_t erased = cache_->erase(Kind::probe(id));
        check(erased == (model_->remove(id, Removal::erased) ? 1u : 0u), "erase counted wrong");
    }

    void take(Id id) {
        log("take", id);
        const auto* expected = model_->live(id);
        same(expected, cache_->take(Kind::probe(id)));
        model_->remove(id, Removal::erased);
    }

    void advance() {
        const auto by = dice_.below(dice_.one_in(8) ? 60 : 8);
        log("advance", 0, by);
        clock_.advance(std::chrono::nanoseconds(by));
    }

    void for_each() {
        log("for_each", 0);
        std::set<Id> seen;
        cache_->for_each([&](const auto& key, const auto& value) {
            const Id id = Kind::id(key);
            check(seen.insert(id).second, "for_each showed an entry twice");
            same(model_->live(id), value);
        });
        check(seen.size() == model_->live_count(), "for_each left an entry out");
    }

    void erase_if() {
        const std::uint64_t modulus = 2 + dice_.below(4), rest = dice_.below(modulus);
        log("erase_if", 0, modulus);
        const std::size_t erased = cache_->erase_if([&](const auto& key, const auto& value) {
            same(model_->live(Kind::id(key)), value);
            return Kind::id(key) % modulus == rest;
        });
        check(erased == model_->remove_all(Removal::erased,
                                           [&](Id id, const auto&) {
                                               return id % modulus == rest &&
                                                      model_->live(id) != nullptr;
                                           }),
              "erase_if counted wrong");
    }

    void clear() {
        log("clear", 0);
        const std::size_t cleared = cache_->clear();
        check(cleared == model_->remove_all(Removal::cleared, [](Id, const auto&) { return true; }),
              "clear counted wrong");
    }

    void purge_expired() {
        log("purge_expired", 0);
        const std::size_t purged = cache_->purge_expired();
        check(purged == model_->remove_all(
                            Removal::expired,
                            [&](Id id, const auto&) { return model_->live(id) == nullptr; }),
              "purge_expired counted wrong");
    }

    void set_capacity() {
        const std::size_t capacity =
            dice_.one_in(4) ? 1 + dice_.below(settings_.capacity * 2) : settings_.capacity;
        log("set_capacity", 0, capacity);
        cache_->set_capacity(capacity);
        hear_evictions({});
        model_->set_capacity(capacity);
        check(cache_->capacity() == capacity, "capacity() is not what was set");
    }

    /// Without a listener, finds out from what is left who was evicted.
    void hear_evictions(std::optional<Id> id) {
        if (settings_.listens) return;
        const std::uint64_t evictions = cache_->stats().evictions();
        std::uint64_t news = evictions - model_->stats.evictions();
        if (news == 0) return;
        std::set<Id> kept;
        cache_->for_each([&](const auto& key, const auto&) { kept.insert(Kind::id(key)); });
        for (const auto& [held, unused] : model_->held())
            if (!kept.contains(held)) {
                model_->events.push_back({held, 0, Removal::evicted});
                --news;
            }
        if (news != 0 && id) {  // the one that was overwritten, by chance
            model_->events.push_back({*id, 0, Removal::evicted});
            --news;
        }
        check(news == 0, "the evictions counted are not those made");
    }

    void after(bool thoroughly) {
        model_->settle();
        check(cache_->size() == model_->size(), "size() is wrong");
        if (!thoroughly) return;
        check(cache_->validate(), "an invariant of the structure is broken");
        drey::Stats stats = cache_->stats();
        stats.load_time = {};
        const drey::Stats& expected = model_->stats;
        check(stats.hits == expected.hits && stats.misses == expected.misses,
              "hits and misses do not add up");
        check(stats.insertions == expected.insertions && stats.rejections == expected.rejections,
              "insertions and rejections do not add up");
        check(stats.removals == expected.removals, "removals do not add up");
        check(stats.loads == expected.loads && stats.load_failures == expected.load_failures &&
                  stats.dropped_loads == expected.dropped_loads,
              "loads do not add up");
        check(stats.listener_failures == 0, "the listener failed");
        std::uint64_t left = stats.insertions;
        for (const std::uint64_t removed : stats.removals) left -= removed;
        check(left == cache_->size(), "not every entry is accounted for");
    }

    static constexpr int default_ttl = 25;

    struct Logged {
        const char* call = "";
        Id id = 0;
        std::uint64_t detail = 0;
    };

    Dice dice_;
    Settings settings_;
    drey::ManualClock clock_;
    Model* model_ = nullptr;
    Cache* cache_ = nullptr;
    std::uint64_t writes_ = 0;
    std::uint64_t done_ = 0;
    std::array<Logged, 24> log_{};
};

/// Runs episodes until `operations` are done. Returns what went wrong, or nothing. Episode i has
/// the seed `seed + i`, so the seed of one that failed runs it first.
template <class Policy, class Backend, class Kind, bool is_local = false>
std::string run(std::uint64_t seed, std::uint64_t operations) {
    for (std::uint64_t done = 0; done < operations; ++seed) {
        Episode<Policy, Backend, Kind, is_local> episode(seed, operations / 10 + 100);
        try {
            done += episode.run();
        } catch (const Mismatch& mismatch) {
            return std::string(mismatch.what()) + "\nDREY_TEST_OPS=" + std::to_string(operations) +
                   " DREY_TEST_SEED=" + std::to_string(seed) + ": " + episode.describe();
        }
    }
    return {};
}

/// Enough in all test cases together for every commit, and quick.
inline std::uint64_t operations() { return number_from("DREY_TEST_OPS", 10'000); }

}  // namespace model
