#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "drey/any_cache.hpp"
#include "drey/writing/write_behind.hpp"
#include "drey/writing/write_through.hpp"
#include "redis_facade/shared_cache.hpp"
#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/threads.hpp"

// Tags over Redis: what was invalidated by one, in whatever process, is gone for every call of
// every process, and no load brings it back. Two caches over one server are to each other what two
// processes are.

using namespace redis_facade;

namespace {

using drey::Loaded;
using drey::LoadOptions;
using Value = std::optional<std::string>;

/// A loader that says that its value has the tag "t".
auto tagged(const std::string& value, const std::function<void()>& meanwhile = {}) {
    return [=] {
        if (meanwhile) meanwhile();
        return Loaded<std::string>{value, {.tags = {"t"}}};
    };
}

/// Has a cache know that there are tags, so that it is prepared for those that loaders say.
void acquaint(Texts& cache) { cache.invalidate_tag("nobody has this"); }

std::size_t errors(const Texts& cache) {
    const auto errors = cache.stats().errors;
    return static_cast<std::size_t>(
        std::accumulate(errors.begin(), errors.end(), std::uint64_t{0}));
}

/// How often the server has executed each command, within scripts too.
std::map<std::string, long> executed(support::RedisServer& server) {
    std::map<std::string, long> calls;
    std::istringstream lines(server.command({"INFO", "commandstats"}).text);
    for (std::string line; std::getline(lines, line);) {
        const std::size_t colon = line.find(":calls=");
        if (colon != line.npos)
            calls[line.substr(8, colon - 8)] = std::stol(line.substr(colon + 7));
    }
    for (const char* ours : {"info", "config|resetstat", "config", "hello", "ping"})
        calls.erase(ours);
    return calls;
}

}  // namespace

TEST_CASE("invalidating a tag removes what has it, and nothing else, for every process") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    here.put("1", "one", {.tags = {"a", "b"}});
    there.put_many({{"2", "two"}, {"3", "three"}}, {.tags = {"b", "", "with: spaces\n"}});
    here.put("4", "four");
    here.invalidate_tag("nobody has this");
    const std::array<const char*, 4> keys{"1", "2", "3", "4"};
    for (Texts* cache : {&here, &there})
        CHECK(cache->get_many(keys) == std::vector<Value>{"one", "two", "three", "four"});
    there.invalidate_tag("a");
    for (Texts* cache : {&here, &there})
        CHECK(cache->get_many(keys) == std::vector<Value>{std::nullopt, "two", "three", "four"});
    here.invalidate_tag("with: spaces\n");
    for (Texts* cache : {&here, &there})
        CHECK(cache->get_many(keys) ==
              std::vector<Value>{std::nullopt, std::nullopt, std::nullopt, "four"});
    CHECK(errors(here) == 0);
    CHECK(errors(there) == 0);
}

TEST_CASE("what is put after its tag was invalidated stays") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    here.invalidate_tag("t");
    CHECK(there.put("1", "a", {.tags = {"t"}}));
    CHECK(here.get("1") == "a");
    here.invalidate_tag("t");
    CHECK(here.put_if_absent("1", "b", {.tags = {"t", "t"}}));
    CHECK_FALSE(there.put_if_absent("1", "c", {.tags = {"t"}}));
    CHECK(there.get("1") == "b");
    there.put("1", "d");
    there.invalidate_tag("t");
    CHECK(here.get("1") == "d");  // the new entry has not the tags of the old one
}

TEST_CASE("what was invalidated by its tag is gone for every call of every process") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    drey::ManualClock clock;
    auto options = patient(server);
    options.unix_clock = clock;
    Texts here{options}, there{options};
    const auto put = [&] {
        here.put("1", "old", {.ttl = 100s, .stale_for = 1h, .tags = {"t"}});
        here.invalidate_tag("t");
    };
    put();
    CHECK_FALSE(there.get("1"));
    CHECK(there.find("1").is_miss());
    CHECK_FALSE(there.contains("1"));
    CHECK_FALSE(there.visit("1", [](const std::string&) {}));
    CHECK_FALSE(there.get_many({"1"})[0]);
    clock.advance(200s);
    CHECK(there.find("1").is_miss());  // not stale
    put();
    CHECK_FALSE(there.take("1"));
    put();
    CHECK(there.erase("1") == 0);
    put();
    CHECK(there.update("1", [](const Value& old) { return old ? Value() : Value("new"); }));
    CHECK(here.get("1") == "new");
    put();
    CHECK(there.put_if_absent("1", "newer"));
    CHECK(here.get("1") == "newer");
    put();
    CHECK(there.get_or_load("1", [] { return std::string("loaded"); }) == "loaded");
    CHECK(here.get("1") == "loaded");
    put();
    there.refresh("1", [] { return std::string("refreshed"); },
                  {.executor = [](const std::function<void()>& task) { task(); }});
    CHECK(here.get("1") == "refreshed");
    put();
    CHECK(there.get_or_load_many({"1"}, [](std::span<const std::string>) {
        return std::vector<std::string>{"batch"};
    })[0] == "batch");
    CHECK(here.get("1") == "batch");
}

