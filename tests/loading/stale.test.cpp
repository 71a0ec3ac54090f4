#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"
#include "loading/fixture.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using drey::Found;
using drey::ServeStale;
using loading::Background;
using loading::Broken;
using loading::Fixture;
using loading::stale;
using loading::Text;
using loading::the_key;
using namespace std::chrono_literals;

TEST_CASE("the first who finds a stale value starts one load, and all get the value at once") {
    Fixture f(stale());
    f.be_stale();
    for (int i = 0; i < 5; ++i) CHECK(f.get() == 1);
    support::elsewhere([&] { CHECK(f.find() == 1); });
    CHECK(f.loads == 0);
    CHECK(f.background.size() == 1);
    CHECK(f.stats().refreshes == 1);
    CHECK(f.stats().stale_serves == 6);
    // Also while the loader runs, to itself and to others.
    f.during = [&] {
        CHECK(f.get() == 1);
        support::elsewhere([&] { CHECK(f.get() == 1); });
    };
    CHECK(f.background.run() == 1);
    CHECK(f.loads == 1);
    CHECK(f.get() == 2);
    CHECK(f.stats().stale_serves == 8);
    CHECK(f.stats().load_timeouts == 0);
    CHECK(f.background.size() == 0);
}

TEST_CASE(
    "a load that a put has overtaken keeps nobody from replacing that put's value in its turn") {
    Fixture f(stale());
    f.be_stale(1);
    CHECK(f.get() == 1);
    CHECK(f.get() == 1);
    f.be_stale(5);  // the load of before is still queued, and will not fill
    CHECK(f.get() == 5);
    CHECK(f.background.size() == 2);
    CHECK(f.get() == 5);
    CHECK(f.background.size() == 2);
    f.background.run();
    CHECK(f.get() == 2);
    CHECK(f.stats().dropped_loads == 1);
}

TEST_CASE("a loader that throws is left alone for retry_after, while the stale value is served") {
    Fixture f(stale());
    f.be_stale();
    f.is_broken = true;
    for (int round = 1; round <= 3; ++round) {
        CHECK(f.get({.retry_after = 5s}) == 1);
        CHECK(f.background.run() == 1);
        CHECK(f.loads == round);
        CHECK(f.stats().load_failures == static_cast<std::uint64_t>(round));
        f.clock.advance(5s - 1ns);
        CHECK(f.get({.retry_after = 5s}) == 1);
        CHECK(f.get({.serve_stale = ServeStale::on_error}) == 1);
        CHECK(f.background.size() == 0);
        CHECK(f.loads == round);
        f.clock.advance(1ns);
    }
    f.is_broken = false;
    CHECK(f.get() == 1);
    f.background.run();
    CHECK(f.get() == 2);
}

TEST_CASE("a value that was put since the loader threw does not rest") {
    Fixture f(stale());
    f.background.does = loading::Background::runs;
    f.be_stale(1);
    f.is_broken = true;
    CHECK(f.get({.retry_after = 1h}) == 1);
    CHECK(f.get() == 1);
    CHECK(f.loads == 1);
    f.is_broken = false;
    f.be_stale(5);
    CHECK(f.get() == 5);
    CHECK(f.loads == 2);
    CHECK(f.get() == 2);
}

TEST_CASE("a second is the rest unless something is said, and none is none") {
    Fixture f(stale(ServeStale::on_error));
    f.be_stale();
    f.is_broken = true;
    CHECK(f.get() == 1);
    f.clock.advance(1s - 1ns);
    CHECK(f.get() == 1);
    CHECK(f.loads == 1);
    f.clock.advance(1ns);
    CHECK(f.get({.retry_after = 0s}) == 1);
    CHECK(f.get({.retry_after = 0s}) == 1);
    CHECK(f.loads == 3);
}

