#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "drey/drey.hpp"
#include "support/alloc_failure.hpp"
#include "support/catch.hpp"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace {

using namespace std::chrono_literals;
using support::Allocations;

/// How often `call` allocated.
template <class Call>
std::size_t allocations(Call&& call) {
    constexpr std::size_t plenty = std::numeric_limits<std::size_t>::max() - 1;
    Allocations::left = plenty;
    call();
    const std::size_t used = plenty - Allocations::left;
    Allocations::left = Allocations::never;
    return used;
}

}  // namespace

TEMPLATE_TEST_CASE("look-ups allocate nothing", "[allocations]", drey::Lru, drey::S3Fifo,
                   drey::Local<drey::Lfu>) {
    drey::ManualClock clock;
    drey::Cache<std::uint64_t, std::uint64_t, TestType> cache{{.capacity = 100, .clock = clock}};
    for (std::uint64_t key = 0; key < 50; ++key) {
        cache.put(key, key);
        cache.put(key + 50, key, {.ttl = 1s});
    }
    cache.get(1);  // a thread's first look-up registers it
    std::uint64_t sum = 0;
    CHECK(allocations([&] {
              for (std::uint64_t key = 0; key < 200; ++key) {
                  sum += cache.get(key).value_or(0);
                  sum += cache.find(key).has_value();
                  sum += cache.contains(key);
                  cache.visit(key, [&](std::uint64_t value) { sum += value; });
              }
              sum += cache.get_or_load(1, [] { return std::uint64_t{0}; });
          }) == 0);
    clock.advance(1s);
    CHECK(allocations([&] {
              for (std::uint64_t key = 0; key < 200; ++key) sum += cache.get(key).value_or(0);
          }) == 0);
    CHECK(sum > 0);
}

TEST_CASE("to look up what has a tag, and to invalidate one, allocates nothing", "[allocations]") {
    drey::Cache<std::uint64_t, std::uint64_t, drey::Lru> cache{{.capacity = 100}};
    const std::string known = "a tag that is too long for a small string", other = known + "!";
    for (std::uint64_t key = 0; key < 50; ++key) cache.put(key, key, {.tags = {known}});
    cache.get(1);
    std::uint64_t sum = 0;
    const auto look = [&] {
        for (std::uint64_t key = 0; key < 100; ++key) sum += cache.get(key).value_or(0);
    };
    CHECK(allocations(look) == 0);
    CHECK(sum > 0);
    CHECK(allocations([&] {
              cache.invalidate_tag(other);
              cache.invalidate_tag(known);
          }) == 0);
    CHECK(allocations(look) == 0);
    CHECK(cache.size() == 0);
}

TEMPLATE_TEST_CASE("look-ups of texts by texts allocate nothing", "[allocations]", drey::Lru,
                   drey::Local<>) {
    drey::Cache<std::string, std::uint64_t, TestType> cache{{.capacity = 10}};
    const std::string text = "a key that is too long for a small string";
    const std::string_view view = text;
    const char* const c_string = text.c_str();
    cache.put(text, 1);
    cache.get(text);
    CHECK(allocations([&] {
              cache.get(view);
              cache.get(c_string);
              cache.get("another key that is too long for a small string");
              cache.contains(c_string);
              cache.visit(c_string, [](std::uint64_t) {});
              cache.get_or_load(view, [] { return std::uint64_t{0}; });
              cache.get_or_load(c_string, [] { return std::uint64_t{0}; });
              cache.erase("another key that is too long for a small string");
              cache.take(view);
          }) == 0);
}

TEMPLATE_TEST_CASE("full cache of trivial types puts, overwrites and erases without allocating",
                   "[allocations]", drey::Fifo, drey::Lru, drey::Mru, drey::Lfu, drey::Random,
                   drey::Sieve, drey::S3Fifo, drey::Local<>) {
    drey::Cache<std::uint64_t, std::uint64_t, TestType> cache{{.capacity = 1000}};
    std::uint64_t key = 0;
    const auto put_many = [&] {
        for (int i = 0; i < 3000; ++i) {
            cache.put(key, key);
            cache.put(key, key + 1);
            if (key % 7 == 0) cache.erase(key);
            ++key;
        }
    };
    for (int i = 0; i < 4; ++i) put_many();  // fills it, what it keeps in reserve, and ghosts
    CHECK(allocations(put_many) == 0);
}

namespace {

/// Trivially copyable, and too wide to be overwritten in place.
struct Wide {
    std::uint64_t numbers[4];
};

}  // namespace

