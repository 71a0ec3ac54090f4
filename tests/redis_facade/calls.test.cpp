#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "redis_facade/shared_cache.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// The facade's calls over a server that works.

using namespace redis_facade;

TEST_CASE("what is put is got, found, visited and contained, until it is erased") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    for (const auto mode : {drey::RedisMode::pipeline, drey::RedisMode::pool})
        for (const auto& uri : {server.uri(), server.socket_uri()}) {
            auto options = patient(server);
            options.uri = uri;
            options.mode = mode;
            Texts cache{options};

            CHECK_FALSE(cache.get("a"));
            CHECK(cache.find("a").is_miss());
            CHECK_FALSE(cache.contains("a"));
            CHECK(cache.put("a", "one"));
            CHECK(cache.get(std::string_view("a")) == "one");
            CHECK(cache.find("a").value() == "one");
            CHECK(cache.contains("a"));
            std::string seen;
            CHECK(cache.visit("a", [&](const std::string& value) { seen = value; }));
            CHECK(seen == "one");
            CHECK(cache.put("a", "two"));
            CHECK(cache.get("a") == "two");
            CHECK(cache.erase("a") == 1);
            CHECK(cache.erase("a") == 0);
            CHECK_FALSE(cache.get("a"));

            const drey::Stats stats = cache.stats();
            CHECK(stats.hits == 4);
            CHECK(stats.misses == 3);
            CHECK(stats.insertions == 2);
            CHECK(stats.removed(drey::Removal::erased) == 1);
            for (const auto errors : stats.errors) CHECK(errors == 0);
        }
}

TEST_CASE("random calls do to Redis what they do to a map") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)};
    std::map<std::string, std::string> model;
    const std::uint64_t seed = 20261123;
    INFO("seed " << seed);
    support::Random random(seed);
    const auto a_key = [&] {
        return std::string("k") + std::string(random.below(3), 'x') +
               std::to_string(random.below(6));
    };
    const auto held = [&](const std::string& key) -> std::optional<std::string> {
        const auto at = model.find(key);
        if (at == model.end()) return std::nullopt;
        return at->second;
    };
    for (std::size_t step = 0; step < support::ops(3000); ++step) {
        const std::string key = a_key(), value = "v" + std::to_string(step);
        INFO("step " << step << ", key " << key);
        switch (random.below(13)) {
            case 0:
                REQUIRE(cache.put(key, value));
                model[key] = value;
                break;
            case 1:
                REQUIRE(cache.put_if_absent(key, value) == model.emplace(key, value).second);
                break;
            case 2:
                REQUIRE(cache.erase(key) == model.erase(key));
                break;
            case 3: {
                const auto before = held(key);
                REQUIRE(cache.take(key) == before);
                model.erase(key);
                break;
            }
            case 4: {
                std::optional<std::string> seen;
                REQUIRE(cache.update(key, [&](std::optional<std::string> old) {
                    seen = old;
                    return std::optional(old.value_or("") + "+");
                }));
                REQUIRE(seen == held(key));
                model[key] += "+";
                break;
            }
            case 5:
                REQUIRE_FALSE(
                    cache.update(key, [](const auto&) { return std::optional<std::string>(); }));
                model.erase(key);
                break;
            case 6: {
                int loads = 0;
                const bool had = held(key).has_value();
                const std::string got = cache.get_or_load(key, [&] { return ++loads, value; });
                REQUIRE(loads == (had ? 0 : 1));
                REQUIRE(got == model.emplace(key, value).first->second);
                break;
            }
            case 7: {
                const std::vector<std::string> keys{a_key(), a_key(), a_key()};
                const auto values = cache.get_many(keys);
                REQUIRE(values.size() == 3);
                for (std::size_t i = 0; i < 3; ++i) REQUIRE(values[i] == held(keys[i]));
                break;
            }
            case 8: {
                const std::map<std::string, std::string> entries{{a_key(), value}, {key, value}};
                REQUIRE(cache.put_many(entries) == entries.size());
                for (const auto& [k, v] : entries) model[k] = v;
                break;
            }
            case 9:
                if (random.below(10) == 0) {
                    REQUIRE(cache.clear() == model.size());
                    model.clear();
                }
                break;
            case 10:
                REQUIRE(cache.erase_matching("kx?") == std::erase_if(model, [](const auto& entry) {
                            return entry.first.size() == 3 && entry.first.starts_with("kx");
                        }));
                break;
            case 11:
                REQUIRE(cache.size() == model.size());
                break;
            default:
                REQUIRE(cache.get(key) == held(key));
        }
    }
    for (const auto errors : cache.stats().errors) CHECK(errors == 0);
}

