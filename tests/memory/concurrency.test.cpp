#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/cache.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/threads.hpp"

using namespace std::chrono_literals;
using support::Counted;
using support::Failures;
using support::in_threads;
using support::ops;

namespace {

template <class K, class V, class Policy, class Hasher = drey::DefaultHash>
using Store = drey::Store<K, V, Policy, Hasher, drey::DefaultEqual, drey::Shared>;

/// A value that says which key it is for.
Counted value_for(std::uint64_t key, std::uint64_t version) { return Counted(key << 32 | version); }
bool is_for(std::uint64_t key, const Counted& value) {
    return value.whole() && value.number() >> 32 == key;
}

}  // namespace

// ---- a key that is there is found --------------------------------------------------------------

namespace {

struct OneHash {
    std::size_t operator()(std::uint64_t) const { return 5; }
};

/// Hashes that share homes and differ in tags, and some that share both.
struct FewHashes {
    std::uint64_t operator()(std::uint64_t key, std::uint64_t) const {
        return (key % 7) << 61 | key % 5;
    }
};

/// A number that does not fit a word, so that overwriting it takes a new slot.
struct Twin {
    Twin(std::uint64_t n) : number(n), again(n) {}  // NOLINT
    bool operator==(const Twin&) const = default;
    operator std::uint64_t() const {
        return number == again ? number : ~std::uint64_t{0};
    }  // NOLINT
    std::uint64_t number, again;
};

/// And one whose slots are given back at once, since its destructor might be waited for.
struct Solid : Twin {
    using Twin::Twin;
    Solid(const Solid&) = default;
    ~Solid() { number = ~again; }
};

/// One thread overwrites a key with a number that rises, others read it: it must always be there
/// and never go back.
template <class Hasher, class V, class Write>
void rises_as(std::size_t writes, Write& write) {
    drey::Cache<std::uint64_t, V, drey::Memory<drey::Fifo, Hasher>> cache{
        {.capacity = 100, .shards = 1}};
    cache.put(1, std::uint64_t{0});
    Failures missed, went_back, broken;
    std::atomic<bool> stop{false};
    in_threads(4, [&](std::size_t thread) {
        if (thread == 0) {
            for (std::uint64_t i = 1; i <= writes; ++i) write(cache, i);
            stop = true;
        } else {
            for (std::uint64_t last = 0; !stop;) {
                const auto now = cache.get(std::uint64_t{1});
                missed.expect(now.has_value());
                if (!now) continue;
                const std::uint64_t number = *now;
                broken.expect(number <= writes);
                went_back.expect(number >= last);
                last = number;
            }
        }
    });
    CHECK(missed.count() == 0);
    CHECK(went_back.count() == 0);
    CHECK(broken.count() == 0);
    CHECK(cache.get(std::uint64_t{1}) == V(writes));
    CHECK(cache.validate());
}

template <class Hasher, class Write>
void rises(std::size_t writes, Write&& write) {
    rises_as<Hasher, std::uint64_t>(writes, write);
    rises_as<Hasher, Twin>(writes, write);
    rises_as<Hasher, Solid>(writes, write);
}

}  // namespace

