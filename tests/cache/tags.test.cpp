#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "drey/drey.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

/// Tags: what is invalidated by one is gone for every call, and no load brings it back.

namespace {

using namespace std::chrono_literals;
using drey::Loaded;
using drey::LoadOptions;
using drey::Removal;
using Cache = drey::Cache<int, std::string, drey::Lru>;

struct Fixture {
    drey::ManualClock clock{};
    std::vector<std::pair<int, Removal>> removed{};
    Cache cache{{.capacity = 4,
                 .on_removal = [this](int key, const std::string&,
                                      Removal cause) { removed.emplace_back(key, cause); },
                 .clock = clock}};

    Fixture() = default;
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;
    ~Fixture() {
        CHECK(cache.validate());
        const drey::Stats stats = cache.stats();
        std::size_t left = 0;
        for (const auto count : stats.removals) left += count;
        CHECK(stats.insertions - left == cache.size());
    }

    /// Loads with the tag "t", and lets `meanwhile` happen during the load.
    std::string load(int key, const std::string& value, const std::function<void()>& meanwhile) {
        return cache.get_or_load(key, [&] {
            meanwhile();
            return Loaded<std::string>{value, {.tags = {"t"}}};
        });
    }
};

using Told = std::vector<std::pair<int, Removal>>;

}  // namespace

TEST_CASE("entries without tag and TTL live on as the cache grows around one that has both",
          "[tags]") {
    drey::ManualClock clock;
    Cache cache{{.capacity = 4000,
                 .weigher = [](int, const std::string&) { return std::size_t{1}; },
                 .clock = clock,
                 .shards = 1}};
    const std::vector<std::string> tags{"t"};
    cache.put(0, "tagged", {.ttl = 1h, .stale_for = 1h, .tags = tags});
    for (int key = 1; key < 4000; ++key) cache.put(key, "plain");
    cache.put(1, "tagged too", {.ttl = 3h, .tags = tags});
    CHECK(cache.find(0).value() == "tagged");
    clock.advance(90min);
    CHECK(cache.find(0).is_stale());
    CHECK(cache.get(1) == "tagged too");
    cache.invalidate_tag("t");
    clock.advance(24h);
    std::size_t left = 0;
    for (int key = 0; key < 4000; ++key) left += cache.get(key) == "plain" ? 1 : 0;
    CHECK(left == 3998);
    CHECK(cache.validate());
}

TEST_CASE_METHOD(Fixture, "invalidating a tag removes what has it, and nothing else", "[tags]") {
    cache.put(1, "one", {.tags = {"a", "b"}});
    cache.put(2, "two", {.tags = {"b"}});
    cache.put(3, "three");
    cache.invalidate_tag("nobody has this");
    CHECK(cache.get_many({1, 2, 3}) ==
          std::vector<std::optional<std::string>>{"one", "two", "three"});
    cache.invalidate_tag("a");
    CHECK(cache.get_many({1, 2, 3}) ==
          std::vector<std::optional<std::string>>{std::nullopt, "two", "three"});
    cache.invalidate_tag("b");
    CHECK(cache.get_many({1, 2, 3}) ==
          std::vector<std::optional<std::string>>{std::nullopt, std::nullopt, "three"});
}

TEST_CASE_METHOD(Fixture, "what is put after its tag was invalidated stays", "[tags]") {
    cache.invalidate_tag("t");
    cache.put(1, "a", {.tags = {"t"}});
    CHECK(cache.get(1) == "a");
    cache.invalidate_tag("t");
    cache.put(1, "b", {.tags = {"t", "t"}});
    CHECK(cache.get(1) == "b");
    cache.put(2, "c", {.tags = {"t"}});
    cache.invalidate_tag("t");
    CHECK_FALSE(cache.contains(1));
    cache.put(1, "d");
    cache.invalidate_tag("t");
    CHECK(cache.get(1) == "d");  // the new entry has not the tags of the old one
    CHECK(cache.put_if_absent(2, "e", {.tags = {"t"}}));
    CHECK(cache.get(2) == "e");
}

