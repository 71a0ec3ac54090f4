/// Servers that are well and refuse: the user, the command, or at this time. And keys at which
/// something is that is not ours.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "redis_faults/faulty.hpp"

using namespace faults;

namespace {

/// A user who may do all that a cache does.
const std::vector<std::string> all_commands{
    "+get",  "+mget", "+set",  "+getdel", "+getrange", "+unlink",
    "+eval", "+del",  "+scan", "+ping",   "+info",
};

void set_user(RedisServer& server, std::vector<std::string> rules) {
    std::vector<std::string> words{"ACL", "SETUSER", "user", "reset", "on", ">secret"};
    words.insert(words.end(), rules.begin(), rules.end());
    REQUIRE_FALSE(server.command(words).is_error());
}

std::string uri_of_user(Faulty& f) {
    return "redis://user:secret@127.0.0.1:" + std::to_string(f.proxy.port());
}

std::vector<std::string> with(std::vector<std::string> rules, std::vector<std::string> more) {
    rules.insert(rules.end(), more.begin(), more.end());
    return rules;
}

}  // namespace

TEST_CASE("wrong password, or none, or an unknown user", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f({.password = "right"});
    auto options = f.options();
    options.mode = both_modes();
    const std::string address = "127.0.0.1:" + std::to_string(f.proxy.port());
    SECTION("wrong") { options.uri = "redis://:wrong@" + address; }
    SECTION("unknown") { options.uri = "redis://nobody:right@" + address; }
    SECTION("wrong, for a database") { options.uri = "redis://:wrong@" + address + "/3"; }
    f.make(options);
    f.check_fails({Errc::denied});
    // That cache stays wrong, until the server learns better.
    f.server.command({"CONFIG", "SET", "requirepass", "wrong"});
    f.server.command({"ACL", "SETUSER", "nobody", "on", ">right", "~*", "+@all"});
    f.check_recovers();
}

TEST_CASE("password that is missing", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    f.make_connected(both_modes());
    f.server.command({"CONFIG", "SET", "requirepass", "secret"});
    f.proxy.reset();
    f.check_fails({Errc::denied});
    f.server.command({"CONFIG", "SET", "requirepass", ""});
    f.check_recovers();
}

TEST_CASE("database that is not there", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f({.arguments = {"--databases", "2"}});
    auto options = f.options();
    options.uri += "/2";
    f.make(options);
    f.check_fails({Errc::denied, Errc::command_failed});
}

TEST_CASE("user of an ACL works with the commands that are documented", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    set_user(f.server, with(all_commands, {"~drey:*"}));
    auto options = f.options();
    options.uri = uri_of_user(f);
    Cache& cache = f.make(options);
    CHECK(f.works());
    CHECK(cache.put_if_absent("key", "value"));
    CHECK(cache.update("key", [](auto value) { return value; }));
    CHECK(cache.get_many({"key"}).at(0) == "value");
    CHECK(cache.put_many({{"a", "1"}, {"b", "2"}}) == 2);
    CHECK(cache.take("a") == "1");
    CHECK(cache.contains("b"));
    CHECK(cache.size() == 2);
    CHECK(cache.erase_matching("b") == 1);
    CHECK(cache.clear() == 1);
    CHECK(cache.status().connected);
    CHECK_FALSE(cache.status().server_version.empty());
    CHECK(f.errors.size() == 0);
    f.check_recovers();
}

TEST_CASE("user of an ACL who may not see the keys", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    set_user(f.server, with(all_commands, {"~other:*"}));
    auto options = f.options();
    options.mode = both_modes();
    options.uri = uri_of_user(f);
    f.make(options);
    f.check_refuses({Errc::denied});
    CHECK_FALSE(f.cache().put("key", "value"));
    CHECK(f.errors.last().code == Errc::denied);
    set_user(f.server, with(all_commands, {"~drey:*"}));
    f.check_recovers();
}

TEST_CASE("user of an ACL who may only read", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    set_user(f.server, {"+get", "+mget", "+ping", "~drey:*"});
    Cache writer(f.options());
    REQUIRE(writer.put("key", "value"));
    auto options = f.options();
    options.mode = both_modes();
    options.uri = uri_of_user(f);
    Cache& cache = f.make(options);
    CHECK(cache.get("key") == "value");
    CHECK(cache.get_or_load("missing", [] { return "loaded"s; }) == "loaded");
    CHECK(f.errors.last().code == Errc::denied);
    CHECK(f.errors.last().key == "drey:missing");
    CHECK_FALSE(cache.put("other", "value"));
    CHECK(f.errors.last().code == Errc::denied);
    CHECK(cache.erase("another") == 0);
    CHECK(f.errors.last().code == Errc::denied);
    CHECK(cache.status().breaker == BreakerState::closed);
    CHECK(cache.get("key") == "value");  // what cannot be removed does not hold up the rest
}

