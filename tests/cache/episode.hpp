#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>

#include "drey/cache.hpp"
#include "support/model.hpp"

/// Random operations on a cache, beside the model of it.
///
/// Environment: DREY_TEST_OPS, operations a test case; DREY_TEST_SEED, which a failure prints.
namespace model {

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
        Model model(settings_.capacity, settings_.shards == 1, settings_.listens, settings_.timed,
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
        s.timed = dice.one_in(s.listens ? 2 : 4);
        if (s.timed && !s.listens) s.capacity = std::min<std::size_t>(s.capacity, 200);
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
        const std::size_t size = cache_->size();
        check(cache_->clear() == size, "clear counted wrong");
        model_->clear(size);
        check(cache_->empty(), "clear left something");
    }

    void purge_expired() {
        log("purge_expired", 0);
        const std::size_t size = cache_->size();
        const std::size_t purged = cache_->purge_expired();
        model_->remove_all(Removal::expired,
                           [&](Id id, const auto&) { return model_->live(id) == nullptr; });
        check(cache_->size() == model_->live_count(), "purge_expired left something");
        check(purged == size - cache_->size(), "purge_expired counted wrong");
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
            if (held != id && model_->live(held) != nullptr && !kept.contains(held)) {
                model_->events.push_back({held, 0, Removal::evicted});
                --news;
            }
        check(news == 0, "the evictions counted are not those made");
    }

    void after(bool thoroughly) {
        model_->settle();
        check(model_->could_hold(cache_->size()), "size() is wrong");
        if (!thoroughly) return;
        check(cache_->validate(), "an invariant of the structure is broken");
        drey::Stats stats = cache_->stats();
        stats.load_time = {};
        check(model_->could_have_expired(stats.expirations()), "expirations do not add up");
        drey::Stats expected = model_->stats;
        const auto expired = static_cast<std::size_t>(Removal::expired);
        expected.removals[expired] = stats.removals[expired];
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