TEST_CASE("a key that is overwritten is never missed and never goes back", "[concurrent]") {
    // Two slots take turns here, so the word in the index goes A, B, A, B: a reader that finds A
    // before and after must not take that for A all the while.
    rises<drey::DefaultHash>(ops(200'000), [](auto& cache, std::uint64_t i) { cache.put(1, i); });
}

TEST_CASE("nor one that is updated", "[concurrent]") {
    rises<drey::DefaultHash>(ops(100'000), [](auto& cache, std::uint64_t i) {
        using V = typename std::remove_cvref_t<decltype(cache)>::mapped_type;
        cache.update(1, [&](std::optional<V> old) {
            return old == V(i - 1) ? std::optional<V>(i) : std::nullopt;
        });
    });
}

TEST_CASE("nor one whose neighbours of the same hash come and go", "[concurrent]") {
    rises<OneHash>(ops(50'000), [](auto& cache, std::uint64_t i) {
        cache.put(2 + i % 40, i);
        cache.put(1, i);
        cache.erase(2 + (i + 20) % 40);
    });
}

TEST_CASE("nor one whose overwriting is churned through a changing set of free slots",
          "[concurrent]") {
    rises<FewHashes>(ops(50'000), [](auto& cache, std::uint64_t i) {
        cache.put(1, i);
        if (i % 3 == 0) cache.put(2 + i % 13, i);
        if (i % 5 == 0) cache.erase(2 + i % 11);
    });
}

namespace {

template <class Hasher>
void never_misses_its_own(std::size_t each) {
    // The weigher makes the index begin small, so that it grows under the readers many times.
    drey::Cache<std::uint64_t, std::uint64_t, drey::Memory<drey::Fifo, Hasher>> cache{
        {.capacity = std::size_t{1} << 40,
         .weigher = [](std::uint64_t, std::uint64_t) -> drey::Weight { return 1; },
         .shards = 1}};
    Failures missed, wrong;
    constexpr std::size_t threads = 4;
    std::atomic<std::uint64_t> kept{0};
    in_threads(threads, [&](std::size_t thread) {
        support::Random random(thread);
        std::vector<std::uint64_t> mine;
        const auto check = [&](std::uint64_t key) {
            const auto value = cache.get(key);
            missed.expect(value.has_value());
            wrong.expect(!value || *value == key + 1);
        };
        for (std::uint64_t i = 0; i < each; ++i) {
            const std::uint64_t key = i * threads + thread;
            cache.put(key, key + 1);
            check(key);
            mine.push_back(key);
            for (int j = 0; j < 3; ++j) check(mine[random.below(mine.size())]);
            if (random.below(3) == 0) {  // and one of them goes, for others to take its place
                std::swap(mine[random.below(mine.size())], mine.back());
                wrong.expect(cache.erase(mine.back()) == 1);
                wrong.expect(!cache.contains(mine.back()));
                mine.pop_back();
            }
            if (random.below(3) == 0 && !mine.empty()) {
                const std::uint64_t again = mine[random.below(mine.size())];
                cache.put(again, again + 1);
                check(again);
            }
        }
        for (const std::uint64_t key : mine) check(key);
        kept += mine.size();
    });
    CHECK(missed.count() == 0);
    CHECK(wrong.count() == 0);
    CHECK(cache.size() == kept);
    CHECK(cache.validate());
}

}  // namespace

TEST_CASE("what a thread has put it finds, while the index grows and others come and go",
          "[concurrent]") {
    for (std::size_t round = 0; round < 5; ++round)
        never_misses_its_own<drey::DefaultHash>(ops(12'000));
}

TEST_CASE("also if all hashes are the same", "[concurrent]") {
    never_misses_its_own<OneHash>(ops(750));
}
TEST_CASE("also if hashes are few", "[concurrent]") { never_misses_its_own<FewHashes>(ops(1'000)); }

TEST_CASE("small caches grow under their readers", "[concurrent]") {
    // Growth is rare in a long run; so many short ones.
    for (std::size_t round = 0; round < ops(500); ++round)
        never_misses_its_own<drey::DefaultHash>(60);
}

// ---- read-modify-write -------------------------------------------------------------------------

TEST_CASE("updates from many threads add up", "[concurrent]") {
    drey::Cache<int, std::uint64_t, drey::Lru> cache{{.capacity = 10}};
    constexpr std::size_t threads = 8, keys = 3;
    const std::size_t each = ops(20'000);
    in_threads(threads, [&](std::size_t) {
        for (std::size_t i = 0; i < each; ++i)
            cache.update(static_cast<int>(i % keys), [](std::optional<std::uint64_t> old) {
                return std::optional(old.value_or(0) + 1);
            });
    });
    std::uint64_t sum = 0;
    for (std::size_t key = 0; key < keys; ++key)
        sum += cache.get(static_cast<int>(key)).value_or(0);
    CHECK(sum == threads * each);
    CHECK(cache.validate());
}

TEST_CASE("updates add up also while the entry keeps going away", "[concurrent]") {
    // What one thread removes by an update, or takes, it adds to what it has; nothing may be lost.
    drey::Cache<int, std::uint64_t, drey::Lru> cache{{.capacity = 10}};
    std::atomic<std::uint64_t> total{0};
    const std::size_t each = ops(20'000);
    in_threads(6, [&](std::size_t thread) {
        std::uint64_t mine = 0;
        for (std::size_t i = 0; i < each; ++i) {
            if (thread < 4) {
                cache.update(1, [](std::optional<std::uint64_t> old) {
                    return std::optional(old.value_or(0) + 1);
                });
            } else if (thread == 4) {
                mine += cache.take(1).value_or(0);
            } else {
                std::uint64_t removed = 0;
                cache.update(1, [&](std::optional<std::uint64_t> old) {
                    removed = old.value_or(0);
                    return std::optional<std::uint64_t>();
                });
                mine += removed;
            }
        }
        total += mine;
    });
    CHECK(total + cache.get(1).value_or(0) == 4 * each);
    CHECK(cache.validate());
}

TEST_CASE("of many put_if_absent one wins", "[concurrent]") {
    drey::Cache<std::uint64_t, std::uint64_t, drey::Lru> cache{{.capacity = 10'000}};
    std::atomic<std::uint64_t> won{0};
    const std::uint64_t keys = ops(10'000);
    in_threads(8, [&](std::size_t thread) {
        for (std::uint64_t key = 0; key < keys; ++key)
            if (cache.put_if_absent(key % 1'000, thread)) ++won;
    });
    CHECK(won == cache.size());
}

// ---- take --------------------------------------------------------------------------------------

TEST_CASE("a value is taken once, and whole", "[concurrent]") {
    drey::Cache<std::uint64_t, std::unique_ptr<Counted>, drey::Sieve> cache{{.capacity = 1'000}};
    std::atomic<std::uint64_t> put{0}, taken{0};
    Failures failures;
    in_threads(6, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::uint64_t i = 0; i < ops(30'000); ++i) {
            const std::uint64_t key = random.below(20);
            switch (thread % 3) {
                case 0:
                    if (cache.put_if_absent(key, std::make_unique<Counted>(value_for(key, i))))
                        ++put;
                    break;
                case 1:
                    if (const auto value = cache.take(key)) {
                        failures.expect(*value && is_for(key, **value));
                        ++taken;
                    }
                    break;
                default:
                    cache.visit(key, [&](const std::unique_ptr<Counted>& value) {
                        failures.expect(value && is_for(key, *value));
                        if (i % 16 == 0) std::this_thread::yield();
                        failures.expect(value && is_for(key, *value));
                    });
            }
        }
    });
    CHECK(failures.count() == 0);
    CHECK(put == taken + cache.size());
    CHECK(cache.validate());
    cache.clear();
    CHECK(Counted::alive() == 0);
}

TEST_CASE("a value that only moves is not taken from under its reader", "[concurrent]") {
    drey::Cache<int, std::unique_ptr<Counted>, drey::Lru> cache{{.capacity = 10}};
    cache.put(1, std::make_unique<Counted>(value_for(1, 1)));
    support::Gate visiting;
    Failures failures;
    std::atomic<bool> taken{false};
    std::thread reader([&] {
        cache.visit(1, [&](const std::unique_ptr<Counted>& value) {
            visiting.open();
            while (cache.size() != 0) std::this_thread::yield();  // until the taker has it
            for (int i = 0; i < 1'000; ++i) {
                failures.expect(value && is_for(1, *value));
                failures.expect(!taken);
                std::this_thread::yield();
            }
        });
    });
    visiting.wait();
    const auto value = cache.take(1);
    taken = true;
    reader.join();
    CHECK(failures.count() == 0);
    REQUIRE(value);
    CHECK(is_for(1, **value));
}

// ---- readers that stay -------------------------------------------------------------------------

namespace {

template <class Churn>
void while_visited(Churn&& churn) {
    {
        Store<std::uint64_t, Counted, drey::S3Fifo> store({.capacity = 1'000, .shards = 1});
        store.put(1, value_for(1, 1), {}, drey::WriteIf::always);
        support::Gate visiting, done;
        bool whole = false;
        std::thread reader([&] {
            const std::uint64_t key = 1;
            store.read(key, store.hash(key), [&](const Counted& value) {
                visiting.open();
                done.wait();
                whole = is_for(1, value) && (value.number() & 0xffffffff) == 1;
            });
        });
        visiting.wait();
        const std::size_t threads = 4;
        in_threads(threads, [&](std::size_t thread) { churn(store, thread); });
        // What is live; what waits to be retired together with its like, 1/64th and at most 256; a
        // batch of 256 in the hands of each writer; and what the reader holds.
        const std::size_t bound = 1'000 + 256 + threads * (256 + 1) + 1;
        CHECK(store.slots() <= bound);
        store.synchronize();
        const bool is_still_in = Counted::alive() == static_cast<long>(store.size());
        CHECK((is_still_in || Counted::alive() == static_cast<long>(store.size()) + 1));
        done.open();
        reader.join();
        CHECK(whole);
        CHECK(store.validate());
        store.synchronize();
        CHECK(Counted::alive() == static_cast<long>(store.size()));
    }
    CHECK(Counted::alive() == 0);
}

}  // namespace

TEST_CASE("a reader that stays holds up neither writers nor memory: overwriting", "[concurrent]") {
    while_visited([](auto& store, std::size_t) {
        for (std::uint64_t i = 0; i < ops(50'000); ++i)
            store.put(1, value_for(1, i + 2), {}, drey::WriteIf::always);
    });
}

TEST_CASE("a reader that stays holds up neither writers nor memory: evicting", "[concurrent]") {
    while_visited([](auto& store, std::size_t thread) {
        support::Random random(thread);
        for (std::uint64_t i = 0; i < ops(50'000); ++i) {
            const std::uint64_t key = 2 + random.below(5'000);
            store.put(std::uint64_t{key}, value_for(key, i), {}, drey::WriteIf::always);
        }
    });
}

TEST_CASE("a reader that stays holds up neither writers nor memory: removing", "[concurrent]") {
    while_visited([](auto& store, std::size_t thread) {
        for (std::uint64_t i = 0; i < ops(20'000); ++i) {
            store.erase(std::uint64_t{1});
            store.put(1 + i % 10, value_for(1 + i % 10, i), {}, drey::WriteIf::always);
            if (i % 50 == 0) store.clear();
            if (i % 50 == 25)
                store.erase_if(
                    [&](std::uint64_t key, const Counted&) { return key % 2 == thread % 2; });
            store.take(std::uint64_t{1 + (i + 5) % 10});
        }
    });
}

namespace {

/// A value that counts what all of them weigh.
class Heavy {
public:
    explicit Heavy(std::int64_t weight) : weight_(weight) { total += weight; }
    Heavy(Heavy&& other) noexcept : weight_(std::exchange(other.weight_, 0)) {}
    Heavy& operator=(Heavy&& other) noexcept {
        std::swap(weight_, other.weight_);
        return *this;
    }
    ~Heavy() { total -= weight_; }
    drey::Weight weight() const { return static_cast<drey::Weight>(weight_); }

    static inline std::atomic<std::int64_t> total{0};

private:
    std::int64_t weight_;
};

}  // namespace

TEST_CASE("a reader that stays holds up neither writers nor memory: weight", "[concurrent]") {
    constexpr std::int64_t capacity = 100'000, heaviest = 5'000;
    constexpr std::size_t threads = 4;
    {
        drey::Cache<std::uint64_t, Heavy, drey::Lru> cache{
            {.capacity = capacity,
             .weigher = [](std::uint64_t, const Heavy& value) { return value.weight(); },
             .shards = 1}};
        // So many that a share of their number would be far too many of the heavy ones.
        for (std::uint64_t key = threads; key < 10'000; ++key) cache.put(key, Heavy(1));
        cache.put(0, Heavy(heaviest));
        support::Gate visiting, done;
        std::thread reader([&] {
            cache.visit(0, [&](const Heavy&) {
                visiting.open();
                done.wait();
            });
        });
        visiting.wait();
        std::atomic<std::int64_t> most{0};
        in_threads(threads, [&](std::size_t thread) {
            std::int64_t mine = 0;
            for (std::size_t i = 0; i < ops(5'000); ++i) {
                cache.put(thread, Heavy(heaviest));
                mine = std::max(mine, Heavy::total.load());
            }
            for (std::int64_t seen = most; seen < mine && !most.compare_exchange_weak(seen, mine);)
                continue;
        });
        // What is live, what the reader holds, what waits for its like, and of each writer what it
        // is about to put and what it is about to destroy.
        constexpr std::int64_t waits = capacity / 16 + heaviest;
        CHECK(most <= capacity + heaviest + waits + std::int64_t{threads} * (heaviest + waits));
        cache.synchronize();
        CHECK(Heavy::total <= capacity + heaviest);
        done.open();
        reader.join();
        CHECK(cache.validate());
    }
    CHECK(Heavy::total == 0);
}

namespace {

template <class F>
void visit_all(drey::Cache<std::uint64_t, Counted, drey::Fifo>& cache, std::uint64_t from,
               std::uint64_t to, F&& f) {
    if (from == to) return f();
    cache.visit(from, [&](const Counted& value) {
        visit_all(cache, from + 1, to, f);
        if (!is_for(from, value)) std::abort();
    });
}

}  // namespace

TEST_CASE("more readers than a list of hazards is long hold up neither writers nor memory") {
    constexpr std::uint64_t visited = 300, others = 100;
    {
        drey::Cache<std::uint64_t, Counted, drey::Fifo> cache{{.capacity = 1'000}};
        for (std::uint64_t key = 0; key < visited; ++key) cache.put(key, value_for(key, 1));
        visit_all(cache, 0, visited, [&] {
            for (std::uint64_t i = 0; i < 5'000; ++i)
                cache.put(visited + i % others, value_for(visited + i % others, i));
            cache.clear();
            CHECK(cache.size() == 0);
            CHECK(Counted::alive() ==
                  static_cast<long>(visited));  // all that is not being read is gone
        });
        cache.synchronize();
        CHECK(Counted::alive() == 0);
        CHECK(cache.validate());
    }
}

TEST_CASE("more readers than a list of hazards is long do not keep a value from being taken") {
    drey::Cache<std::uint64_t, std::unique_ptr<int>, drey::Fifo> values{{.capacity = 1'000}};
    drey::Cache<std::uint64_t, Counted, drey::Fifo> cache{{.capacity = 1'000}};
    for (std::uint64_t key = 0; key < 300; ++key) cache.put(key, value_for(key, 1));
    values.put(1, std::make_unique<int>(1));
    visit_all(cache, 0, 300, [&] { CHECK(*values.take(std::uint64_t{1}).value() == 1); });
}

// ---- time --------------------------------------------------------------------------------------

TEST_CASE("the first TTL may come while entries without one are read", "[concurrent]") {
    for (std::size_t round = 0; round < ops(1'000); ++round) {
        drey::ManualClock clock;
        drey::Cache<std::uint64_t, std::uint64_t, drey::Lru> cache{
            {.capacity = 300, .clock = clock}};
        for (std::uint64_t key = 0; key < 100; ++key) cache.put(key, key);
        Failures failures;
        in_threads(3, [&](std::size_t thread) {
            if (thread == 0) {
                for (std::uint64_t key = 100; key < 250; ++key) cache.put(key, key, {.ttl = 1s});
            } else {
                for (std::uint64_t i = 0; i < 200; ++i)
                    failures.expect(cache.get(i % 100) == i % 100);
            }
        });
        REQUIRE(failures.count() == 0);
        REQUIRE(cache.validate());
    }
}

TEMPLATE_TEST_CASE("entries that expire as soon as they are written, in slots that change hands",
                   "[concurrent]", drey::Lru, drey::S3Fifo) {
    drey::ManualClock clock;
    drey::Cache<std::uint64_t, Counted, TestType> cache{
        {.capacity = 16, .clock = clock, .shards = 1}};
    Failures failures;
    in_threads(6, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::uint64_t i = 0; i < ops(50'000); ++i) {
            const std::uint64_t key = random.below(12);
            if (thread % 2 == 0) {
                cache.put(key, value_for(key, i),
                          {.ttl = std::chrono::nanoseconds(random.below(3))});
                if (random.below(4) == 0) clock.advance(1ns);
            } else {
                cache.visit(key,
                            [&](const Counted& value) { failures.expect(is_for(key, value)); });
            }
        }
    });
    CHECK(failures.count() == 0);
    CHECK(cache.validate());
    clock.advance(1s);
    cache.purge_expired();
    CHECK(cache.size() == 0);
    cache.synchronize();
    CHECK(Counted::alive() == 0);
}

TEST_CASE("an expired entry is not found by who saw the time pass", "[concurrent]") {
    drey::ManualClock clock;
    drey::Cache<std::uint64_t, std::int64_t, drey::Sieve> cache{{.capacity = 100, .clock = clock}};
    Failures failures;
    in_threads(4, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::uint64_t i = 0; i < ops(50'000); ++i) {
            const std::uint64_t key = random.below(10);
            const std::int64_t now = clock.now().count();
            if (thread == 0) {
                cache.put(key, now + 10, {.ttl = 10ns});  // its deadline, or a little less
                clock.advance(1ns);
            } else {
                cache.visit(key,
                            [&](const std::int64_t& deadline) { failures.expect(deadline > now); });
            }
        }
    });
    CHECK(failures.count() == 0);
}

// ---- all entries -------------------------------------------------------------------------------

TEST_CASE("for_each sees what nobody touches, exactly once, whatever else goes on",
          "[concurrent]") {
    drey::Cache<std::uint64_t, Counted, drey::Fifo> cache{{.capacity = 100'000, .shards = 4}};
    for (std::uint64_t key = 0; key < 100; ++key) cache.put(key, value_for(key, 0));
    Failures failures;
    std::atomic<bool> stop{false};
    in_threads(4, [&](std::size_t thread) {
        if (thread != 0) {
            support::Random random(thread);
            while (!stop) {
                const std::uint64_t key = 100 + random.below(200);
                if (random.below(2) == 0)
                    cache.put(key, value_for(key, 1));
                else
                    cache.erase(key);
            }
            return;
        }
        for (std::size_t i = 0; i < ops(1'000); ++i) {
            std::array<int, 100> seen{};
            cache.for_each([&](const std::uint64_t& key, const Counted& value) {
                failures.expect(is_for(key, value));
                if (key < 100) ++seen[key];
            });
            failures.expect(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
        }
        stop = true;
    });
    CHECK(failures.count() == 0);
    CHECK(cache.erase_if([](const std::uint64_t& key, const Counted&) { return key < 100; }) ==
          100);
    CHECK(cache.validate());
}

TEST_CASE("the capacity holds while it changes under writers", "[concurrent]") {
    for (const std::size_t shards : {1u, 4u}) {
        drey::Cache<std::uint64_t, std::uint64_t, drey::Lru> cache{
            {.capacity = 1'000, .shards = shards}};
        std::atomic<bool> stop{false};
        in_threads(4, [&](std::size_t thread) {
            support::Random random(thread);
            if (thread == 0) {
                for (std::size_t i = 0; i < ops(1'500); ++i)
                    cache.set_capacity(1 + random.below(2'000));
                stop = true;
            } else {
                while (!stop) cache.put(random.below(5'000), 1);
            }
        });
        CHECK(cache.size() <= cache.capacity());
        CHECK(cache.validate());
        cache.set_capacity(10);
        CHECK(cache.size() <= 10);
        CHECK(cache.validate());
    }
}

TEST_CASE("a listener hears of every removal once, though many threads make them", "[concurrent]") {
    constexpr std::uint64_t keys = 64;
    std::array<std::atomic<std::uint64_t>, keys> put{}, heard{};
    const std::uint64_t each = ops(30'000);
    {
        drey::Cache<std::uint64_t, std::uint64_t, drey::Sieve> cache{
            {.capacity = 32,
             .on_removal = [&](const std::uint64_t& key, std::uint64_t, drey::Removal) {
                 ++heard[key];
             }}};
        in_threads(6, [&](std::size_t thread) {
            support::Random random(thread);
            for (std::uint64_t i = 0; i < each; ++i) {
                const std::uint64_t key = random.below(keys);
                switch (random.below(4)) {
                    case 0:
                        cache.erase(key);
                        break;
                    case 1:
                        cache.take(key);
                        break;
                    default:
                        if (cache.put(key, i)) ++put[key];
                }
            }
        });
        cache.clear();
    }
    for (std::uint64_t key = 0; key < keys; ++key) CHECK(put[key] == heard[key]);
}