TEMPLATE_TEST_CASE("no call on a full cache of wide trivial values allocates, with TTL or without",
                   "[allocations]", drey::Lru, drey::S3Fifo) {
    drey::ManualClock clock;
    drey::Cache<std::uint64_t, Wide, TestType> cache{{.capacity = 1000, .clock = clock}};
    std::uint64_t key = 0, sum = 0;
    const auto call_all = [&] {
        for (int i = 0; i < 3000; ++i, ++key) {
            cache.put(key, Wide{{key}});
            cache.put(key, Wide{{key + 1}}, {.ttl = 1s});
            cache.put_if_absent(key + 1, Wide{{key}});
            cache.update(key, [](std::optional<Wide> old) { return old; });
            sum += cache.get(key).has_value();
            cache.visit(key, [&](const Wide& wide) { sum += wide.numbers[0]; });
            if (key % 7 == 0) cache.erase(key);
            if (key % 11 == 0) sum += cache.take(key + 1).has_value();
            if (key % 100 == 0) {
                clock.advance(1s);
                sum += cache.purge_expired();
                cache.synchronize();
            }
        }
        sum += cache.erase_if([](std::uint64_t k, const Wide&) { return k % 2 == 0; });
        cache.for_each([&](std::uint64_t k, const Wide&) { sum += k; });
        sum += cache.clear();
    };
    for (int i = 0; i < 4; ++i) call_all();
    CHECK(allocations(call_all) == 0);
    CHECK(sum > 0);
}

TEMPLATE_TEST_CASE("filling a cache allocates far less often than once a put", "[allocations]",
                   drey::Fifo, drey::Lru, drey::Mru, drey::Lfu, drey::Random, drey::Sieve,
                   drey::S3Fifo, drey::Local<>) {
    drey::Cache<std::uint64_t, std::uint64_t, TestType> cache{{.capacity = 10'000}};
    const std::size_t made = allocations([&] {
        for (std::uint64_t key = 0; key < 30'000; ++key) cache.put(key, key, {.ttl = 1h});
    });
    INFO("allocations " << made);
    CHECK(made < 1000);
}

TEST_CASE("listener and weigher cost no allocation a put", "[allocations]") {
    std::size_t calls = 0;
    drey::Cache<std::uint64_t, std::uint64_t> cache{
        {.capacity = 1000,
         .weigher = [](std::uint64_t, std::uint64_t) { return drey::Weight{1}; },
         .on_removal = [&](std::uint64_t, std::uint64_t, drey::Removal) { ++calls; }}};
    std::uint64_t key = 0;
    const auto put_many = [&] {
        for (int i = 0; i < 3000; ++i, ++key) cache.put(key, key);
    };
    put_many();
    put_many();
    CHECK(allocations(put_many) <= 1);  // the ghosts may still be growing
    CHECK(calls > 0);
}

TEST_CASE("a cache that is asked for no advice allocates nothing for it", "[allocations]") {
    using Cache = drey::Cache<std::uint64_t, std::uint64_t>;
    const auto made_with = [](drey::Advise advise) {
        return allocations([&] { Cache cache{{.capacity = 100, .advise = advise}}; });
    };
    CHECK(made_with(true) > made_with(false));
    CHECK(made_with(false) == allocations([] { Cache cache{{.capacity = 100}}; }));
}

#ifdef __GLIBC__
TEMPLATE_TEST_CASE("advice takes no more memory than it may", "[allocations]",
                   drey::Local<drey::Sieve>, drey::Local<drey::Adaptive>,
                   drey::Local<drey::WTinyLfu>) {
    static constexpr std::size_t memory = std::size_t{256} << 10;
    const auto used_with = [](drey::Advise advise) {
        const auto in_use = [] {  // nothing if a sanitizer allocates
            const auto info = mallinfo2();
            return info.uordblks + info.hblkhd;
        };
        const auto before = in_use();
        drey::Cache<std::uint64_t, std::uint64_t, TestType> cache{
            {.capacity = 20'000, .advise = advise, .advise_memory = memory}};
        for (std::uint64_t key = 0; key < 200'000; ++key)
            if (!cache.get(key % 70'000)) cache.put(key % 70'000, key);
        if (advise) CHECK(cache.advice().own(8)->sampled < 0.1);
        return in_use() - before;
    };
    const auto without = used_with(false);
    CHECK(used_with(true) <= without + memory);
}
#endif

TEST_CASE("without memory, a cache still has the capacity that it is given", "[allocations]") {
    using Cache = drey::Cache<std::uint64_t, std::uint64_t>;
    const bool advise = GENERATE(false, true);
    for (const std::size_t capacity : {10U, 300U, 5'000U}) {
        Cache cache{{.capacity = 1'000, .seed = 1, .advise = advise, .shards = 4}};
        const auto fill = [&] {
            for (std::uint64_t key = 0; key < 6'000; ++key)
                if (!cache.get(key)) cache.put(key, key);
        };
        fill();
        {
            const support::FailAllocation none(0, true);
            cache.set_capacity(capacity);
        }
        CHECK(cache.size() <= capacity);
        fill();
        CHECK(cache.size() == capacity);
        CHECK(cache.validate());
    }
}

TEST_CASE("without memory for its advice, a cache works", "[allocations]") {
    drey::Cache<std::uint64_t, std::uint64_t> cache{{.capacity = 50'000, .advise = true}};
    for (std::uint64_t key = 0; key < 40'000; ++key) cache.put(key, key);
    const auto look_up_all = [&] {
        std::uint64_t found = 0;
        for (std::uint64_t key = 0; key < 40'000; ++key) found += cache.get(key) == key ? 1 : 0;
        return found;
    };
    {
        const support::FailAllocation none(5, true);
        CHECK(look_up_all() == 40'000);
        CHECK(support::Allocations::failed);
    }
    CHECK(look_up_all() == 40'000);
    CHECK(cache.validate());
}