TEST_CASE("what has tags that hold is like what has none to every call") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    const std::vector<std::string> tags{"t", std::string(5000, 'x')};
    const auto put = [&] { here.put("1", "v", {.tags = tags}); };
    put();
    CHECK(there.find("1").is_hit());
    CHECK(there.contains("1"));
    CHECK_FALSE(there.put_if_absent("1", "w"));
    CHECK(there.get_or_load("1", [] { return std::string("w"); }) == "v");
    CHECK(there.erase("1") == 1);  // longer than an erase looks
    put();
    CHECK(there.take("1") == "v");
    here.put("1", "v", {.tags = {"t"}});
    CHECK(there.erase("1") == 1);
    put();
    CHECK(there.update("1", [](const Value& old) { return Value(old.value_or("") + "w"); },
                       {.tags = {"u"}}));
    CHECK(here.get("1") == "vw");
    here.invalidate_tag("t");  // it is not the updated value's
    CHECK(here.get("1") == "vw");
    here.invalidate_tag("u");
    CHECK_FALSE(there.get("1"));
}

TEST_CASE("absences have tags over a server, too") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    int loads = 0;
    const auto look = [&](Texts& cache) {
        return cache.get_or_load("1", [&]() -> Value { return ++loads, std::nullopt; },
                                 {.negative_ttl = 1h, .tags = {"t"}});
    };
    CHECK_FALSE(look(here));
    CHECK_FALSE(look(there));
    CHECK(loads == 1);
    CHECK(there.find("1").is_absent());
    here.invalidate_tag("t");
    CHECK(there.find("1").is_miss());
    CHECK_FALSE(look(there));
    CHECK(loads == 2);
}

TEST_CASE("a tag that is invalidated during a load dooms its result, whoever says the tag") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    enum class Who { call, cache, loader };
    for (const Who who : {Who::call, Who::cache, Who::loader})
        for (const bool from_here : {true, false})
            for (const bool is_refresh : {false, true})
                for (const bool is_known : {false, true}) {
                    INFO("said by " << static_cast<int>(who) << (from_here ? " here" : " there")
                                    << is_refresh << is_known);
                    server.command({"FLUSHALL"});
                    auto options = patient(server);
                    if (who == Who::cache) options.loading.tags = {"t"};
                    Texts here{options}, there{patient(server)};
                    if (is_known) there.put("other", "x", {.tags = {"t"}});
                    if (who == Who::loader) acquaint(here);
                    LoadOptions call;
                    if (who == Who::call) call.tags = {"t"};
                    call.executor = [](const std::function<void()>& task) { task(); };
                    const auto load = [&](const char* tag, const std::string& value) {
                        const auto loader = [&, tag] {
                            (from_here ? here : there).invalidate_tag(tag);
                            Loaded<std::string> loaded{value};
                            if (who == Who::loader) loaded.options.tags = {"t"};
                            return loaded;
                        };
                        if (is_refresh) return here.refresh("key", loader, call);
                        CHECK(here.get_or_load("key", loader, call) == value);
                    };
                    load("t", "old");
                    CHECK_FALSE(here.get("key"));
                    CHECK_FALSE(there.get("key"));
                    CHECK(here.stats().dropped_loads == 1);
                    CHECK_FALSE(is_there(server, "app:key"));  // nor a lease
                    load("another", "new");
                    CHECK(here.get("key") == "new");
                    CHECK(there.get("key") == "new");
                    there.invalidate_tag("t");
                    CHECK_FALSE(here.get("key"));
                    CHECK(errors(here) == 0);
                }
}