TEST_CASE("stale on errors only: the load is waited for, and its error is not told") {
    Fixture f(stale(ServeStale::on_error));
    f.be_stale();
    CHECK(f.get() == 2);
    CHECK(f.loads == 1);
    CHECK(f.background.size() == 0);
    f.be_stale();
    f.is_broken = true;
    CHECK(f.get() == 1);
    CHECK(f.loads == 2);
    CHECK(f.stats().stale_serves == 1);
    CHECK(f.stats().load_failures == 1);
    f.clock.advance(1h);
    CHECK_THROWS_AS(f.get(), Broken);  // there is nothing any more
    CHECK(f.state() == Found::miss);
}

TEST_CASE("stale while revalidating only: an error that somebody waits for is told") {
    Fixture f(stale(ServeStale::while_revalidating));
    f.be_stale();
    f.is_broken = true;
    CHECK(f.get() == 1);
    f.background.run();
    CHECK(f.get() == 1);
    CHECK(f.loads == 1);
    f.clock.advance(1s);
    f.background.does = Background::runs;
    CHECK_THROWS_AS(f.get({.soft_timeout = 1s}), Broken);
    CHECK(f.state() == Found::stale);
}

TEST_CASE("a call overrides what it names of how stale values are used, and nothing else") {
    Fixture f(stale(ServeStale::on_error));
    f.be_stale();
    CHECK(f.get({.serve_stale = ServeStale::both}) == 1);  // and still for an hour
    f.background.drop();
    CHECK(f.get({.hard_timeout = drey::never}) == 2);  // on errors only, as the cache says
    f.be_stale();
    f.is_broken = true;
    CHECK(f.get({.retry_after = 1h}) == 1);
    f.clock.advance(30min);
    CHECK(f.get() == 1);
    CHECK(f.loads == 2);
}

TEST_CASE(
    "a call's stale_for bounds the age that it puts up with, and is kept with what it loads") {
    Fixture f;
    f.be_stale();  // for an hour, if somebody wants it
    CHECK(f.get({.stale_for = 1ns}) == 1);
    f.background.drop();
    f.clock.advance(5s);
    CHECK(f.get({.stale_for = 5s + 1ns}) == 1);
    f.background.drop();
    CHECK(f.get({.stale_for = 5s}) == 2);  // not old enough is loaded here
    f.clock.advance(15s);
    CHECK(f.state() == Found::miss);  // 10s fresh, 5s stale
}

TEST_CASE("who puts up with no stale value does not get one at the very moment it becomes stale") {
    Fixture f;
    f.be_stale();
    CHECK(f.get() == 2);
    CHECK(f.stats().stale_serves == 0);
    f.be_stale();
    f.is_broken = true;
    CHECK_THROWS_AS(f.get(), Broken);
}

namespace {

/// Each way to invalidate the key; whether it leaves a value.
using Deed = std::pair<std::function<void(Fixture::Cache&)>, std::optional<int>>;
const std::vector<Deed> deeds{
    {[](auto& cache) { cache.erase(the_key); }, {}},
    {[](auto& cache) { cache.clear(); }, {}},
    {[](auto& cache) { cache.put(the_key, 7); }, 7},
    {[](auto& cache) { cache.update(the_key, [](auto) { return std::optional<int>(7); }); }, 7},
    {[](auto& cache) { cache.update(the_key, [](auto) { return std::optional<int>(); }); }, {}},
    {[](auto& cache) { cache.take(the_key); }, {}},
    {[](auto& cache) { cache.erase_if([](const auto&, int) { return true; }); }, std::nullopt},
};

}  // namespace

