#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <thread>

#include "drey/cache.hpp"
#include "drey/policy/adaptive.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/policy/w_tiny_lfu.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/threads.hpp"

/// Every call at once, from threads that come and go, on every policy. Each value says which key it
/// is for; each that was made must be destroyed once.

using namespace std::chrono_literals;
using support::Counted;
using support::Failures;
using support::in_threads;
using support::ops;

namespace {

/// Values that are overwritten in place, where nothing forbids it.
struct Words {
    using Key = std::uint64_t;
    using Value = std::uint64_t;
    static Key key(std::uint64_t n) { return n; }
    static std::uint64_t number(const Key& key) { return key; }
    static Value value(std::uint64_t key, std::uint64_t version) { return key << 32 | version; }
    static bool is_for(const Key& key, const Value& value) { return value >> 32 == key; }
};

/// Keys and values on the heap: who compares with a key that was destroyed, or reads such a value,
/// reads memory that was freed.
struct Texts {
    using Key = std::string;
    using Value = Counted;
    static Key key(std::uint64_t n) {
        return "a key too long for a small string: " + std::to_string(n);
    }
    static std::uint64_t number(const Key& key) { return std::stoull(key.substr(key.rfind(' '))); }
    static Value value(std::uint64_t key, std::uint64_t version) { return key << 32 | version; }
    static bool is_for(const Key& key, const Value& value) {
        return value.whole() && value.number() >> 32 == number(key);
    }
};

struct Setup {
    std::size_t shards;
    bool expires, listens, weighed;
};

/// Among them the one that lets words be overwritten in place, and with and without a listener,
/// since entries that nobody is told of are retired in another way.
constexpr Setup setups[] = {{1, false, false, false},
                            {1, false, true, false},
                            {8, true, false, false},
                            {8, true, true, true}};

template <class Kind, class Policy>
class Stress {
    using Key = typename Kind::Key;
    using Value = typename Kind::Value;
    using Cache = drey::Cache<Key, Value, Policy>;

public:
    explicit Stress(Setup setup) : setup_(setup), cache_(options()) {}