TEST_CASE("the first load whose loader says tags, of which nobody knew, is not kept") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)}, reader{patient(server)};
    CHECK(cache.get_or_load("1", tagged("first")) == "first");
    CHECK_FALSE(is_there(server, "app:1"));
    CHECK(cache.stats().dropped_loads == 1);
    CHECK(cache.get_or_load("1", tagged("second")) == "second");
    CHECK(cache.get("1") == "second");
    CHECK(reader.get("1") == "second");  // now it knows
    reader.get_or_load("2", tagged("first"));
    CHECK(cache.get("2") == "first");
}

TEST_CASE("who asks after a tag was invalidated, wherever, shares no load that began before",
          "[concurrent]") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    acquaint(here);
    for (const bool from_here : {true, false})
        for (const bool is_told : {true, false}) {
            const std::string key =
                std::string("key") + (from_here ? "1" : "2") + (is_told ? "t" : "");
            std::atomic<const char*> row{"old"};
            const auto loader = [&] {
                Loaded<std::string> loaded{std::string(row)};
                if (!is_told) loaded.options.tags = {"t"};
                return loaded;
            };
            LoadOptions options;
            if (is_told) options.tags = {"t"};
            std::string late;
            std::thread passenger;
            here.get_or_load(
                key,
                [&] {
                    const auto value = loader();
                    row = "new";
                    (from_here ? here : there).invalidate_tag("t");
                    const auto before = here.stats().misses;
                    passenger = std::thread([&] { late = here.get_or_load(key, loader, options); });
                    support::eventually([&] { return here.stats().misses > before; });
                    return value;
                },
                options);
            passenger.join();
            CHECK(late == "new");
            CHECK(there.get(key).value_or("new") == "new");
        }
}

TEST_CASE("who asks after a tag was invalidated shares no older news that there is no such row",
          "[concurrent]") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    for (Texts* other : {&here, &there}) {
        Value late;
        std::thread passenger;
        const LoadOptions options{.tags = {"t"}};
        CHECK_FALSE(here.get_or_load(
            "key",
            [&]() -> Value {
                other->invalidate_tag("t");
                const auto before = here.stats().misses;
                passenger = std::thread([&] {
                    late = here.get_or_load(
                        "key", [] { return Value("new"); }, options);
                });
                support::eventually([&] { return here.stats().misses > before; });
                return std::nullopt;
            },
            options));
        passenger.join();
        CHECK(late == "new");
        here.erase("key");
    }
}

TEST_CASE("without a server, who asks after a tag was invalidated here shares no older load either",
          "[concurrent]") {
    const support::ReservedPort nobody;
    Texts cache{{.uri = "redis://127.0.0.1:" + std::to_string(nobody.number()), .prefix = "app"}};
    std::string late;
    std::thread passenger;
    cache.get_or_load("key", tagged("old", [&] {
                          cache.invalidate_tag("t");
                          const auto before = cache.stats().misses;
                          passenger =
                              std::thread([&] { late = cache.get_or_load("key", tagged("new")); });
                          support::eventually([&] { return cache.stats().misses > before; });
                      }));
    passenger.join();
    CHECK(late == "new");
}

TEST_CASE("what is got is never older than the last invalidation of its tag", "[concurrent]") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    constexpr std::size_t rows = 4;
    std::array<std::atomic<int>, rows> row{};
    const auto tag_of = [](std::size_t i) { return "row" + std::to_string(i); };
    const auto key_of = [](std::size_t i) { return "key" + std::to_string(i); };
    std::atomic<bool> over{false};
    support::Failures failures;
    std::vector<std::thread> loaders;
    for (std::uint64_t me = 0; me < 2; ++me)
        loaders.emplace_back([&, me] {
            Texts cache{patient(server)};
            support::Random random(me);
            while (!over) {
                const std::size_t i = random.below(rows);
                const int before = row[i];
                const auto loader = [&] {
                    const int value = row[i];
                    for (std::uint64_t n = random.below(10); n > 0; --n) std::this_thread::yield();
                    return Loaded<std::string>{std::to_string(value), {.tags = {tag_of(i)}}};
                };
                // Changed rows are not invalidated at once: who asks meanwhile may get the old.
                failures.expect(std::stoi(cache.get_or_load(key_of(i), loader)) >= before - 1);
            }
        });
    Texts cache{patient(server)};
    support::Random random(99);
    for (std::size_t n = support::ops(1500); n > 0; --n) {
        const std::size_t i = random.below(rows);
        ++row[i];
        cache.invalidate_tag(tag_of(i));
        for (std::uint64_t k = random.below(10); k > 0; --k) std::this_thread::yield();
        const auto got = cache.get(key_of(i));
        failures.expect(!got || std::stoi(*got) == row[i]);
    }
    over = true;
    for (std::thread& loader : loaders) loader.join();
    CHECK(failures.count() == 0);
}

