#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "loading/fixture.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using drey::Found;
using loading::Background;
using loading::Fixture;
using loading::stale;
using loading::Text;
using loading::the_key;
using namespace std::chrono_literals;

TEST_CASE("that there is no such row is remembered for negative_ttl, then asked again") {
    Fixture f({.negative_ttl = 5s});
    f.row.reset();
    CHECK(f.state() == Found::miss);
    CHECK(f.find() == std::nullopt);
    CHECK(f.state() == Found::absent);
    CHECK_FALSE(f.cache->get(the_key));
    CHECK_FALSE(f.cache->contains(the_key));
    f.clock.advance(5s - 1ns);
    CHECK(f.find() == std::nullopt);
    CHECK(f.loads == 1);
    CHECK(f.stats().absent_hits == 2);
    f.clock.advance(1ns);
    CHECK(f.state() == Found::miss);
    f.row = 2;
    CHECK(f.find() == 2);
    CHECK(f.state() == Found::hit);
    CHECK(f.loads == 2);
}

TEST_CASE("it is not remembered unless that is asked for, and a call may ask otherwise") {
    Fixture f;
    f.row.reset();
    CHECK(f.find() == std::nullopt);
    CHECK(f.find() == std::nullopt);
    CHECK(f.loads == 2);
    CHECK(f.state() == Found::miss);
    CHECK(f.cache->size() == 0);
    CHECK(f.find({.negative_ttl = 1s}) == std::nullopt);
    CHECK(f.state() == Found::absent);
    CHECK(f.find({.negative_ttl = 0s}) == std::nullopt);
    CHECK(f.loads == 3);
}

TEST_CASE("a loader may say how long it holds, within negative_ttl") {
    Fixture f({.negative_ttl = 10s});
    const auto nothing_for = [&](drey::Ttl ttl) {
        return f.cache->get_or_load(the_key, [ttl] {
            return drey::Loaded<std::optional<int>>{{}, {.ttl = ttl}};
        });
    };
    CHECK_FALSE(nothing_for(1s));
    f.clock.advance(1s);
    CHECK(f.state() == Found::miss);
    CHECK_FALSE(nothing_for(1h));
    f.clock.advance(10s);
    CHECK(f.state() == Found::miss);
}

TEST_CASE("a stale value whose row is gone is removed") {
    for (const drey::Ttl negative_ttl : {0s, 5s}) {
        auto loading = stale();
        loading.negative_ttl = negative_ttl;
        Fixture f(loading);
        f.row.reset();
        f.be_stale();
        CHECK(f.find() == 1);
        f.background.run();
        CHECK(f.state() == (negative_ttl == 0s ? Found::miss : Found::absent));
        CHECK(f.find() == std::nullopt);

        f.be_stale();
        CHECK(f.find({.serve_stale = drey::ServeStale::on_error}) == std::nullopt);
        CHECK(f.state() == (negative_ttl == 0s ? Found::miss : Found::absent));
        CHECK(f.stats().stale_serves == 1);
    }
}

TEST_CASE("who must have a value loads though there is said to be none") {
    Fixture f({.negative_ttl = 1h});
    f.row.reset();
    CHECK(f.find() == std::nullopt);
    f.row = 2;
    CHECK(f.find() == std::nullopt);
    CHECK(f.get() == 2);
    CHECK(f.find() == 2);
    CHECK(f.loads == 2);
}

TEST_CASE("and if that fails the absence stays") {
    Fixture f({.negative_ttl = 1h});
    f.row.reset();
    CHECK(f.find() == std::nullopt);
    CHECK_THROWS_AS(f.get(), std::bad_optional_access);
    CHECK(f.state() == Found::absent);
}

TEST_CASE("who must have a value and waited for a loader that finds none calls its own",
          "[concurrent]") {
    for (const drey::Ttl negative_ttl : {0s, 3600s}) {
        Fixture f({.negative_ttl = negative_ttl});
        std::thread other;
        int got = 0;
        const auto nothing = [&]() -> std::optional<int> {
            // Joins this load or comes after it: the same to both.
            other = std::thread([&] { got = f.get(); });
            for (int i = 0; i < 1000; ++i) std::this_thread::yield();
            return {};
        };
        CHECK(f.cache->get_or_load(the_key, nothing) == std::nullopt);
        other.join();
        CHECK(got == 2);
        CHECK(f.loads == 1);
        CHECK(f.cache->get(the_key) == 2);
    }
}

TEST_CASE("a load that may find nothing gives its value to all who wait for it") {
    Fixture f;
    f.background.after_taking = [&] {
        f.background.after_taking = nullptr;
        support::elsewhere([&] { CHECK(f.get() == 2); });  // runs what is queued
    };
    CHECK(f.find({.hard_timeout = 1h}) == 2);
    CHECK(f.loads == 1);
}

TEST_CASE("who must have a value loads though the row was said to be gone a moment ago") {
    Fixture f({.negative_ttl = 1h});
    int asked = 0;
    std::function<void()> say_so = [&] {
        f.row.reset();
        CHECK(f.find() == std::nullopt);
        f.row = 2;
    };
    CHECK(f.cache->get_or_load(Text{&say_so, &asked}, f.surely()) == 2);
    CHECK(asked == 2);
    CHECK(f.cache->get(the_key) == 2);
    CHECK(f.cache->size() == 1);
}

TEST_CASE("an invalidation during a load wins over the news that there is no row, too") {
    Fixture f({.negative_ttl = 1h});
    f.row.reset();
    f.during = [&] { f.cache->erase(the_key); };
    CHECK(f.find() == std::nullopt);
    CHECK(f.state() == Found::miss);
    f.during = [&] { f.cache->put(the_key, 7); };
    CHECK(f.find() == std::nullopt);
    CHECK(f.find() == 7);
    CHECK(f.stats().dropped_loads == 2);
}

TEST_CASE("a write ends an absence, and an erase forgets it") {
    Fixture f({.negative_ttl = 1h});
    f.row.reset();
    CHECK(f.find() == std::nullopt);
    CHECK(f.cache->put_if_absent(the_key, 7));
    CHECK(f.find() == 7);
    f.cache->erase(the_key);
    CHECK(f.find() == std::nullopt);
    CHECK(f.cache->erase(the_key) == 0);
    f.row = 2;
    CHECK(f.find() == 2);
}