TEST_CASE_METHOD(Fixture, "what was invalidated by its tag is gone for every call", "[tags]") {
    const auto put = [&] {
        cache.put(1, "old", {.ttl = 1s, .stale_for = 1h, .tags = {"t"}});
        cache.invalidate_tag("t");
    };
    put();
    CHECK(cache.find(1).is_miss());
    put();
    clock.advance(2s);
    CHECK(cache.find(1).is_miss());  // not stale
    put();
    CHECK_FALSE(cache.contains(1));
    put();
    CHECK_FALSE(cache.visit(1, [](const std::string&) {}));
    put();
    CHECK(cache.take(1) == std::nullopt);
    put();
    CHECK(cache.erase(1) == 0);
    put();
    cache.for_each([](int, const std::string&) { FAIL("it is gone"); });
    CHECK(cache.erase_if([](int, const std::string&) { return true; }) == 0);
    CHECK(cache.update(1, [](std::optional<std::string> old) {
        CHECK_FALSE(old);
        return std::optional<std::string>("new");
    }));
    CHECK(cache.get(1) == "new");
    put();
    CHECK(cache.put_if_absent(1, "newer"));
    CHECK(cache.get(1) == "newer");
    put();
    CHECK(cache.get_or_load(1, [] { return std::string("loaded"); }) == "loaded");
    CHECK(cache.get(1) == "loaded");
}

TEST_CASE_METHOD(Fixture, "an entry leaves as erased, once, however it is found to be invalid",
                 "[tags]") {
    for (int key = 1; key <= 4; ++key) cache.put(key, "x", {.tags = {"t"}});
    cache.invalidate_tag("t");
    CHECK(cache.size() == 4);
    CHECK(removed.empty());
    cache.get(1);
    cache.get(1);
    CHECK(removed == Told{{1, Removal::erased}});
    cache.put(2, "y");
    CHECK(removed == Told{{1, Removal::erased}, {2, Removal::erased}});
    cache.put(5, "y");
    cache.put(6, "y");
    CHECK(removed == Told{{1, Removal::erased}, {2, Removal::erased}, {3, Removal::erased}});
    cache.erase(4);
    CHECK(removed.size() == 4);
    CHECK(removed.back() == std::pair(4, Removal::erased));
    CHECK(cache.stats().removed(Removal::erased) == 4);
}

TEST_CASE_METHOD(Fixture, "absences have tags", "[tags]") {
    int loads = 0;
    const auto look = [&] {
        return cache.get_or_load(
            1,
            [&] {
                ++loads;
                return Loaded<std::optional<std::string>>{std::nullopt, {.tags = {"t"}}};
            },
            {.negative_ttl = 1h});
    };
    look();
    look();
    CHECK(loads == 1);
    CHECK(cache.find(1).is_absent());
    cache.invalidate_tag("t");
    CHECK(cache.find(1).is_miss());
    look();
    CHECK(loads == 2);
    CHECK(removed.empty());
}

TEST_CASE_METHOD(Fixture, "the tags of call and cache are added to those that the loader says",
                 "[tags]") {
    const auto load = [&](int key, const LoadOptions& options) {
        cache.get_or_load(
            key,
            [] {
                return Loaded<std::string>{"x", {.tags = {"of loader"}}};
            },
            options);
    };
    load(1, {.tags = {"of call"}});
    cache.invalidate_tag("of call");
    CHECK_FALSE(cache.contains(1));
    load(1, {.tags = {"of call"}});
    cache.invalidate_tag("of loader");
    CHECK_FALSE(cache.contains(1));

    Cache other{{.capacity = 4, .loading = {.tags = {"of cache"}}}};
    other.get_or_load(1, [] { return std::string("x"); });
    CHECK(other.contains(1));
    other.invalidate_tag("of cache");
    CHECK_FALSE(other.contains(1));
}

TEST_CASE_METHOD(Fixture, "a tag that is invalidated during a load dooms its result", "[tags]") {
    cache.put(2, "other", {.tags = {"t"}});  // so that the tag is known
    CHECK(load(1, "old", [&] { cache.invalidate_tag("t"); }) == "old");
    CHECK_FALSE(cache.contains(1));
    CHECK(cache.stats().dropped_loads == 1);

    cache.erase(2);  // so that nobody has it
    CHECK(load(1, "old", [&] { cache.invalidate_tag("t"); }) == "old");
    CHECK_FALSE(cache.contains(1));

    // Known when it is invalidated, and forgotten when the load ends; and the other way round.
    cache.put(2, "other", {.tags = {"t"}});
    load(1, "old", [&] {
        cache.invalidate_tag("t");
        cache.erase(2);
    });
    CHECK_FALSE(cache.contains(1));
    load(1, "old", [&] {
        cache.invalidate_tag("t");
        cache.put(2, "other", {.tags = {"t"}});
    });
    CHECK_FALSE(cache.contains(1));
    CHECK(cache.contains(2));

    CHECK(load(1, "new", [&] { cache.invalidate_tag("another"); }) == "new");
    CHECK(cache.get(1) == "new");
}

