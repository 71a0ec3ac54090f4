#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "drey/redis.hpp"
#include "loading/fixture.hpp"
#include "redis_facade/shared_cache.hpp"
#include "support/catch.hpp"

// What LoadOptions offers, over a server. Two caches over it are to each other what two processes
// are.

using namespace redis_facade;
using drey::Found;
using drey::LoadResult;
using loading::Background;
using loading::Broken;

namespace {

/// A server, two caches of different processes over it, and a database of one row.
struct Machines {
    explicit Machines(drey::LoadOptions how = {}) {
        how.executor = background.executor();
        options.unix_clock = clock;
        options.clock = clock;
        options.ttl = 1h;
        options.loading = how;
        here.emplace(options);
        there.emplace(options);
    }

    std::optional<int> load() {
        ++loads;
        const auto read = row;
        if (during) std::exchange(during, nullptr)();
        if (is_broken) throw Broken();
        return read;
    }
    auto surely() {
        return [this] { return load().value(); };
    }
    auto perhaps() {
        return [this] { return load(); };
    }
    void be_stale() {
        here->put("key", 1, {.ttl = 10min, .stale_for = 1h});
        clock.advance(10min);
    }

    support::RedisServer server;
    drey::ManualClock clock{1'700'000'000s};
    Background background;
    drey::RedisOptions options = patient(server);
    std::optional<int> row = 2;
    bool is_broken = false;
    int loads = 0;
    std::function<void()> during;
    std::optional<Numbers> here, there;
};

}  // namespace

TEST_CASE("redis: a stale value is served while a load in the background replaces it") {
    Machines all({.stale_for = 1h});
    all.be_stale();
    CHECK(all.here->find("key").is_stale());
    CHECK(all.here->get_or_load("key", all.surely()) == 1);
    CHECK(all.there->get_or_load("key", all.surely()) == 1);
    CHECK(all.background.size() == 2);  // one a process
    CHECK(all.background.run() == 2);
    CHECK(all.there->get("key") == 2);
    CHECK(all.here->stats().stale_serves == 1);
    CHECK(all.here->stats().errors == drey::Stats().errors);
}

TEST_CASE("redis: what another process writes or erases wins over a load in the background") {
    const int deed = GENERATE(0, 1, 2);
    Machines all({.stale_for = 1h});
    all.be_stale();
    CHECK(all.here->get_or_load("key", all.surely()) == 1);
    all.during = [&] {
        if (deed == 0) all.there->erase("key");
        if (deed == 1) all.there->put("key", 9);
        if (deed == 2) all.there->clear();
    };
    all.background.run();
    const std::optional<int> found = all.here->get("key");
    CHECK(found == (deed == 1 ? std::optional(9) : std::nullopt));
}

TEST_CASE("redis: a stale value is served when the loader throws, which is then left alone") {
    Machines all({.stale_for = 1h, .serve_stale = drey::ServeStale::on_error, .retry_after = 5s});
    all.be_stale();
    all.is_broken = true;
    for (int i = 0; i < 3; ++i) CHECK(all.here->get_or_load("key", all.surely()) == 1);
    CHECK(all.loads == 1);
    all.clock.advance(5s);
    CHECK(all.here->get_or_load("key", all.surely()) == 1);
    CHECK(all.loads == 2);
    all.clock.advance(5s);
    all.during = [&] { all.there->erase("key"); };  // what was erased is never served stale
    CHECK_THROWS_AS(all.here->get_or_load("key", all.surely()), Broken);
    CHECK(all.loads == 3);
}

TEST_CASE("redis: that there is no row is remembered by all processes, and found by `find`") {
    Machines all({.negative_ttl = 1min});
    all.row.reset();
    CHECK_FALSE(all.here->get_or_load("key", all.perhaps()));
    CHECK_FALSE(all.there->get_or_load("key", all.perhaps()));
    CHECK(all.loads == 1);
    CHECK(all.there->find("key").is_absent());
    CHECK_FALSE(all.there->contains("key"));
    CHECK(all.there->stats().absent_hits == 2);

    all.row = 3;  // a loader that knows no absence does not believe in one
    CHECK(all.there->get_or_load("key", all.surely()) == 3);
    CHECK(all.here->get("key") == 3);
}

TEST_CASE("redis: a stale value whose row is gone goes too") {
    Machines all({.stale_for = 1h});
    all.be_stale();
    all.row.reset();
    CHECK(all.here->get_or_load("key", all.perhaps()) == 1);
    all.background.run();
    CHECK(all.there->find("key").is_miss());
    CHECK_FALSE(is_there(all.server, "app:key"));
}

TEST_CASE("redis: a call that does not wait to the end leaves the load behind, which is stored") {
    Machines all;
    CHECK_THROWS_AS(all.here->get_or_load("key", all.surely(), {.hard_timeout = 0s}),
                    drey::LoadTimeout);
    CHECK(all.loads == 0);
    all.background.run();
    CHECK(all.there->get("key") == 2);
}

TEST_CASE("redis: values are refreshed before they expire, in proportion to what they cost") {
    Machines all({.early = 1e6});
    all.during = [&] { all.clock.advance(1s); };
    CHECK(all.here->get_or_load("key", all.surely()) == 2);
    all.row = 5;
    CHECK(all.there->get_or_load("key", all.surely()) == 2);  // its cost came with it
    CHECK(all.background.run() == 1);
    CHECK(all.here->get("key") == 5);
    CHECK(all.there->get_or_load("key", all.surely(), {.early = 0.0}) == 5);
    CHECK(all.background.size() == 0);
}

TEST_CASE("redis: many keys are loaded by one call, for all processes") {
    Machines all;
    std::vector<std::string> wanted;
    const auto load = [&](std::span<const std::string> keys) {
        wanted.assign(keys.begin(), keys.end());
        std::map<std::string, int> rows;
        for (const auto& key : keys)
            if (key != "none") rows[key] = static_cast<int>(key.size());
        return rows;
    };
    all.there->put("two", 2);
    const std::vector<std::string> keys{"one", "two", "three", "none", "one"};
    const auto values = all.here->get_or_load_many(keys, load);
    CHECK(wanted == std::vector<std::string>{"one", "three", "none"});
    CHECK(values == std::vector<std::optional<int>>{3, 2, 5, std::nullopt, 3});
    CHECK(all.there->get("three") == 5);
    wanted.clear();
    CHECK(all.there->get_or_load_many(keys, load) == values);
    CHECK(wanted == std::vector<std::string>{"none"});
}

TEST_CASE("redis: loads are awaited without a thread") {
    Machines all;
    int got = 0;
    all.here->async_get_or_load("key", all.surely()).then([&](LoadResult<int> result) {
        got = std::move(result).get();
    });
    CHECK(got == 0);
    all.background.run();
    CHECK(got == 2);
    CHECK(all.there->get("key") == 2);
}

TEST_CASE("redis: refresh replaces what is there, unless somebody writes it meanwhile") {
    Machines all;
    all.here->put("key", 1);
    all.here->refresh("key", all.surely());
    CHECK(all.there->get("key") == 1);
    all.background.run();
    CHECK(all.there->get("key") == 2);
    all.row = 3;
    all.during = [&] { all.there->put("key", 9); };
    all.here->refresh("key", all.surely());
    all.background.run();
    CHECK(all.here->get("key") == 9);
}

TEST_CASE("redis: when the server is gone, loads go on and nothing is stale for ever") {
    Machines all({.stale_for = 1h});
    all.be_stale();
    all.server.kill();
    CHECK(all.here->get_or_load("key", all.surely()) == 2);
    CHECK(all.here->find("key").is_failed());
    int got = 0;
    all.here->async_get_or_load("key", all.surely()).then([&](LoadResult<int> result) {
        got = std::move(result).get();
    });
    all.background.run();
    CHECK(got == 2);
}
