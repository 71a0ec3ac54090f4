#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"
#include "loading/fixture.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using drey::Found;
using drey::LoadTimeout;
using drey::ReentrantLoad;
using drey::ServeStale;
using loading::Broken;
using loading::Fixture;
using loading::stale;
using loading::the_key;
using namespace std::chrono_literals;

namespace {

/// Nobody runs what is queued before this time has passed.
void take_long(Fixture& f, std::chrono::nanoseconds time) {
    f.background.after_taking = [&f, time] { f.clock.advance(time); };
}

}  // namespace

TEST_CASE("a load that takes longer than hard_timeout is left behind, and fills the cache") {
    Fixture f;
    take_long(f, 1s);
    CHECK_THROWS_AS(f.get({.hard_timeout = 1s}), LoadTimeout);
    CHECK(f.stats().load_timeouts == 1);
    CHECK(f.loads == 0);
    CHECK(f.background.run() == 1);
    CHECK(f.loads == 1);
    CHECK(f.cache->get(the_key) == 2);
}

TEST_CASE("unless the key was invalidated meanwhile") {
    Fixture f;
    take_long(f, 1s);
    CHECK_THROWS_AS(f.get({.hard_timeout = 1s}), LoadTimeout);
    f.cache->erase(the_key);
    f.background.run();
    CHECK(f.state() == Found::miss);
    CHECK_THROWS_AS(f.get({.hard_timeout = 1s}), LoadTimeout);
    f.during = [&] { f.cache->clear(); };
    f.background.run();
    CHECK(f.state() == Found::miss);
    CHECK(f.stats().dropped_loads == 2);
}

TEST_CASE("who comes again joins the load that was left behind") {
    Fixture f;
    take_long(f, 1s);
    CHECK_THROWS_AS(f.get({.hard_timeout = 1s}), LoadTimeout);
    CHECK(f.get() == 2);  // has the time, and runs it rather than wait for the executor
    CHECK(f.loads == 1);
    CHECK(f.background.run() == 1);  // nothing is left to do
    CHECK(f.loads == 1);
}

TEST_CASE("within soft_timeout a new value is waited for, after it a stale one is returned") {
    Fixture f(stale());
    f.be_stale();
    take_long(f, 1s);
    CHECK(f.get({.soft_timeout = 1s}) == 1);
    CHECK(f.stats().stale_serves == 1);
    CHECK(f.stats().load_timeouts == 1);
    CHECK(f.background.run() == 1);
    CHECK(f.cache->get(the_key) == 2);

    f.be_stale();
    f.background.does = loading::Background::runs;
    CHECK(f.get({.soft_timeout = 1s}) == 2);
    CHECK(f.stats().stale_serves == 1);
}

TEST_CASE("a hard_timeout that is shorter than soft_timeout returns the stale value too") {
    Fixture f(stale());
    f.be_stale();
    take_long(f, 1s);
    CHECK(f.get({.soft_timeout = 2s, .hard_timeout = 1s}) == 1);
}

TEST_CASE("a value that is invalidated while a load is waited for is not served stale") {
    Fixture f(stale());
    f.be_stale();
    f.background.after_taking = [&] {
        f.background.after_taking = nullptr;
        f.cache->erase(the_key);
        f.clock.advance(1s);
    };
    SECTION("the caller waits on, as one does who has none") {
        CHECK(f.get({.soft_timeout = 1s}) == 2);
    }
    SECTION("as long as hard_timeout lets it") {
        CHECK_THROWS_AS(f.get({.soft_timeout = 1s, .hard_timeout = 1s}), LoadTimeout);
    }
    CHECK(f.stats().stale_serves == 0);
}

TEST_CASE("timeouts bound the wait for a load that somebody else has begun") {
    Fixture f(stale());
    // The loader's thread asks for nothing: another one does, which has the time as it is told.
    f.during = [&] {
        support::elsewhere([&] { CHECK_THROWS_AS(f.get({.hard_timeout = 0s}), LoadTimeout); });
    };
    CHECK(f.get() == 2);
    CHECK(f.loads == 1);

    f.cache->erase(the_key);
    f.during = [&] {
        support::elsewhere([&] {
            // Of a loader that cannot be owned as well, which need not be run for this.
            auto cannot_move = [&, pinned = std::unique_ptr<int>()] {
                static_cast<void>(pinned);
                return f.load().value();
            };
            CHECK_THROWS_AS(f.cache->get_or_load(the_key, cannot_move, {.hard_timeout = 0s}),
                            LoadTimeout);
        });
    };
    CHECK(f.get() == 2);
    CHECK(f.loads == 2);
    CHECK(f.background.size() == 0);
}