TEST_CASE("a key on the server is the prefix, a colon and the key as printable text") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts texts{patient(server)};
    CHECK(texts.put(std::string("a b\0%:\xff", 7), "1"));
    CHECK(server.command({"KEYS", "*"}).elements.at(0).text == "app:a%20b%00%25:%FF");
    CHECK(texts.get(std::string_view("a b\0%:\xff", 7)) == "1");
    CHECK(texts.clear() == 1);

    using Pair = std::pair<std::string, int>;
    drey::Cache<Pair, std::string, drey::Redis<>> pairs{patient(server)};
    CHECK(pairs.put({"a:b", 7}, "1"));
    CHECK(server.command({"KEYS", "*"}).elements.at(0).text == "app:a%3Ab:7");
    CHECK(pairs.get(Pair("a:b", 7)) == "1");
}

TEST_CASE("a cache leaves keys alone that are not below its prefix") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    options.prefix = "odd*[name]?";
    Texts cache{options};
    server.command({"SET", "oddXname:1", "another's"});
    server.command({"SET", "other", "another's"});
    CHECK(cache.put_many({{"1", "a"}, {"2", "b"}, {"user:3", "c"}}) == 3);
    CHECK(cache.size() == 3);
    CHECK(cache.erase_matching("user:*") == 1);
    CHECK(cache.size() == 2);
    CHECK(cache.clear() == 2);
    CHECK(cache.empty());
    CHECK(server.command({"DBSIZE"}).integer == 2);
}

TEST_CASE("thousands of keys are counted and cleared in batches, each once") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Numbers cache{patient(server)};
    std::map<std::string, int> entries;
    for (int i = 0; i < 5000; ++i) entries.emplace("key" + std::to_string(i), i);
    CHECK(cache.put_many(entries) == 5000);
    CHECK(cache.size() == 5000);
    CHECK(cache.erase_matching("key1*") == 1111);
    CHECK(cache.clear() == 3889);
    CHECK(cache.size() == 0);
}