TEST_CASE("an update of what is invalidated meanwhile begins anew, without it") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    for (Texts* other : {&here, &there}) {
        here.put("1", "old", {.tags = {"t"}});
        int calls = 0;
        const auto append = [&](const Value& old) {
            if (++calls == 1) other->invalidate_tag("t");
            return Value(old.value_or("") + "new");
        };
        here.update("1", append);
        CHECK(calls == 2);
        CHECK(there.get("1") == "new");

        calls = 0;
        here.update("2", append, {.tags = {"t"}});
        CHECK_FALSE(there.contains("2"));  // it was made before
    }
}

TEST_CASE("a stale value is not served if its tag was invalidated during the load that failed") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    drey::ManualClock clock;
    auto options = patient(server);
    options.unix_clock = clock;
    options.clock = clock;
    Texts here{options}, there{options};
    const LoadOptions serve{.stale_for = 1h, .serve_stale = drey::ServeStale::on_error};
    for (Texts* other : {&here, &there}) {
        const auto fail_after = [&](const char* tag) {
            here.put("1", "stale", {.ttl = 100s, .stale_for = 1h, .tags = {"t"}});
            clock.advance(200s);
            return [=]() -> std::string {
                other->invalidate_tag(tag);
                throw std::runtime_error("no");
            };
        };
        CHECK(here.get_or_load("1", fail_after("another"), serve) == "stale");
        CHECK_THROWS_AS(here.get_or_load("1", fail_after("t"), serve), std::runtime_error);
    }
}

TEST_CASE("a tag whose key the server has lost takes its entries with it, and brings none back") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)};
    cache.put("1", "one", {.tags = {"t"}});
    REQUIRE(is_there(server, "app:%t:t"));
    server.command({"UNLINK", "app:%t:t"});
    CHECK_FALSE(cache.get("1"));
    cache.put("2", "two", {.tags = {"t"}});  // makes it again
    CHECK(cache.get("2") == "two");
    CHECK_FALSE(cache.get("1"));
    server.command({"SET", "app:%t:t", "something else"});
    CHECK_FALSE(cache.get("2"));
    CHECK_FALSE(cache.put("2", "more", {.tags = {"t"}}));
    CHECK(cache.stats().failed(drey::Errc::protocol) == 1);
    cache.invalidate_tag("t");  // which puts it in order
    CHECK(cache.put("2", "more", {.tags = {"t"}}));
    CHECK(cache.get("2") == "more");
}

TEST_CASE("a load that cannot know what was invalidated during it is not kept") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)}, other{patient(server)};
    acquaint(cache);
    const auto load_while = [&](const std::function<void()>& meanwhile) {
        cache.get_or_load("1", tagged("value", meanwhile));
        return cache.get("1").has_value();
    };
    CHECK_FALSE(load_while([&] { server.command({"UNLINK", "app:%t"}); }));
    CHECK_FALSE(load_while([&] {
        server.command({"UNLINK", "app:%t"});
        other.get_or_load("2", tagged("value"));
        other.get_or_load("2", tagged("value"));
    }));
    // The log of what was invalidated is full.
    CHECK_FALSE(load_while([&] {
        std::vector<std::string> many{"HSET", "app:%t"};
        for (int i = 0; i < 5000; ++i) many.insert(many.end(), {std::to_string(i), "1"});
        server.command(many);
        other.invalidate_tag("another");
    }));
    CHECK_FALSE(is_there(server, "app:%t"));
    CHECK(load_while([] {}));
    CHECK(errors(cache) == 0);
}