TEST_CASE("a loader that was moved for an executor that does not take it runs in the call") {
    for (const auto does : {loading::Background::refuses, loading::Background::drops}) {
        Fixture f;
        f.background.does = does;
        const auto number = std::make_shared<int>(5);
        const std::string text(64, 'x');
        const int got = f.cache->get_or_load(
            the_key, [number, text] { return text.size() == 64 ? *number : 0; },
            {.hard_timeout = 1s});
        CHECK(got == 5);
        auto owner = std::make_unique<int>(6);
        CHECK(f.cache->get_or_load("other",
                                   [owner = std::move(owner)] { return owner ? *owner : 0; },
                                   {.hard_timeout = 1s}) == 6);
        CHECK(f.stats().misses == 2);  // one a call, though it looked again
        CHECK(f.cache->get(the_key) == 5);
        CHECK(f.stats().load_timeouts == 0);
    }
}

TEST_CASE("a loader that cannot be copied or moved out of the call runs in it") {
    Fixture f;
    auto loader = [&, pinned = std::make_unique<int>(7)] { return *pinned; };
    CHECK(f.cache->get_or_load(the_key, loader, {.hard_timeout = 1s}) == 7);
    CHECK(f.background.size() == 0);
    CHECK(*f.cache->find(the_key) == 7);
}

TEST_CASE("a loader in the background that asks for its own key is told so") {
    Fixture f;
    bool told = false;
    f.during = [&] {
        try {
            f.get({.hard_timeout = 1h});
        } catch (const ReentrantLoad&) {
            told = true;
        }
    };
    SECTION("on the thread that waits") { f.background.does = loading::Background::runs; }
    SECTION("on another one") {
        f.background.after_taking = [&] { support::elsewhere([&] { f.background.run(); }); };
    }
    CHECK(f.get({.hard_timeout = 1h}) == 2);
    CHECK(told);
}

TEST_CASE("nor does it wait for who waits for it, though that was before anybody ran it") {
    Fixture f;
    bool told = false, told_here = false;
    // This thread loads one key and in that waits for the other, with a limit; whose load, on
    // another thread, asks for the first.
    std::thread runner;
    f.background.after_taking = [&] { runner = std::thread([&] { f.background.run(); }); };
    const auto ask = [&] {
        try {
            return f.get();
        } catch (const ReentrantLoad&) {
            told = true;
            return 9;
        }
    };
    int got = 0;
    try {
        got = f.cache->get_or_load(
            the_key, [&] { return f.cache->get_or_load("other", ask, {.hard_timeout = 1h}); });
    } catch (const ReentrantLoad&) {  // if the other waited first
        told_here = true;
    }
    runner.join();
    CHECK(told);
    CHECK((got == 9 || told_here));
}

namespace {

int depth(Fixture::Cache& cache, int n) {
    return cache.get_or_load(std::to_string(n),
                             [&cache, n] { return n == 0 ? 0 : 1 + depth(cache, n - 1); },
                             {.hard_timeout = 1h});
}

}  // namespace

TEST_CASE("loads with timeouts that need each other do not wait for the threads they occupy",
          "[concurrent]") {
    drey::ManualClock clock;
    Fixture::Cache cache{{.capacity = 1000, .clock = clock}};
    CHECK(depth(cache, 100) == 100);
    CHECK(cache.stats().loads == 101);
}

TEST_CASE("a value that only moves and is not kept is loaded in the call in the end") {
    drey::ManualClock clock;
    loading::Background background;
    background.does = loading::Background::runs;
    drey::Cache<std::string, std::unique_ptr<int>, drey::Lru> cache{
        {.capacity = 10,
         .ttl = 0s,
         .loading = {.hard_timeout = 1h, .executor = background.executor()},
         .clock = clock}};
    int loads = 0, seen = 0;
    CHECK(cache.visit_or_load(
        the_key,
        [&] {
            if (++loads > 10) throw Broken();
            return std::make_unique<int>(3);
        },
        [&](const std::unique_ptr<int>& value) { seen = *value; }));
    CHECK(seen == 3);
    CHECK(loads == 2);
}

TEST_CASE("the threads of a cache's own are waited for, and what they have not begun is not") {
    drey::ManualClock clock;
    std::atomic<int> begun{0}, ended{0};
    support::Gate gate;
    {
        Fixture::Cache cache{{.capacity = 100, .loading = {.hard_timeout = 0s}, .clock = clock}};
        for (int i = 0; i < 40; ++i)
            CHECK_THROWS_AS(cache.get_or_load(std::to_string(i),
                                              [&, i] {
                                                  ++begun;
                                                  begun.notify_all();
                                                  gate.wait();
                                                  ++ended;
                                                  return i;
                                              }),
                            LoadTimeout);
        for (int now = begun; now < 16; now = begun) begun.wait(now);
        CHECK(ended == 0);
        gate.open();
    }
    CHECK(begun == ended);
}