TEST_CASE("an entry's time to live is the server's, to the millisecond") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    options.ttl = 100s;
    Texts cache{options};
    const auto left = [&](const char* key) {
        return server.command({"PTTL", std::string("app:") + key}).integer;
    };
    const auto is_about = [](long long time, long long full) {
        return time <= full && time > full - 20'000;
    };
    cache.put("cache's own", "v");
    CHECK(is_about(left("cache's%20own"), 100'000));
    cache.put("its own", "v", {.ttl = 234'567ms});
    CHECK(is_about(left("its%20own"), 234'567));
    cache.put("for ever", "v", {.ttl = drey::never});
    CHECK(left("for%20ever") == -1);
    cache.put("huge", "v", {.ttl = std::chrono::hours::max()});
    CHECK(cache.get("huge") == "v");
    cache.update("its own", [](const auto&) { return std::optional<std::string>("w"); });
    CHECK(is_about(left("its%20own"), 100'000));
    cache.get_or_load("loaded", [] { return drey::Loaded<std::string>{"v", {.ttl = 50s}}; });
    CHECK(is_about(left("loaded"), 50'000));
    cache.put_many({{"many", "v"}}, {.ttl = 77s});
    CHECK(is_about(left("many"), 77'000));

    CHECK(cache.put("over", "v"));
    CHECK(cache.put("over", "v", {.ttl = 0s}));  // stored, and over at once
    CHECK_FALSE(cache.get("over"));
    cache.put("soon", "v", {.ttl = 1us});
    CHECK(support::eventually([&] { return !cache.get("soon"); }));
    CHECK_THROWS_AS(cache.put("never was", "v", {.ttl = -1s}), std::invalid_argument);
}

TEST_CASE("jitter shortens a time to live by less than its share") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    options.ttl = 1000s;
    options.jitter = 0.5;
    Texts cache{options};
    std::set<long long> seen;
    for (int i = 0; i < 50; ++i) {
        const std::string key = std::to_string(i);
        cache.put(key, "v");
        const long long left = server.command({"PTTL", "app:" + key}).integer;
        CHECK(left > 480'000);
        CHECK(left <= 1'000'000);
        seen.insert(left / 10'000);
    }
    CHECK(seen.size() > 5);
}

TEST_CASE("values that only move are loaded, visited and taken") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    struct Box {
        std::unique_ptr<std::string> text;
    };
    struct BoxCodec {
        static void encode(const Box& box, std::string& out) { out += *box.text; }
        static std::optional<Box> decode(std::string_view bytes) {
            return Box{std::make_unique<std::string>(bytes)};
        }
    };
    drey::Cache<int, Box, drey::Redis<BoxCodec>> cache{patient(server)};
    std::string seen;
    const auto look = [&](const Box& box) { seen = *box.text; };
    CHECK(cache.visit_or_load(
        1, [] { return Box{std::make_unique<std::string>("x")}; }, look));
    CHECK(seen == "x");
    seen.clear();
    CHECK(cache.visit_or_load(
        1, []() -> Box { throw std::runtime_error("no"); }, look));
    CHECK(seen == "x");
    CHECK(*cache.take(1)->text == "x");
    CHECK_FALSE(cache.visit(1, look));
}

namespace {

struct User {
    int id = 0;
    std::string name;
    bool operator==(const User&) const = default;
};
void to_json(nlohmann::json& json, const User& user) {
    json = {{"id", user.id}, {"name", user.name}};
}
void from_json(const nlohmann::json& json, User& user) {
    json.at("id").get_to(user.id);
    json.at("name").get_to(user.name);
}

struct UserCodec {
    static void encode(const User& user, std::string& out) {
        out += std::to_string(user.id) + "," + user.name;
    }
    static std::optional<User> decode(std::string_view bytes) {
        const std::size_t comma = bytes.find(',');
        if (comma == bytes.npos) return std::nullopt;
        return User{std::stoi(std::string(bytes.substr(0, comma))),
                    std::string(bytes.substr(comma + 1))};
    }
};

}  // namespace

TEMPLATE_TEST_CASE("every codec's values come back", "", drey::Json, drey::MessagePack, drey::Cbor,
                   UserCodec) {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    drey::Cache<int, User, drey::Redis<TestType>> cache{patient(server)};
    const User ada{7, "Ada"};
    CHECK(cache.put(7, ada));
    CHECK(cache.get(7) == ada);
    CHECK(cache.get_or_load(7, []() -> User { throw std::runtime_error("not asked"); }) == ada);
    CHECK(cache.get_many({7, 8}) == std::vector<std::optional<User>>{ada, std::nullopt});
}

TEST_CASE("a value of another schema or codec, or another program's, is a counted miss") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    Texts today{options};
    options.schema = 1;
    Errors errors;
    options.on_error = errors.listener();
    Texts tomorrow{options};
    drey::Cache<std::string, std::string, drey::Redis<drey::Json>> other_codec{patient(server)};

    today.put("key", "old");
    server.command({"SET", "app:foreign", "hello"});
    CHECK_FALSE(tomorrow.get("key"));
    CHECK(tomorrow.find("key").is_miss());
    CHECK_FALSE(tomorrow.get("foreign"));
    CHECK(tomorrow.stats().misses == 3);
    CHECK(tomorrow.stats().failed(drey::Errc::undecodable) == 3);
    CHECK_FALSE(other_codec.get("key"));

    REQUIRE(errors.all().size() == 3);
    CHECK(errors.all()[0].code == drey::Errc::undecodable);
    CHECK(errors.all()[0].key == "app:key");
    CHECK(errors.all()[0].reason == "other schema");
    CHECK(errors.all()[2].reason == "foreign");

    // What cannot be read is replaced, by a load too.
    CHECK(tomorrow.get_or_load("key", [] { return std::string("new"); }) == "new");
    CHECK(tomorrow.get("key") == "new");
    CHECK(tomorrow.put_if_absent("foreign", "ours"));
    CHECK(tomorrow.get("foreign") == "ours");
}

TEST_CASE("concurrent updates lose none", "[concurrent]") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Numbers cache{patient(server)};
    constexpr std::size_t threads = 4;
    const std::size_t each = support::ops(50);
    support::in_threads(threads, [&](std::size_t) {
        for (std::size_t i = 0; i < each; ++i)
            // With luck against it, an update gives up after many rounds, and says so.
            while (!cache.update(
                "n", [](std::optional<int> n) { return std::optional(n.value_or(0) + 1); })) {
            }
    });
    CHECK(cache.get("n") == static_cast<int>(threads * each));
}

TEST_CASE("an update that is overtaken every time gives up and says so") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    Errors errors;
    options.on_error = errors.listener();
    Texts cache{options}, other{patient(server)};
    int calls = 0;
    CHECK_FALSE(cache.update("key", [&](const auto&) {
        other.put("key", std::to_string(++calls));
        return std::optional<std::string>("mine");
    }));
    CHECK(calls > 1);
    CHECK(cache.get("key") == std::to_string(calls));
    REQUIRE(errors.all().size() == 1);
    CHECK(errors.all()[0].code == drey::Errc::contended);
    CHECK(errors.all()[0].operation == "update");
}

TEST_CASE("of many who put a key if it is absent, one does", "[concurrent]") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Numbers cache{patient(server)};
    std::atomic<int> done{0};
    support::in_threads(8, [&](std::size_t i) {
        for (int round = 0; round < 20; ++round)
            if (cache.put_if_absent(std::to_string(round), static_cast<int>(i))) ++done;
    });
    CHECK(done == 20);
}

TEST_CASE("callers who share a connection get their own answers", "[concurrent]") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    for (const auto mode : {drey::RedisMode::pipeline, drey::RedisMode::pool}) {
        auto options = patient(server);
        options.mode = mode;
        options.connections = mode == drey::RedisMode::pool ? 3 : 2;
        Texts cache{options};
        support::Failures failures;
        support::in_threads(16, [&](std::size_t thread) {
            support::Random random(thread);
            for (std::size_t i = 0; i < support::ops(200); ++i) {
                const std::string key = std::to_string(random.below(100));
                switch (random.below(4)) {
                    case 0:
                        failures.expect(cache.put(key, "value of " + key));
                        break;
                    case 1: {
                        const auto values = cache.get_many(std::vector{key, key + "!"});
                        failures.expect(!values[0] || values[0] == "value of " + key);
                        failures.expect(!values[1]);
                        break;
                    }
                    default: {
                        const auto value = cache.get(key);
                        failures.expect(!value || value == "value of " + key);
                    }
                }
            }
        });
        CHECK(failures.count() == 0);
        for (const auto errors : cache.stats().errors) CHECK(errors == 0);
    }
}

TEST_CASE("the status says who is at the other end, and no secret") {
    if (support::no_redis_server()) return;
    support::RedisServer server({.password = "sesame"});
    Texts cache{patient(server)};
    drey::RedisStatus status = cache.status();
    CHECK(status.connected);
    CHECK(status.address == "127.0.0.1:" + std::to_string(server.port()));
    CHECK_FALSE(status.server_version.empty());
    CHECK(status.round_trip > 0ns);
    CHECK(status.breaker == drey::BreakerState::closed);
    CHECK_FALSE(status.last_error);
    CHECK(status.unconfirmed == 0);

    server.kill();
    status = cache.status();
    CHECK_FALSE(status.connected);
    CHECK(status.last_error);
    CHECK(status.address.find("sesame") == std::string::npos);
    CHECK(status.last_error->reason.find("sesame") == std::string::npos);
}

TEST_CASE("a database is chosen by the uri") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    options.uri += "/3";
    Texts third{options}, first{patient(server)};
    third.put("key", "in 3");
    CHECK_FALSE(first.get("key"));
    CHECK(server.command({"DBSIZE"}).integer == 0);
}

TEST_CASE("a value that the codec refuses is not stored, and reaches who loaded it") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    Errors errors;
    options.on_error = errors.listener();
    drey::Cache<std::string, std::string, drey::Redis<drey::Json>> cache{options};
    const std::string not_utf8 = "\xff";
    CHECK_THROWS(cache.put("key", not_utf8));
    CHECK(cache.get_or_load("key", [&] { return not_utf8; }) == not_utf8);
    REQUIRE(errors.all().size() == 1);
    CHECK(errors.all()[0].code == drey::Errc::unencodable);
    CHECK_FALSE(is_there(server, "app:key"));  // nor does a lease stay behind
}

TEST_CASE("a type-erased cache may be over Redis, and says what it cannot do there") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    drey::AnyCache<std::string, std::string> cache(std::make_unique<Texts>(patient(server)));
    CHECK(cache.put("key", "value"));
    CHECK(cache.get("key") == "value");
    CHECK(cache.get_or_load("other", [] { return std::string("loaded"); }) == "loaded");
    CHECK(cache.get_many({"key", "no"})[0] == "value");
    CHECK(cache.size() == 2);
    CHECK(cache.clear() == 2);
    CHECK_THROWS_WITH(cache.capacity(), "drey: the backend of this cache has no capacity");
    CHECK_THROWS_AS(cache.for_each([](const auto&, const auto&) {}), std::logic_error);
    CHECK_THROWS_AS(cache.erase_if([](const auto&, const auto&) { return true; }),
                    std::logic_error);
}

TEST_CASE("limits without end are limits all the same") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    for (const drey::Ttl endless : {drey::never, drey::Ttl(std::chrono::hours::max())}) {
        auto options = patient(server);
        options.connect_timeout = options.timeout = options.lease = options.lease_wait = endless;
        Texts cache{options};
        CHECK(cache.put("key", "value"));
        CHECK(cache.get("key") == "value");
        CHECK(cache.get_or_load("other", [] { return std::string("loaded"); }) == "loaded");
        CHECK(cache.status().connected);
    }
}

TEST_CASE("another key's value is not taken for the key's own") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)};
    cache.put("a", "a's");
    server.command({"COPY", "app:a", "app:b"});
    CHECK(cache.get("a") == "a's");
    CHECK_FALSE(cache.get("b"));
    CHECK(cache.stats().failed(drey::Errc::undecodable) == 1);
}

namespace {

struct UserId {
    UserId(const char* text) : number(std::stoi(text)) {}
    int number;
};
std::string to_key(const UserId& id) { return "user-" + std::to_string(id.number); }

}  // namespace

TEST_CASE("many keys are converted as one is") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    drey::Cache<UserId, std::string, drey::Redis<>> cache{patient(server)};
    CHECK(cache.put("42", "value"));
    CHECK(cache.get_many(std::vector<const char*>{"42"})[0] == "value");
    CHECK(cache.put_many(std::vector<std::pair<const char*, std::string>>{{"7", "seven"}}) == 1);
    CHECK(cache.get("7") == "seven");
    CHECK(is_there(server, "app:user-7"));
}
