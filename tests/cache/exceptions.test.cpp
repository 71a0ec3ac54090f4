#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <new>
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
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "support/alloc_failure.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/threads.hpp"
#include "support/throwing.hpp"

using namespace std::chrono_literals;
using support::Allocations;
using support::Counted;
using support::Deed;
using support::FailAllocation;
using support::Refuse;
using support::Refused;

namespace {

/// What is left of the cache's contents when a call has failed.
enum class Promise {
    strong,       ///< all as before
    may_remove,   ///< nothing that was not there before
    may_have_it,  ///< as before, or what the call was to store is there, and others left for it
};

/// A call that may fail. For `may_have_it`, `key` is what it was to store.
template <class Cache>
struct Call {
    std::string name;
    Promise promise;
    std::function<void(Cache&)> act;
    std::uint64_t key = 0;
};

using Contents = std::map<std::uint64_t, std::uint64_t>;

bool keeps(Promise promise, std::uint64_t key, const Contents& before, const Contents& after) {
    if (promise == Promise::strong) return after == before;
    return std::all_of(after.begin(), after.end(), [&](const auto& entry) {
        const auto was = before.find(entry.first);
        return (was != before.end() && was->second == entry.second) ||
               (promise == Promise::may_have_it && entry.first == key);
    });
}

// ---- memory ------------------------------------------------------------------------------------

std::string key_of(std::uint64_t i) {
    return "a key too long for the small string optimisation: " + std::to_string(1'000'000 + i);
}

template <class Cache>
Contents contents_by_text(Cache& cache) {
    Contents contents;
    cache.for_each([&](const std::string& key, const Counted& value) {
        contents[std::stoull(key.substr(key.size() - 7)) - 1'000'000] =
            value.whole() ? value.number() : ~std::uint64_t{0};
    });
    return contents;
}

/// Makes a cache, lets the n-th allocation of the call fail, and sees what is left, for every n;
/// and the same if memory stays short after that.
template <class Cache>
void fail_each_allocation(const typename Cache::Options& options,
                          const std::function<void(Cache&)>& prepare, const Call<Cache>& call) {
    CAPTURE(call.name);
    bool kept = true, valid = true, repeatable = true, no_leak = true;
    const auto attempt = [&](std::size_t n, bool from_then_on) {
        const long blocks = Allocations::live, objects = Counted::alive();
        bool happened = false;
        {
            Cache cache(options);
            prepare(cache);
            const Contents before = contents_by_text(cache);
            bool threw = false;
            {
                const FailAllocation fail(n, from_then_on);
                try {
                    call.act(cache);
                } catch (const std::bad_alloc&) {
                    threw = true;
                }
                happened = fail.happened();  // and did not throw: a policy's ghost did without
            }
            if (threw) kept &= keeps(call.promise, call.key, before, contents_by_text(cache));
            valid &= cache.validate();
            try {
                call.act(cache);
            } catch (const std::bad_alloc&) {
                repeatable = false;
            }
            valid &= cache.validate();
            for (std::uint64_t i = 500; i < 520; ++i) cache.put(key_of(i), i);
            valid &= cache.validate();
        }
        no_leak &= Allocations::live == blocks && Counted::alive() == objects;
        return happened;
    };
    attempt(Allocations::never, false);  // what is allocated once and for all
    no_leak = true;
    for (const bool from_then_on : {false, true})
        for (std::size_t n = 0; attempt(n, from_then_on); ++n) REQUIRE(n < 1'000);
    CHECK(kept);
    CHECK(valid);
    CHECK(repeatable);
    CHECK(no_leak);
}

template <class Cache>
std::vector<Call<Cache>> calls_that_allocate() {
    const auto loaded = [] { return Counted(777); };
    return {
        {"put new", Promise::strong, [](Cache& c) { c.put(key_of(100), 100); }},
        {"put new with a TTL", Promise::strong,
         [](Cache& c) { c.put(key_of(100), 100, {.ttl = 1s}); }},
        {"put new with tags", Promise::strong,
         [](Cache& c) {
             c.put(key_of(100), 100, {.tags = {key_of(1), key_of(2)}});
         }},
        {"overwrite with tags", Promise::strong,
         [](Cache& c) { c.put(key_of(3), 100, {.tags = {key_of(1)}}); }},
        {"invalidate_tag", Promise::strong, [](Cache& c) { c.invalidate_tag(key_of(1)); }},
        {"overwrite", Promise::strong, [](Cache& c) { c.put(key_of(3), 100); }},
        {"overwrite with a TTL", Promise::strong,
         [](Cache& c) { c.put(key_of(3), 100, {.ttl = 1s}); }},
        {"put_if_absent", Promise::strong, [](Cache& c) { c.put_if_absent(key_of(100), 100); }},
        {"put_if_absent of what is there", Promise::strong,
         [](Cache& c) { c.put_if_absent(key_of(3), 100); }},
        {"update to a new value", Promise::strong,
         [](Cache& c) { c.update(key_of(3), [](auto) { return std::optional<Counted>(5); }); }},
        {"update to a first value", Promise::strong,
         [](Cache& c) { c.update(key_of(100), [](auto) { return std::optional<Counted>(5); }); }},
        {"update away", Promise::strong,
         [](Cache& c) { c.update(key_of(3), [](auto) { return std::optional<Counted>(); }); }},
        {"take", Promise::strong, [](Cache& c) { c.take(key_of(3)); }},
        {"take while visited", Promise::may_remove,
         [](Cache& c) {
             const std::string key = key_of(3);
             c.visit(key, [&](const Counted&) { c.take(key); });
         }},
        {"erase", Promise::strong, [](Cache& c) { c.erase(key_of(3)); }},
        {"erase_if", Promise::may_remove,
         [](Cache& c) {
             c.erase_if([](const std::string& key, const Counted&) { return key.back() == '3'; });
         }},
        {"clear", Promise::strong, [](Cache& c) { c.clear(); }},
        {"get", Promise::strong, [](Cache& c) { c.get(key_of(3)); }},
        {"find", Promise::strong, [](Cache& c) { static_cast<void>(c.find(key_of(3))); }},
        {"get_or_load of what is there", Promise::strong,
         [=](Cache& c) { c.get_or_load(key_of(3), loaded); }},
        {"get_or_load", Promise::may_have_it, [=](Cache& c) { c.get_or_load(key_of(100), loaded); },
         100},
        {"get_or_load with tags", Promise::may_have_it,
         [=](Cache& c) { c.get_or_load(key_of(100), loaded, {.tags = {key_of(1)}}); }, 100},
        {"get_or_load by another's key", Promise::may_have_it,
         [=](Cache& c) {
             const std::string key = key_of(100);
             c.get_or_load(key, loaded);
         },
         100},
        {"visit_or_load", Promise::may_have_it,
         [=](Cache& c) { c.visit_or_load(key_of(100), loaded, [](const Counted&) {}); }, 100},
        {"set_capacity smaller", Promise::strong, [](Cache& c) { c.set_capacity(5); }},
        {"set_capacity larger", Promise::strong, [](Cache& c) { c.set_capacity(50); }},
        {"purge_expired", Promise::strong, [](Cache& c) { c.purge_expired(); }},
        {"for_each", Promise::strong,
         [](Cache& c) { c.for_each([](const std::string&, const Counted&) {}); }},
    };
}

template <class Policy>
using Texts = drey::Cache<std::string, Counted, Policy>;

}  // namespace

TEMPLATE_TEST_CASE("every allocation of every call may fail", "", drey::Lru, drey::Lfu,
                   drey::Random, drey::S3Fifo, drey::Local<drey::S3Fifo>) {
    using Cache = Texts<TestType>;
    const bool listens = GENERATE(false, true), weighed = GENERATE(false, true),
               timed = GENERATE(false, true);
    CAPTURE(listens, weighed, timed);
    drey::ManualClock clock;
    typename Cache::Options options{.capacity = 20, .clock = clock};
    if (listens) options.on_removal = [](const std::string&, const Counted&, drey::Removal) {};
    if (weighed)
        options.weigher = [](const std::string&, const Counted&) -> drey::Weight { return 1; };
    if (timed) options.ttl = 1h;
    const auto prepare = [](Cache& cache) {
        for (std::uint64_t i = 0; i < 20; ++i) cache.put(key_of(i), i);
        for (std::uint64_t i = 0; i < 20; i += 3) cache.get(key_of(i));
    };
    for (const auto& call : calls_that_allocate<Cache>())
        fail_each_allocation<Cache>(options, prepare, call);
}

TEMPLATE_TEST_CASE("every allocation of every growth may fail", "", drey::Lru, drey::Lfu,
                   drey::S3Fifo) {
    // The weigher makes the index begin small; chunks and columns grow at 64, 192, 448, ... slots.
    using Cache = Texts<TestType>;
    const bool timed = GENERATE(false, true);
    CAPTURE(timed);
    const typename Cache::Options options{
        .capacity = 10'000,
        .ttl = timed ? drey::Ttl(1h) : drey::never,
        .weigher = [](const std::string&, const Counted&) -> drey::Weight { return 1; }};
    for (std::uint64_t size = 0; size < 460; ++size) {
        // Where nothing grows is of interest once in a while.
        const bool grows = size < 4 || (size >= 60 && size <= 84) || (size >= 140 && size <= 196) ||
                           size % 9 == 0 || size >= 445;
        if (!grows) continue;
        CAPTURE(size);
        const auto prepare = [&](Cache& cache) {
            for (std::uint64_t i = 0; i < size; ++i) cache.put(key_of(i), i);
        };
        fail_each_allocation<Cache>(options, prepare, {"put new", Promise::strong, [](Cache& c) {
                                                           c.put(key_of(1'000), 1);
                                                       }});
        if (!timed)
            fail_each_allocation<Cache>(options, prepare,
                                        {"first TTL", Promise::strong,
                                         [](Cache& c) { c.put(key_of(1'000), 1, {.ttl = 1h}); }});
    }
}

namespace {

/// The store itself, for what only loads can ask of it.
struct Loading : drey::Store<std::string, Counted, drey::Lru, drey::DefaultHash, drey::DefaultEqual,
                             drey::Shared> {
    using Store::Store;

    void put(std::string key, Counted value, const drey::Terms& terms = {}) {
        Store::put(std::move(key), std::move(value), terms, drey::WriteIf::always);
    }
    void put_absent(std::string key, const drey::Terms& terms) {
        const LoadTicket ticket(*this, hash(key));
        const Attempt attempt(*this, key);
        fill_absent(ticket, std::move(key), terms, attempt);
    }
};

}  // namespace

TEST_CASE("every allocation of a stale value and of an absence may fail") {
    const bool first = GENERATE(true, false);
    const Loading::Options options{
        .capacity = 10'000, .weigher = [](const auto&, const auto&) { return drey::Weight{1}; }};
    const drey::Terms terms{.ttl = 0s, .stale_for = 1h}, for_ever{.ttl = drey::never};
    const auto prepare = [&](Loading& store) {
        for (std::uint64_t i = 0; i < 62; ++i) store.put(key_of(i), i);
        if (first) return;
        store.put(key_of(62), 62, terms);
        store.put_absent(key_of(63), for_ever);
    };
    const auto check = [&](const std::string& name, std::uint64_t key, auto&& act) {
        fail_each_allocation<Loading>(
            options, prepare, {name, Promise::strong, [&](Loading& s) { act(s, key_of(key)); }});
    };
    const auto put_stale = [&](Loading& s, std::string key) { s.put(std::move(key), 1, terms); };
    const auto put_absent = [&](Loading& s, std::string key) {
        s.put_absent(std::move(key), for_ever);
    };
    for (const std::uint64_t key : {1U, 62U, 63U, 100U}) {
        check("stale", key, put_stale);
        check("absent", key, put_absent);
        check("absent for a while", key,
              [](Loading& s, std::string k) { s.put_absent(std::move(k), {.ttl = 1h}); });
    }
}

TEST_CASE("every allocation of making a cache may fail") {
    const auto make = [] {
        drey::Cache<std::string, Counted, drey::S3Fifo> cache{
            {.capacity = 50'000,
             .on_removal = [](const std::string&, const Counted&, drey::Removal) {},
             .shards = 8}};
        cache.put("a", 1);
    };
    make();
    const long blocks = Allocations::live, objects = Counted::alive();
    bool happened = true;
    for (std::size_t n = 0; happened; ++n) {
        REQUIRE(n < 1'000);
        const FailAllocation fail(n);
        try {
            make();
        } catch (const std::bad_alloc&) {
        }
        happened = fail.happened();
    }
    CHECK(Allocations::live == blocks);
    CHECK(Counted::alive() == objects);
}

TEMPLATE_TEST_CASE("a heavy put may have evicted when memory runs out", "", drey::Lru, drey::Lfu,
                   drey::Local<drey::S3Fifo>) {
    // More departures than a call has room for, exactly as many, and one less; for the listener
    // they must be listed, and that may need memory.
    using Cache = Texts<TestType>;
    const std::uint64_t evicted = GENERATE(15u, 16u, 17u, 18u, 19u, 40u);
    const std::uint64_t overwritten = GENERATE(0u, 49u, 1'000u);  // the last is new
    CAPTURE(evicted, overwritten);
    std::size_t heard = 0;
    const typename Cache::Options options{
        .capacity = 50,
        .weigher = [](const std::string&, const Counted& value) -> drey::Weight {
            return value.number() >= 1'000 ? value.number() - 1'000 : 1;
        },
        .on_removal = [&](const std::string&, const Counted& value,
                          drey::Removal) { heard += value.whole(); }};
    const auto prepare = [](Cache& cache) {
        for (std::uint64_t i = 0; i < 50; ++i) cache.put(key_of(i), i);
    };
    fail_each_allocation<Cache>(options, prepare, {"put heavy", Promise::may_remove, [&](Cache& c) {
                                                       heard = 0;
                                                       c.put(key_of(overwritten), 1'000 + evicted);
                                                   }});
    CHECK(heard != 0);
}

TEMPLATE_TEST_CASE("what removes needs no memory", "", drey::Lru, drey::S3Fifo,
                   drey::Local<drey::Lru>) {
    drey::ManualClock clock;
    std::size_t heard = 0;
    const bool listens = GENERATE(false, true);
    drey::MemoryOptions<std::string, Counted> options{.capacity = 2'000, .clock = clock};
    if (listens)
        options.on_removal = [&](const std::string&, const Counted&, drey::Removal) { ++heard; };
    Texts<TestType> cache{options};
    for (std::uint64_t i = 0; i < 1'000; ++i) cache.put(key_of(i), i);
    for (std::uint64_t i = 1'000; i < 1'500; ++i) cache.put(key_of(i), i, {.ttl = 1s});
    clock.advance(1s);
    const std::string one = key_of(1), other = key_of(2);
    bool allocated = false;
    const auto without_memory = [&] {
        const FailAllocation fail(0, true);
        cache.purge_expired();
        cache.erase(one);
        cache.erase(one);
        cache.set_capacity(600);
        cache.set_capacity(700);
        cache.synchronize();
        cache.clear();
        static_cast<void>(cache.size());
        static_cast<void>(cache.stats());
        allocated = fail.happened();
    };
    SECTION("on a thread that has used the cache") { without_memory(); }
    SECTION("on a thread that has not") { support::elsewhere(without_memory); }
    // S3-FIFO's ghost asks for memory when capacity shrinks, and does without if there is none.
    if constexpr (!std::is_same_v<TestType, drey::S3Fifo>) CHECK_FALSE(allocated);
    CHECK(cache.size() == 0);
    CHECK(heard == (listens ? 1'500u : 0u));
    CHECK(cache.validate());
}

TEST_CASE("a thread that has no memory for its first look may look again") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 10}};
    cache.put(1, 1);
    support::elsewhere([&] {
        std::size_t failures = 0;
        std::vector<std::optional<int>> got;
        got.reserve(100);
        for (std::size_t n = 0; n < 100; ++n) {
            const FailAllocation fail(n);
            try {
                got.push_back(cache.get(1));
            } catch (const std::bad_alloc&) {
                ++failures;
            }
        }
        if (failures < 2 || failures == 100 || got.back() != 1) std::abort();
    });
    CHECK(cache.get(1) == 1);
    cache.erase(1);
    CHECK(cache.validate());
}

TEST_CASE("a thread that has no memory to wait for a load does not spoil it") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 10}};
    for (std::size_t n = 0; n < 6; ++n) {
        std::atomic<int> arrived{0};
        std::vector<std::thread> waiting;
        std::atomic<std::size_t> failed{0}, served{0};
        const int loaded = cache.get_or_load(1, [&] {
            for (std::size_t i = 0; i < 4; ++i)
                waiting.emplace_back([&] {
                    const FailAllocation fail(n);
                    ++arrived;
                    try {
                        served += cache.get_or_load(1, [] { return 1; }) == 1;
                    } catch (const std::bad_alloc&) {
                        ++failed;
                    }
                });
            while (arrived != 4) std::this_thread::yield();
            return 1;
        });
        for (std::thread& thread : waiting) thread.join();
        CHECK(loaded == 1);
        CHECK(failed + served == 4);
        CHECK(cache.erase(1) == 1);
    }
    CHECK(cache.get_or_load(1, [] { return 2; }) == 2);
    CHECK(cache.validate());
}

// ---- user code ---------------------------------------------------------------------------------

namespace {

using Key = support::Fragile<true>;
using Value = support::Fragile<true>;
using MoveOnly = support::Fragile<false>;

template <class Cache>
Contents contents(Cache& cache) {
    Contents found;
    cache.for_each(
        [&](const auto& key, const auto& value) { found[key.number()] = value.number(); });
    return found;
}

/// As `fail_each_allocation`, but the n-th copy, move, hash, ... throws.
template <class Cache>
void refuse_each_deed(const typename Cache::Options& options, const Call<Cache>& call) {
    CAPTURE(call.name);
    for (const Deed deed : support::all_deeds) {
        CAPTURE(static_cast<int>(deed));
        bool happened = true;
        for (std::size_t n = 0; happened; ++n) {
            CAPTURE(n);
            REQUIRE(n < 1'000);
            const long objects = Key::alive() + MoveOnly::alive();
            bool threw = false, valid = false;
            Contents before, after;
            {
                Cache cache(options);
                for (std::uint64_t i = 0; i < 10; ++i) cache.put(i, i);
                before = contents(cache);
                {
                    const Refuse refuse(deed, n);
                    try {
                        call.act(cache);
                    } catch (const Refused& refused) {
                        threw = refused.deed == deed;
                    }
                    happened = refuse.happened();
                }
                after = contents(cache);
                valid = cache.validate();
                try {
                    call.act(cache);
                } catch (...) {
                    valid = false;
                }
                valid &= cache.validate();
                cache.synchronize();
                valid &= Key::alive() + MoveOnly::alive() ==
                         objects + 2 * static_cast<long>(cache.size());
            }
            // Only a listener's exceptions are swallowed.
            if (deed != Deed::call || options.on_removal == nullptr) CHECK(threw == happened);
            if (threw) CHECK(keeps(call.promise, call.key, before, after));
            CHECK(valid);
            CHECK(Key::alive() + MoveOnly::alive() == objects);
        }
    }
}

void may_throw() { Refuse::may_throw(Deed::call); }

template <class Cache>
std::vector<Call<Cache>> calls_with_user_code() {
    using V = typename Cache::mapped_type;
    const auto load = [](const Key&) {
        may_throw();
        return V(777);
    };
    const auto look = [](const V& value) {
        may_throw();
        if (value.number() == ~std::uint64_t{0}) std::abort();
    };
    std::vector<Call<Cache>> calls{
        {"put new", Promise::strong, [](Cache& c) { c.put(100, 100); }},
        {"overwrite", Promise::strong, [](Cache& c) { c.put(3, 100); }},
        {"put with a TTL", Promise::strong, [](Cache& c) { c.put(100, 100, {.ttl = 1s}); }},
        {"put_if_absent", Promise::strong, [](Cache& c) { c.put_if_absent(100, 100); }},
        {"put_if_absent of what is there", Promise::strong,
         [](Cache& c) { c.put_if_absent(3, 100); }},
        {"take", Promise::may_remove, [](Cache& c) { c.take(Key(3)); }},
        {"take what is not there", Promise::strong, [](Cache& c) { c.take(Key(100)); }},
        {"erase", Promise::strong, [](Cache& c) { c.erase(Key(3)); }},
        {"erase_if", Promise::may_remove,
         [](Cache& c) {
             c.erase_if([](const Key& key, const V&) {
                 may_throw();
                 return key.number() % 2 == 0;
             });
         }},
        {"clear", Promise::strong, [](Cache& c) { c.clear(); }},
        {"visit", Promise::strong, [=](Cache& c) { c.visit(Key(3), look); }},
        {"contains", Promise::strong, [](Cache& c) { c.contains(Key(3)); }},
        {"visit_or_load of what is there", Promise::strong,
         [=](Cache& c) { c.visit_or_load(Key(3), load, look); }},
        {"visit_or_load", Promise::may_have_it,
         [=](Cache& c) { c.visit_or_load(Key(100), load, look); }, 100},
        {"visit_or_load by another's key", Promise::may_have_it,
         [=](Cache& c) {
             const Key key(100);
             c.visit_or_load(key, load, look);
         },
         100},
        {"set_capacity", Promise::strong, [](Cache& c) { c.set_capacity(4); }},
        {"purge_expired", Promise::strong, [](Cache& c) { c.purge_expired(); }},
        {"for_each", Promise::strong,
         [](Cache& c) { c.for_each([](const Key&, const V&) { may_throw(); }); }},
    };
    if constexpr (std::is_copy_constructible_v<V>) {
        const std::vector<Call<Cache>> more{
            {"get", Promise::strong, [](Cache& c) { c.get(Key(3)); }},
            {"find", Promise::strong, [](Cache& c) { static_cast<void>(c.find(Key(3))); }},
            {"take while visited", Promise::may_remove,
             [](Cache& c) { c.visit(Key(3), [&](const V&) { c.take(Key(3)); }); }},
            {"update", Promise::strong,
             [](Cache& c) {
                 c.update(3, [](std::optional<V>) {
                     may_throw();
                     return std::optional<V>(5);
                 });
             }},
            {"update to a first value", Promise::strong,
             [](Cache& c) { c.update(100, [](std::optional<V>) { return std::optional<V>(5); }); }},
            {"update away", Promise::strong,
             [](Cache& c) { c.update(3, [](std::optional<V>) { return std::optional<V>(); }); }},
            {"get_or_load", Promise::may_have_it, [=](Cache& c) { c.get_or_load(Key(100), load); },
             100},
            {"get_or_load of what is there", Promise::strong,
             [=](Cache& c) { c.get_or_load(Key(3), load); }},
            {"get_or_load perhaps", Promise::may_have_it,
             [](Cache& c) { c.get_or_load(Key(100), [] { return std::optional<V>(777); }); }, 100},
            {"get_or_load with a TTL", Promise::may_have_it,
             [](Cache& c) {
                 c.get_or_load(Key(100), [] { return drey::Loaded<V>{V(777), {.ttl = 1s}}; });
             },
             100},
        };
        calls.insert(calls.end(), more.begin(), more.end());
    }
    return calls;
}

template <class Cache>
void refuse_everything() {
    const bool listens = GENERATE(false, true), weighed = GENERATE(false, true);
    CAPTURE(listens, weighed);
    drey::ManualClock clock;
    typename Cache::Options options{.capacity = 10, .clock = clock};
    using V = typename Cache::mapped_type;
    if (listens) options.on_removal = [](const Key&, const V&, drey::Removal) { may_throw(); };
    if (weighed)
        options.weigher = [](const Key&, const V& value) -> drey::Weight {
            may_throw();
            return value.number() == 100 ? 4 : 1;
        };
    for (const auto& call : calls_with_user_code<Cache>()) refuse_each_deed<Cache>(options, call);
    CHECK(Key::alive() == 0);
    CHECK(MoveOnly::alive() == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("whatever of the user's code throws", "", drey::Lru, drey::S3Fifo,
                   drey::Local<drey::Lru>) {
    refuse_everything<drey::Cache<Key, Value, TestType>>();
}

TEMPLATE_TEST_CASE("whatever of the user's code throws, with values that only move", "", drey::Lru,
                   drey::Local<drey::Sieve>) {
    refuse_everything<drey::Cache<Key, MoveOnly, TestType>>();
}

TEST_CASE("a put that is refused and cannot even be erased leaves what was there") {
    using Cache = drey::Cache<Key, Value, drey::Lru>;
    const Cache::Options options{.capacity = 10,
                                 .weigher = [](const Key&, const Value& value) -> drey::Weight {
                                     return value.number() == 100 ? 11 : 1;
                                 }};
    refuse_each_deed<Cache>(options,
                            {"put too heavy", Promise::strong, [](Cache& c) { c.put(3, 100); }});
    refuse_each_deed<Cache>(
        options, {"update too heavy", Promise::strong, [](Cache& c) {
                      c.update(3, [](std::optional<Value>) { return std::optional<Value>(100); });
                  }});
}

TEST_CASE("a listener's exceptions are swallowed and counted") {
    drey::Cache<int, int, drey::Lru> cache{
        {.capacity = 2, .on_removal = [](int, int, drey::Removal) { throw 1; }}};
    for (int i = 0; i < 5; ++i) cache.put(i, i);
    cache.erase(4);
    cache.clear();
    CHECK(cache.stats().listener_failures == 5);
    CHECK(cache.stats().evictions() == 3);
    CHECK(cache.validate());
}

TEST_CASE("a call with a wrong TTL changes nothing") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 2}};
    cache.put(1, 1);
    CHECK_THROWS_AS(cache.put(1, 2, {.ttl = -1s}), std::invalid_argument);
    CHECK_THROWS_AS(cache.put_if_absent(2, 2, {.ttl = -1s}), std::invalid_argument);
    CHECK_THROWS_AS(cache.update(1, [](auto) { return std::optional<int>(3); }, {.ttl = -1s}),
                    std::invalid_argument);
    CHECK_THROWS_AS(cache.get_or_load(3,
                                      [] {
                                          return drey::Loaded<int>{3, {.ttl = -1s}};
                                      }),
                    std::invalid_argument);
    CHECK(cache.get(1) == 1);
    CHECK(cache.size() == 1);
    CHECK(cache.get_or_load(3, [] { return 3; }) == 3);
    CHECK(cache.validate());
}