TEST_CASE("user of an ACL who may not run what is in a script", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    set_user(f.server, {"+get", "+eval", "+ping", "~drey:*"});
    auto options = f.options();
    options.uri = uri_of_user(f);
    Cache& cache = f.make(options);
    CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
    REQUIRE(f.errors.size() == 1);
    CHECK(f.errors.last().code == Errc::denied);
}

TEST_CASE("key that may not be removed does not keep others from being served", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    set_user(f.server, with(all_commands, {"~drey:mine*"}));
    auto options = f.options();
    options.mode = both_modes();
    options.uri = uri_of_user(f);
    Cache& cache = f.make(options);
    REQUIRE(cache.put("mine", "old"));
    CHECK(cache.erase("theirs") == 0);
    CHECK(f.errors.last().code == Errc::denied);
    f.proxy.refuse();
    f.proxy.reset();
    CHECK(cache.erase("mine") == 0);
    f.proxy.accept();
    CHECK(cache.get("mine") == std::nullopt);
    CHECK(f.server.command({"EXISTS", "drey:mine"}).integer == 0);
    CHECK(cache.put("mine", "new"));
    CHECK(cache.get("mine") == "new");
}

TEST_CASE("full server still answers, and old values are not served for new", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f({.arguments = {"--maxmemory-policy", "noeviction"}});
    Cache& cache = f.make_connected(both_modes());
    REQUIRE(cache.put("key", "old"));
    REQUIRE(cache.put("other", "other"));
    f.server.command({"CONFIG", "SET", "maxmemory", "1"});
    for (int i = 0; i < 10; ++i) {
        CHECK_FALSE(cache.put("new", "value"));
        CHECK(f.errors.last().code == Errc::out_of_memory);
        CHECK(f.errors.last().key == "drey:new");
        CHECK(cache.get_or_load("missing", [] { return "loaded"s; }) == "loaded");
        CHECK(f.errors.last().code == Errc::out_of_memory);
        CHECK(cache.get("other") == "other");
    }
    CHECK_FALSE(cache.put("key", "new"));
    CHECK(cache.get("key") == std::nullopt);
    CHECK_FALSE(cache.put_if_absent("another", "value"));
    CHECK(cache.put_many({{"a", "1"}, {"b", "2"}}) == 0);
    CHECK(cache.erase("other") == 1);
    CHECK(cache.status().breaker == BreakerState::closed);
    CHECK(cache.stats().failed(Errc::out_of_memory) == f.errors.size());
    f.server.command({"CONFIG", "SET", "maxmemory", "0"});
    f.check_recovers();
}

TEST_CASE("server that is loading its data", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    f.make_connected();
    SECTION("in earnest") {
        // A replica, at its first synchronisation.
        RedisServer master;
        master.command({"EVAL", "for i = 1, 5000 do redis.call('SET', i, i) end", "0"});
        f.server.command({"CONFIG", "SET", "key-load-delay", "10000"});  // 50 s in all
        f.server.command({"CONFIG", "SET", "loading-process-events-interval-bytes", "1024"});
        f.server.command({"REPLICAOF", "127.0.0.1", std::to_string(master.port())});
        REQUIRE(eventually([&] {
            return f.server.command({"GET", "1"}).text.starts_with("LOADING");
        }));
        f.check_fails({Errc::unavailable});
        f.server.restart();
    }
    SECTION("according to what it says") {
        f.proxy.nonsense("-LOADING Redis is loading the dataset in memory\r\n");
        f.check_fails({Errc::unavailable});
        f.proxy.heal();
    }
    SECTION("busy with somebody's script, says it") {
        f.proxy.nonsense("-BUSY Redis is busy running a script.\r\n");
        f.check_fails({Errc::unavailable});
        f.proxy.heal();
    }
    f.server.command({"PING"});
    f.proxy.reset();
    f.check_recovers();
}

TEST_CASE("server without room for another client", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    f.make_connected(both_modes());
    f.server.command({"CONFIG", "SET", "maxclients", "1"});
    f.proxy.reset();
    f.check_fails({Errc::unavailable, Errc::disconnected});
    f.server.command({"CONFIG", "SET", "maxclients", "100"});
    f.check_recovers();
}