TEST_CASE("what has no tags is stored as ever, with not one command more") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    const auto use = [&](Texts& cache) {
        server.command({"CONFIG", "RESETSTAT"});
        cache.put("a", "x");
        cache.get("a");
        cache.get_many({"a", "b"});
        cache.erase("a");
        cache.get_or_load("a", [] { return std::string("x"); });
        cache.get_or_load("c", [] { return Loaded<std::string>{"x"}; });
        cache.update("a", [](const Value& old) { return old; });
        cache.take("a");
        return executed(server);
    };
    Texts cache{patient(server)};
    cache.size();  // connects
    CHECK(use(cache) == std::map<std::string, long>{{"set", 6},
                                                    {"get", 4},
                                                    {"mget", 1},
                                                    {"getrange", 6},
                                                    {"unlink", 1},
                                                    {"eval", 5},
                                                    {"getdel", 1}});
    CHECK(server.command({"DBSIZE"}).integer == 1);
    const std::string bytes = server.command({"GET", "app:c"}).text;
    CHECK(bytes.size() == drey::envelope_header_size + 1);
    CHECK(bytes[7] == '\0');
}

TEST_CASE("tags are no entries: they are not counted, and no pattern finds them; clear does") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)};
    auto options = patient(server);
    options.prefix = "app:longer";
    Texts longer{options};
    acquaint(cache);
    for (Texts* one : {&cache, &longer}) {
        one->put("1", "x", {.tags = {"t"}});
        one->put("2", "x");
        one->get_or_load("3", tagged("x"));
        one->get_or_load("3", tagged("x"));
    }
    CHECK(longer.size() == 3);
    CHECK(cache.size() == 6);
    CHECK(cache.erase_matching("*:2") == 1);
    CHECK(cache.erase_matching("%t*") == 0);
    CHECK(longer.get("3") == "x");
    CHECK(cache.clear() == 5);
    CHECK(server.command({"DBSIZE"}).integer == 0);
    CHECK(cache.stats().removed(drey::Removal::cleared) == 5);
    CHECK(cache.put("1", "y", {.tags = {"t"}}));
    CHECK(cache.get("1") == "y");
}

TEST_CASE("a tag lives as long as the entries that have it, and some time more") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    options.jitter = 0.9;
    Texts cache{options};
    const auto left = [&] { return server.command({"PTTL", "app:%t:t"}).integer; };
    const auto is_about = [&](long long seconds) {
        return left() > 1000 * seconds && left() <= 1000 * seconds + 60'000;
    };
    cache.put("1", "x", {.ttl = 100s, .tags = {"t"}});
    CHECK(is_about(100));
    cache.put("2", "x", {.ttl = 500s, .stale_for = 500s, .tags = {"t"}});
    CHECK(is_about(1000));
    cache.put("3", "x", {.ttl = 100s, .tags = {"t"}});
    CHECK(is_about(1000));
    cache.get_or_load("4", [] { return Loaded<std::string>{"x", {.ttl = 2000s, .tags = {"t"}}}; });
    CHECK(is_about(2000));
    cache.put("5", "x", {.tags = {"t"}});
    CHECK(left() == -1);
    cache.put("6", "x", {.ttl = 100s, .tags = {"t"}});
    CHECK(left() == -1);
    const std::array<const char*, 6> keys{"1", "2", "3", "4", "5", "6"};
    CHECK(cache.get_many(keys) == std::vector<Value>(6, "x"));
}

TEST_CASE("an invalidation that could not reach the server holds here, and is made up for") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    support::FaultProxy proxy(server.port());
    auto options = patient(server);
    options.uri = server.uri_at(proxy.port());
    options.breaker = {.failures = 1000};
    Texts here{options}, there{patient(server)};
    here.put("1", "one", {.tags = {"t"}});
    here.put("2", "two");
    const auto fail_to_invalidate = [&] {
        proxy.refuse();
        proxy.reset();
        here.invalidate_tag("t");
        CHECK(here.status().unconfirmed == 1);
        proxy.accept();
    };
    fail_to_invalidate();
    CHECK(there.get("1") == "one");  // it cannot know
    CHECK(here.get_many({"1", "2"}) == std::vector<Value>{std::nullopt, "two"});
    CHECK_FALSE(there.get("1"));
    CHECK(here.status().unconfirmed == 0);

    // During a load: nobody may store what it brings.
    for (Texts* loads : {&here, &there}) {
        loads->get_or_load("3", tagged("old", [&] {
                               fail_to_invalidate();
                               if (loads == &there) here.get("2");
                           }));
        CHECK_FALSE(here.get("3"));
        CHECK_FALSE(there.get("3"));
    }
    here.put("3", "new", {.tags = {"t"}});
    CHECK(there.get("3") == "new");
}

