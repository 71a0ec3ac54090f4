#include <cmath>
#include <memory>
#include <optional>
#include <string>

#include "loading/fixture.hpp"
#include "support/catch.hpp"

using drey::Found;
using loading::Background;
using loading::Fixture;
using loading::the_key;
using namespace std::chrono_literals;

namespace {

/// Has the key hold what took a second to load, of which this is left.
void load_slowly(Fixture& f, std::chrono::nanoseconds left, const drey::LoadOptions& options) {
    f.cache->erase(the_key);
    f.during = [&] { f.clock.advance(1s); };
    CHECK(f.get(options) == 2);
    f.clock.advance(10s - left);
}

}  // namespace

TEST_CASE("values are not refreshed early unless that is asked for") {
    Fixture f;
    load_slowly(f, 1ns, {.early = 1.0});
    for (int i = 0; i < 100; ++i) CHECK(f.get() == 2);
    for (int i = 0; i < 100; ++i) CHECK(f.get({.early = 0.0}) == 2);
    CHECK(f.background.size() == 0);
}

TEST_CASE("a huge early refreshes at once, by one load in the background") {
    Fixture f({.early = 1e8});
    load_slowly(f, 9s, {});
    f.row = 3;
    for (int i = 0; i < 5; ++i) CHECK(f.get() == 2);
    CHECK(f.background.size() == 1);
    f.during = [&] { CHECK(f.get() == 2); };
    f.background.run();
    CHECK(f.loads == 2);
    CHECK(f.stats().refreshes == 1);
    CHECK(f.stats().stale_serves == 0);
    f.clock.advance(9s);
    CHECK(f.cache->get(the_key) == 3);
}

TEST_CASE("a value whose load took no time is refreshed early all the same") {
    Fixture f({.early = 1e8});
    CHECK(f.get() == 2);
    f.clock.advance(10s - 1ns);
    CHECK(f.get() == 2);
    CHECK(f.background.size() == 1);
}

TEST_CASE(
    "a value that never ends is never refreshed early, nor one whose load took nobody knows") {
    Fixture f({.early = 9e8}, drey::never);
    f.during = [&] { f.clock.advance(1h); };
    CHECK(f.get() == 2);
    for (int i = 0; i < 100; ++i) CHECK(f.get() == 2);
    f.cache->put(the_key, 1, {.ttl = 1s});
    for (int i = 0; i < 100; ++i) CHECK(f.get() == 1);
    CHECK(f.background.size() == 0);
}

TEST_CASE("an early refresh that fails is nobody's error, and is not tried again for a while") {
    Fixture f({.retry_after = 2s, .early = 1e8});
    load_slowly(f, 9s, {});
    f.is_broken = true;
    for (int i = 0; i < 5; ++i) {
        CHECK(f.get() == 2);
        f.background.run();
    }
    CHECK(f.loads == 2);
    f.clock.advance(2s);
    CHECK(f.get() == 2);
    f.background.run();
    CHECK(f.loads == 3);
    for (const auto does : {Background::refuses, Background::drops}) {
        f.background.does = does;
        f.clock.advance(2s);
        CHECK(f.get() == 2);
    }
    CHECK(f.loads == 3);
}

TEST_CASE("a loader that cannot be copied is not run early") {
    Fixture f({.early = 1e8});
    load_slowly(f, 9s, {});
    auto loader = [&, pinned = std::make_unique<int>(7)] { return *pinned; };
    CHECK(f.cache->get_or_load(the_key, loader) == 2);
    CHECK(f.background.size() == 0);
    CHECK(f.cache->get(the_key) == 2);
}

TEST_CASE("the probability of an early refresh is that of the paper") {
    // P(-took * early * ln(u) >= left) = exp(-left / (took * early)).
    for (const double early : {0.5, 1.0, 3.0})
        for (const auto left : {100ms, 1000ms, 3000ms}) {
            Fixture f({.early = early});
            load_slowly(f, left, {});
            constexpr int draws = 4000;
            int refreshed = 0;
            for (int i = 0; i < draws; ++i) {
                CHECK(f.get() == 2);
                refreshed += f.background.size() != 0;
                f.background.drop();
            }
            const double expected = std::exp(-std::chrono::duration<double>(left).count() / early);
            const double deviation = std::sqrt(expected * (1 - expected) / draws);
            CAPTURE(early, left.count());
            CHECK(std::abs(refreshed / double{draws} - expected) < 4 * deviation + 1e-9);
        }
}

TEST_CASE("a call's jitter spreads the ends of what it loads, of absences too") {
    Fixture f({.negative_ttl = 10s});
    const auto ends = [&](const drey::LoadOptions& options, int wanted) {
        const auto load = [&, wanted](const std::string&) {
            return wanted != 0 ? std::optional<int>(wanted) : std::nullopt;
        };
        for (int i = 0; i < 100; ++i) f.cache->get_or_load(std::to_string(i), load, options);
        f.clock.advance(7500ms);
        int left = 0;
        for (int i = 0; i < 100; ++i)
            left += f.cache->find(std::to_string(i)).state() != Found::miss;
        f.cache->clear();
        return left;
    };
    CHECK(ends({}, 1) == 100);
    CHECK(ends({}, 0) == 100);
    CHECK(ends({.jitter = 0.2}, 1) == 100);
    for (const int wanted : {0, 1}) {
        const int left = ends({.jitter = 0.5}, wanted);
        CHECK(left > 30);
        CHECK(left < 70);
    }
}