    void run() {
        in_threads(8, [&](std::size_t thread) {
            support::Random random(thread + 1);
            for (std::uint64_t i = 0; i < ops(4'000); ++i) step(random, i);
        });
        CHECK(failures_.count() == 0);
        CHECK(cache_.validate());
        const drey::Stats stats = cache_.stats();
        const auto removals =
            std::accumulate(stats.removals.begin(), stats.removals.end(), std::uint64_t{0});
        CHECK(stats.insertions - removals == cache_.size());
        CHECK(heard_ == (setup_.listens ? removals : 0));
        CHECK(stats.listener_failures == 0);
        if (!setup_.weighed) CHECK(cache_.size() <= cache_.capacity());
        cache_.synchronize();
        if constexpr (std::is_same_v<Value, Counted>)
            CHECK(Counted::alive() == static_cast<long>(cache_.size()));
    }

private:
    drey::MemoryOptions<Key, Value> options() {
        drey::MemoryOptions<Key, Value> options{
            .capacity = setup_.weighed ? 600u : 200u, .clock = clock_, .shards = setup_.shards};
        if (setup_.listens)
            options.on_removal = [this](const Key& key, const Value& value, drey::Removal) {
                failures_.expect(Kind::is_for(key, value));
                ++heard_;
            };
        if (setup_.weighed)
            options.weigher = [](const Key& key, const Value&) { return Kind::number(key) % 6; };
        return options;
    }

    void step(support::Random& random, std::uint64_t i) {
        const std::uint64_t n = random.below(400);
        const Key key = Kind::key(n);
        const auto fresh = [&] { return Kind::value(n, i); };
        const auto look = [&](const Value& value) { failures_.expect(Kind::is_for(key, value)); };
        const auto look_if_any = [&](const std::optional<Value>& value) {
            if (value) look(*value);
        };
        const auto look_at = [&](const Key& k, const Value& value) {
            failures_.expect(Kind::is_for(k, value));
        };
        switch (random.below(32)) {
            case 0:
                cache_.erase(key);
                break;
            case 1:
                look_if_any(cache_.take(key));
                break;
            case 2:
                if (setup_.expires)
                    cache_.put(key, fresh(), {.ttl = std::chrono::seconds(random.below(3))});
                break;
            case 3:
                cache_.put_if_absent(key, fresh());
                break;
            case 4:
                cache_.update(key, [&](std::optional<Value> old) -> std::optional<Value> {
                    look_if_any(old);
                    return i % 4 == 0 ? std::nullopt : std::optional<Value>(fresh());
                });
                break;
            case 5:
                look(cache_.get_or_load(key, fresh));
                break;
            case 6:
                if (i % 8 == 0) clock_.advance(1s);
                break;
            case 7:
                if (i % 16 == 0)
                    cache_.set_capacity((setup_.weighed ? 300u : 100u) +
                                        static_cast<std::size_t>(random.below(100)));
                break;
            case 8:
                if (i % 32 == 0) cache_.clear();
                break;
            case 9:
                if (i % 8 == 0) cache_.for_each(look_at);
                break;
            case 10:
                if (i % 8 == 0)
                    cache_.erase_if([&](const Key& k, const Value& value) {
                        look_at(k, value);
                        return Kind::number(k) % 8 == i % 8;
                    });
                break;
            case 11:
                cache_.purge_expired();
                break;
            case 12:
                if (i % 64 == 0) failures_.expect(cache_.validate());
                break;
            case 13:
                cache_.synchronize();
                break;
            case 14:
                cache_.size();
                cache_.stats();
                break;
            case 15:
                if (i % 16 == 0)
                    std::thread([&] {  // whose first look at a cache, and last, this is
                        look_if_any(cache_.get(key));
                        cache_.put(key, fresh());
                    })
                        .join();
                break;
            case 16:
                if (i % 4 == 0) visit_beside_a_short_lived_cache(key, fresh(), look);
                break;
            case 17:
            case 18:
            case 19:
            case 20:
            case 21:
                cache_.put(key, fresh());
                break;
            case 22:
            case 23:
                cache_.visit(key, look);
                break;
            case 24:
                cache_.contains(key);
                break;
            default:
                look_if_any(cache_.get(key));
        }
    }

    template <class Look>
    void visit_beside_a_short_lived_cache(const Key& key, Value value, Look& look) {
        cache_.visit(key, [&](const Value& visited) {
            Cache other{{.capacity = 2}};
            for (std::uint64_t n = 0; n < 4; ++n) other.put(Kind::key(n), Kind::value(n, n));
            other.put(key, std::move(value));
            failures_.expect(other.visit(key, look));
            look(visited);
        });
    }

    const Setup setup_;
    drey::ManualClock clock_;
    Failures failures_;
    std::atomic<std::uint64_t> heard_{0};
    Cache cache_;
};

template <class Kind, class Policy>
void stress() {
    for (const Setup& setup : setups) {
        CAPTURE(setup.shards, setup.expires, setup.listens, setup.weighed);
        Stress<Kind, Policy>(setup).run();
        CHECK(Counted::all_destroyed_once());
    }
}

}  // namespace

TEMPLATE_TEST_CASE("all calls at once from many threads, on words", "[concurrent]", drey::Fifo,
                   drey::Lru, drey::Mru, drey::Lfu, drey::Random, drey::Sieve, drey::S3Fifo,
                   drey::Adaptive, drey::WTinyLfu) {
    stress<Words, TestType>();
}

// What texts change is in the store, so a policy of each kind does: hits do nothing, leave a mark,
// or reorder, and a policy may ask for the hashes of what it holds.
TEMPLATE_TEST_CASE("all calls at once from many threads, on texts", "[concurrent]", drey::Fifo,
                   drey::Sieve, drey::Lru, drey::Adaptive, drey::WTinyLfu) {
    stress<Texts, TestType>();
}

TEST_CASE("caches come and go while others are used by threads that come and go", "[concurrent]") {
    drey::Cache<std::uint64_t, Counted, drey::Lru> lasting{{.capacity = 50}};
    Failures failures;
    in_threads(4, [&](std::size_t starter) {
        for (std::uint64_t i = 0; i < ops(150); ++i)
            std::thread([&] {
                drey::Cache<std::uint64_t, Counted, drey::Sieve> own{{.capacity = 20}};
                support::Random random(starter * 1000 + i);
                for (int j = 0; j < 50; ++j) {
                    const std::uint64_t key = random.below(100);
                    own.put(key, Words::value(key, i));
                    if (j % 2 == 0) lasting.put(key, Words::value(key, i));
                    const auto is_for = [&](const Counted& value) {
                        failures.expect(value.whole() && value.number() >> 32 == key);
                    };
                    lasting.visit(key, [&](const Counted& value) {
                        is_for(value);
                        own.visit(key, is_for);
                    });
                }
                failures.expect(own.validate());
            }).join();
    });
    CHECK(failures.count() == 0);
    CHECK(lasting.validate());
    lasting.synchronize();
    CHECK(Counted::alive() == static_cast<long>(lasting.size()));
}