TEST_CASE("replica is read from, not written to, and written to once it is promoted",
          "[redis][faults]") {
    if (no_redis_server()) return;
    RedisServer master;
    Faulty f;
    Cache& cache = f.make_connected(both_modes());
    {
        auto options = f.options();
        options.uri = master.uri();
        Cache at_master(options);
        REQUIRE(at_master.put("key", "value"));
    }
    f.server.command({"REPLICAOF", "127.0.0.1", std::to_string(master.port())});
    REQUIRE(eventually(
        [&] {
            return f.server.command({"EXISTS", "drey:key"}).integer == 1;
        },
        ample));
    CHECK(cache.get("key") == "value");
    f.errors.clear();
    CHECK_FALSE(cache.put("other", "value"));
    CHECK(f.errors.last().code == Errc::read_only);
    CHECK(f.errors.last().key == "drey:other");
    CHECK_FALSE(cache.put_if_absent("another", "value"));
    CHECK(f.errors.last().code == Errc::read_only);
    CHECK(cache.get_or_load("missing", [] { return "loaded"s; }) == "loaded");
    CHECK(f.errors.last().code == Errc::read_only);
    CHECK(cache.erase("key") == 0);
    CHECK(f.errors.last().code == Errc::read_only);
    CHECK(cache.get("key") == std::nullopt);
    CHECK(cache.stats().failed(Errc::read_only) == 4);
    CHECK(cache.status().breaker == BreakerState::closed);
    f.server.command({"REPLICAOF", "NO", "ONE"});
    // What the replica refused is tried again, though not each time.
    CHECK(eventually([&] {
        (void)cache.get("key");
        return cache.status().unconfirmed == 0;
    }));
    f.check_recovers();
    CHECK(f.server.command({"EXISTS", "drey:key"}).integer == 0);
}

TEST_CASE("key that holds something other than a string", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected(both_modes());
    f.server.command({"LPUSH", "drey:key", "1", "2"});
    f.check_refuses({Errc::wrong_type});
    CHECK(cache.take("key") == std::nullopt);
    SECTION("is erased") { CHECK_NOTHROW(cache.erase("key")); }
    SECTION("is overwritten") {
        CHECK(cache.put("key", "value"));
        CHECK(cache.get("key") == "value");
        CHECK(cache.erase("key") == 1);
    }
    f.check_recovers();
}

TEST_CASE("bytes of another program are a miss that says so, and are loaded over",
          "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected(both_modes());
    REQUIRE(cache.put("key", "a value"));
    const std::string ours = f.server.command({"GET", "drey:key"}).text;
    REQUIRE(ours.size() == drey::envelope_header_size + 7);
    auto flipped = ours, of_other_version = ours, of_lease = ours;
    flipped.back() = static_cast<char>(flipped.back() ^ 1);
    of_other_version[4] = 2;
    of_lease[5] = 'l';
    const std::string bytes = GENERATE_COPY(values<std::string>(
        {"", "x", "{\"json\": true}", "drey", "drey\1", "drey\1v", "drey\1l", std::string(36, '\0'),
         std::string(35, 'x'), std::string(1000, '\xff'), ours.substr(0, 35), ours.substr(0, 36),
         ours.substr(0, ours.size() - 1), ours + "x", flipped, of_other_version, of_lease}));
    f.server.command({"SET", "drey:key", bytes});

    CHECK(cache.find("key").is_miss());
    CHECK(f.errors.last().code == Errc::undecodable);
    CHECK(f.errors.last().key == "drey:key");
    CHECK_FALSE(cache.contains("key"));
    CHECK(cache.get_many({"key"}).at(0) == std::nullopt);
    CHECK(cache.stats().failed(Errc::undecodable) == 3);
    SECTION("by get_or_load") {
        CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
        CHECK(cache.get("key") == "loaded");
    }
    SECTION("by put_if_absent") {
        CHECK(cache.put_if_absent("key", "put"));
        CHECK(cache.get("key") == "put");
    }
    SECTION("by update") {
        CHECK(cache.update("key",
                           [](auto value) { return std::optional(value ? "seen"s : "new"s); }));
        CHECK(cache.get("key") == "new");
    }
    CHECK(cache.status().breaker == BreakerState::closed);
    CHECK_NOTHROW(cache.erase("key"));
    f.check_recovers();
}