TEST_CASE("an invalidation wins over a load, wherever it runs, and nothing old is served after") {
    for (std::size_t i = 0; i < deeds.size(); ++i)
        for (const bool is_broken : {false, true})
            for (const int how : {0, 1, 2, 3, 4, 5}) {
                CAPTURE(i, is_broken, how);
                const auto& [deed, left] = deeds[i];
                Fixture f(stale());
                f.is_broken = is_broken;
                f.during = [&, &deed = deed] { deed(*f.cache); };
                switch (how) {
                    case 0:  // in the background, of a stale value
                        f.be_stale();
                        CHECK(f.get() == 1);
                        CHECK(f.background.run() == 1);
                        break;
                    case 1:  // waited for, of a stale value
                        f.be_stale();
                        if (is_broken)
                            CHECK_THROWS_AS(f.get({.serve_stale = ServeStale::on_error}), Broken);
                        else
                            CHECK(f.get({.serve_stale = ServeStale::on_error}) == 2);
                        break;
                    case 2:  // of nothing
                        if (is_broken)
                            CHECK_THROWS_AS(f.get(), Broken);
                        else
                            CHECK(f.get() == 2);
                        break;
                    case 3:  // of many
                        f.be_stale();
                        {
                            const auto many = [&](std::span<const std::string> keys) {
                                return std::vector<std::optional<int>>(keys.size(), f.load());
                            };
                            if (is_broken)
                                CHECK_THROWS_AS(f.cache->get_or_load_many({the_key, "b"}, many),
                                                Broken);
                            else
                                CHECK(f.cache->get_or_load_many({the_key, "b"}, many)[0] == 2);
                        }
                        break;
                    case 4:  // of what is fresh
                        f.cache->put(the_key, 1);
                        f.cache->refresh(the_key, f.surely());
                        CHECK(f.background.run() == 1);
                        break;
                    case 5:  // before it has begun
                        f.be_stale();
                        CHECK(f.get() == 1);
                        std::exchange(f.during, nullptr)();
                        CHECK(f.background.run() == 1);
                        break;
                }
                CHECK(f.cache->get(the_key) == left);
                // erase_if sees no stale value, so it has not removed one; but it may have been
                // meant for it, so the load is not kept.
                const bool is_erase_if = i + 1 == deeds.size();
                if (!is_erase_if || how == 2) CHECK(f.state() == (left ? Found::hit : Found::miss));
                f.is_broken = false;
                f.row = 3;
                if (is_erase_if) continue;
                CHECK(f.get() == left.value_or(3));
                CHECK(f.stats().stale_serves == (how == 0 || how == 5 ? 1u : 0u));
            }
}

TEST_CASE("what is erased after a call found it stale, and before it loads, is not served either",
          "[concurrent]") {
    Fixture f(stale());
    f.be_stale();
    int asked = 0;
    std::function<void()> erase = [&] { f.cache->erase(the_key); };
    SECTION("when the loader throws") {
        f.is_broken = true;
        CHECK_THROWS_AS(f.cache->get_or_load(Text{&erase, &asked}, f.surely(),
                                             {.serve_stale = ServeStale::on_error}),
                        Broken);
    }
    SECTION("when it takes too long") {
        std::thread runner;
        support::Gate begun;
        f.background.after_taking = [&] {
            runner = std::thread([&] { f.background.run(); });
            begun.wait();
        };
        f.during = [&] {
            f.clock.advance(1s);
            begun.open();
            for (int i = 0; i < 1000; ++i) std::this_thread::yield();
        };
        CHECK(f.cache->get_or_load(Text{&erase, &asked}, f.surely(), {.soft_timeout = 1s}) == 2);
        runner.join();
    }
    CHECK(asked == 2);
    CHECK(f.stats().stale_serves == 0);
}

TEST_CASE("refresh loads in the background, and what is there stays in use") {
    Fixture f(stale());
    f.cache->put(the_key, 1);
    f.cache->refresh(the_key, f.perhaps());
    f.cache->refresh(the_key, f.perhaps());  // is being loaded
    CHECK(f.background.size() == 1);
    CHECK(f.get() == 1);
    f.during = [&] { CHECK(f.get() == 1); };
    f.background.run();
    CHECK(f.get() == 2);
    CHECK(f.loads == 1);
    CHECK(f.stats().refreshes == 1);

    f.is_broken = true;  // nobody's error
    f.cache->refresh(the_key, f.perhaps());
    f.background.run();
    CHECK(f.get() == 2);
    f.is_broken = false;

    f.cache->erase(the_key);
    f.cache->refresh(the_key, f.perhaps());  // there may be nothing
    f.background.run();
    CHECK(f.cache->get(the_key) == 2);

    f.row.reset();  // the row is gone, and with it its value
    f.cache->refresh(the_key, f.perhaps());
    f.background.run();
    CHECK(f.state() == Found::miss);
}