TEST_CASE_METHOD(Fixture, "a tag that is invalidated during an update dooms its result", "[tags]") {
    cache.put(1, "old", {.tags = {"t"}});
    int calls = 0;
    const auto append = [&](std::optional<std::string> old) {
        if (++calls == 1) cache.invalidate_tag("t");
        return std::optional<std::string>(old.value_or("") + "new");
    };
    cache.update(1, append);
    CHECK(calls == 2);
    CHECK(cache.get(1) == "new");  // made without what was invalidated

    calls = 0;
    cache.update(2, append, {.tags = {"t"}});
    CHECK_FALSE(cache.contains(2));
}

TEST_CASE_METHOD(Fixture, "who asks after a tag was invalidated shares no load that began before",
                 "[tags]") {
    support::Gate begun, go_on;
    std::string led;
    std::thread leader([&] {
        led = cache.get_or_load(1, [&] {
            begun.open();
            go_on.wait();
            return Loaded<std::string>{"old", {.tags = {"t"}}};
        });
    });
    begun.wait();
    cache.invalidate_tag("t");
    int loads = 0;
    const auto result = cache.async_get_or_load(1, [&loads] {
        ++loads;
        return Loaded<std::string>{"new", {.tags = {"t"}}};
    });
    CHECK_FALSE(result.is_done());  // it has joined the flight
    go_on.open();
    leader.join();
    CHECK(led == "old");
    std::string got = cache.get_or_load(1, [] { return std::string("newer"); });
    CHECK(got == "new");
    CHECK(loads == 1);
}

TEST_CASE_METHOD(Fixture, "a stale value is not served if its tag was invalidated meanwhile",
                 "[tags]") {
    const LoadOptions options{.stale_for = 1h, .serve_stale = drey::ServeStale::on_error};
    const auto fail_after = [&](std::string_view tag) {
        cache.put(1, "stale", {.ttl = 1s, .stale_for = 1h, .tags = {"t"}});
        clock.advance(2s);
        return [this, tag]() -> std::string {
            cache.invalidate_tag(tag);
            throw std::runtime_error("no");
        };
    };
    CHECK(cache.get_or_load(1, fail_after("another"), options) == "stale");
    clock.advance(2s);
    CHECK_THROWS_AS(cache.get_or_load(1, fail_after("t"), options), std::runtime_error);
    clock.advance(2s);

    const auto fail_all = [&](std::string_view tag) {
        return [fail = fail_after(tag)](std::span<const int>) {
            return std::vector<std::string>{fail()};
        };
    };
    CHECK(cache.get_or_load_many({1}, fail_all("another"), options).front() == "stale");
    clock.advance(2s);
    CHECK_THROWS_AS(cache.get_or_load_many({1}, fail_all("t"), options), std::runtime_error);
    clock.advance(2s);

    LoadOptions here = options;
    here.executor = [](const std::function<void()>& task) { task(); };
    const auto load_async = [&](std::string_view tag) {
        std::string got;
        cache.async_get_or_load(1, fail_after(tag), here)
            .then([&](drey::LoadResult<std::string> result) {
                try {
                    got = std::move(result).get();
                } catch (const std::runtime_error& error) {
                    got = error.what();
                }
            });
        return got;
    };
    CHECK(load_async("another") == "stale");
    clock.advance(2s);
    CHECK(load_async("t") == "no");
}

TEST_CASE("tags work for words that are otherwise overwritten in place", "[tags]") {
    drey::Cache<int, int> cache{{.capacity = 100}};
    cache.put(1, 1);
    cache.put(1, 2, {.tags = {"t"}});
    cache.put(2, 2);
    cache.put(2, 3);
    cache.invalidate_tag("t");
    CHECK(cache.get(1) == std::nullopt);
    CHECK(cache.get(2) == 3);
    cache.put(1, 4, {.tags = {"t"}});
    cache.put(1, 5);
    cache.invalidate_tag("t");
    CHECK(cache.get(1) == 5);
    CHECK(cache.validate());
}

TEST_CASE("tags go through a cache of any type, and what writes through it", "[tags]") {
    Cache own{{.capacity = 10}};
    drey::AnyCache<int, std::string> cache(own);
    cache.put(1, "a", {.tags = {"t"}});
    auto through = drey::write_through(cache, [](int, const std::string&) {});
    through.put(2, "b", {.tags = {"t"}});
    CHECK(cache.size() == 2);
    cache.invalidate_tag("t");
    CHECK_FALSE(cache.contains(1));
    CHECK_FALSE(cache.contains(2));
}