TEST_CASE("an invalidation that the server does not allow holds here until it does") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    here.put_many({{"1", "old"}, {"2", "old"}}, {.tags = {"t"}});
    acquaint(here);
    server.command({"ACL", "SETUSER", "default", "-del", "-unlink"});
    here.invalidate_tag("t");
    CHECK(there.get("1") == "old");
    CHECK_FALSE(here.get("1"));
    CHECK(here.find("1").is_miss());
    CHECK_FALSE(here.get_many({"1"})[0]);

    here.put("3", "old", {.tags = {"u"}});
    int calls = 0;
    here.update("3", [&](const Value& old) {
        if (++calls == 1) here.invalidate_tag("u");
        return Value(old.value_or("") + "new");
    });
    CHECK(there.get("3") == "new");
    here.get_or_load("4", tagged("old", [&] { here.invalidate_tag("t"); }));
    CHECK_FALSE(there.get("4"));

    server.command({"ACL", "SETUSER", "default", "+@all"});
    CHECK(support::eventually([&] { return !here.get("2") && here.status().unconfirmed == 0; }));
    CHECK_FALSE(there.get("1"));
}

TEST_CASE("a tag is invalidated though the server is full, or something else is in our place") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)}, other{patient(server)};
    acquaint(cache);
    cache.put("1", "one", {.tags = {"t"}});
    cache.put("2", "two", {.tags = {"u"}});
    cache.get_or_load("3", [&] {
        server.command({"CONFIG", "SET", "maxmemory", "1"});
        other.invalidate_tag("t");
        server.command({"CONFIG", "SET", "maxmemory", "0"});
        return Loaded<std::string>{"three", {.tags = {"t"}}};
    });
    CHECK(other.get_many({"1", "2", "3"}) == std::vector<Value>{std::nullopt, "two", std::nullopt});
    CHECK(errors(other) == 0);
    server.command({"SET", "app:%t", "something else"});
    other.invalidate_tag("u");
    CHECK_FALSE(other.get("2"));
    CHECK_FALSE(cache.get("2"));
    CHECK(other.status().unconfirmed == 0);
}

TEST_CASE("what has tags is not written, nor found, by who cannot ask for them") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)};
    cache.put("1", "old", {.tags = {"t"}});
    cache.put("2", "two");
    server.command({"ACL", "SETUSER", "default", "-mget", "-hmget", "-get"});
    const bool stored = cache.put("1", "new", {.tags = {"t"}});
    const std::size_t many = cache.put_many({{"2", "b"}, {"3", "c"}}, {.tags = {"t"}});
    const bool updated =
        cache.update("3", [](const Value&) { return Value("d"); }, {.tags = {"t"}});
    server.command({"ACL", "SETUSER", "default", "+@all"});
    CHECK_FALSE(stored);
    CHECK(many == 0);
    CHECK_FALSE(updated);
    // Of what was to be overwritten, the old value is not served either.
    CHECK(cache.get_many({"1", "2", "3"}) == std::vector<Value>(3));
    CHECK(cache.stats().failed(drey::Errc::denied) == 3);

    cache.put("1", "one", {.tags = {"t"}});
    server.command({"ACL", "SETUSER", "default", "-mget"});
    const auto found = cache.find("1").state();
    const auto taken = cache.take("1");
    server.command({"ACL", "SETUSER", "default", "+@all"});
    CHECK(found == drey::Found::failed);
    CHECK_FALSE(taken);
}

TEST_CASE("tags go through a cache of any type, and what writes through it or behind it") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts own{patient(server)};
    drey::AnyCache<std::string, std::string> cache(own);
    cache.put("1", "a", {.tags = {"t"}});
    auto through = drey::write_through(cache, [](const std::string&, const std::string&) {});
    through.put("2", "b", {.tags = {"t"}});
    auto behind =
        drey::write_behind(own, [](std::span<const drey::Write<std::string, std::string>>) {},
                           {.on_failure = [](const auto&) {}, .own_thread = false});
    behind.put("3", "c", {.tags = {"t"}});
    behind.flush();
    CHECK(own.get_many({"1", "2", "3"}) == std::vector<Value>{"a", "b", "c"});
    cache.invalidate_tag("t");
    CHECK(own.get_many({"1", "2", "3"}) == std::vector<Value>(3));
}