TEST_CASE("refresh joins what waits, and who misses meanwhile joins it") {
    Fixture f;
    f.cache->refresh(the_key, f.perhaps());
    CHECK(f.get() == 2);
    CHECK(f.loads == 1);
    f.background.run();
    CHECK(f.loads == 1);
}

TEST_CASE("a refresh without an executor that takes it does no harm") {
    Fixture f(stale());
    for (const auto does : {Background::refuses, Background::drops}) {
        f.be_stale();
        f.background.does = does;
        f.cache->refresh(the_key, f.perhaps());
        CHECK(f.get() == 1);
        CHECK(f.loads == 0);
        f.background.does = Background::queues;
        CHECK(f.get() == 1);
        f.background.drop();
        CHECK(f.get() == 1);  // and is asked again
        CHECK(f.background.run() == 1);
        CHECK(f.cache->get(the_key) == 2);
        f.loads = 0;
    }
}

TEST_CASE("an executor may run loads at once, in the call") {
    Fixture f(stale());
    f.be_stale();
    f.background.does = Background::runs;
    CHECK(f.get() == 1);
    CHECK(f.loads == 1);
    CHECK(f.get() == 2);
    f.be_stale();
    f.is_broken = true;
    CHECK(f.get() == 1);
    CHECK(f.get() == 1);
    CHECK(f.loads == 2);
}

TEST_CASE("what is left with an executor when the cache is destroyed does nothing") {
    Fixture f(stale());
    f.be_stale();
    const auto alive = std::make_shared<int>(0);
    CHECK(f.cache->get_or_load(the_key, [&f, alive] { return f.load().value(); }) == 1);
    CHECK(alive.use_count() == 2);
    f.cache.reset();
    CHECK(alive.use_count() == 1);
    CHECK(f.background.run() == 1);
    CHECK(f.loads == 0);
}

TEST_CASE("destruction waits for a load that has begun", "[concurrent]") {
    Fixture f(stale());
    f.be_stale();
    CHECK(f.get() == 1);
    support::Gate begun;
    std::atomic<bool> ended{false};
    f.during = [&] {
        begun.open();
        for (int i = 0; i < 1000; ++i) std::this_thread::yield();
        ended = true;
    };
    std::thread runner([&] { f.background.run(); });
    begun.wait();
    f.cache.reset();
    CHECK(ended);
    runner.join();
}

TEST_CASE("a cache has threads of its own if it is given no executor", "[concurrent]") {
    drey::ManualClock clock;
    support::Gate gate;
    std::atomic<int> loads{0};
    {
        Fixture::Cache cache{{.capacity = 10, .loading = stale(), .clock = clock}};
        const auto load = [&] {
            gate.wait();
            ++loads;
            loads.notify_all();
            return 2;
        };
        for (const std::string name : {"a", "b"}) {
            cache.put(name, 1, {.ttl = 1s});
            clock.advance(1s);
            CHECK(cache.get_or_load(name, load) == 1);
        }
        gate.open();
        for (int now = loads; now < 2; now = loads) loads.wait(now);
    }
    CHECK(loads == 2);
}

TEST_CASE("a cache for one thread loads in the call, or on the executor it is given") {
    drey::ManualClock clock;
    Background background;
    int loads = 0;
    const auto load = [&] {
        ++loads;
        return 2;
    };
    for (const bool has_executor : {false, true}) {
        auto loading = stale();
        if (has_executor) loading.executor = background.executor();
        drey::Cache<std::string, int, drey::Local<drey::Lru>> cache{
            {.capacity = 10, .loading = loading, .clock = clock}};
        cache.put(the_key, 1, {.ttl = 1s});
        clock.advance(1s);
        loads = 0;
        CHECK(cache.get_or_load(the_key, load, {.hard_timeout = 1s}) == (has_executor ? 1 : 2));
        CHECK(loads == (has_executor ? 0 : 1));
        background.run();
        CHECK(cache.get(the_key) == 2);
        cache.refresh(the_key, load);
        CHECK(loads == (has_executor ? 1 : 2));
        background.run();
        CHECK(loads == 2);
    }
}
