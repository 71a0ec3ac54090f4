#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "drey/any_cache.hpp"
#include "drey/writing/write_around.hpp"
#include "drey/writing/write_behind.hpp"
#include "drey/writing/write_through.hpp"
#include "redis_facade/shared_cache.hpp"
#include "support/catch.hpp"
#include "support/redis_server.hpp"

// A database behind a cache that is on a server.

using namespace redis_facade;

namespace {

/// A key that only its text tells apart: no hash, no equality.
struct Place {
    std::string country;
    int number;
};
auto to_key(const Place& place) { return std::tie(place.country, place.number); }

using Places = drey::Cache<Place, std::string, drey::Redis<>>;

}  // namespace

TEST_CASE(
    "what is written through or around a server is in the database, and what it has there is the "
    "same") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Places cache{patient(server)};
    std::vector<std::string> log;
    const auto writer = [&](const Place& place, const std::string& value) {
        log.push_back(place.country + "=" + value);
    };
    const auto eraser = [&](const Place& place) { log.push_back(place.country + "=-"); };
    auto through = drey::write_through(cache, writer, eraser);
    auto around = drey::write_around(cache, writer, eraser);
    through.put({"no", 7}, "a");
    CHECK(cache.get(Place{"no", 7}) == "a");
    CHECK(is_there(server, "app:no:7"));
    around.put({"no", 7}, "b");
    CHECK_FALSE(is_there(server, "app:no:7"));
    through.put({"no", 7}, "c");
    through.erase({"no", 7});
    CHECK_FALSE(is_there(server, "app:no:7"));
    CHECK(log == std::vector<std::string>{"no=a", "no=b", "no=c", "no=-"});
}

TEST_CASE(
    "what is written behind a server is found there at once, and in the queue if it is gone") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Places cache{patient(server)};
    drey::AnyCache<Place, std::string> any(cache);
    std::vector<std::string> log;
    auto behind =
        drey::write_behind(any,
                           [&](std::span<const drey::Write<Place, std::string>> batch) {
                               for (const auto& [place, value] : batch)
                                   log.push_back(place.country + "=" + value.value_or("-"));
                           },
                           {.on_failure = [](const auto&) {}, .own_thread = false});
    behind.put({"no", 7}, "a");
    behind.put({"no", 7}, "b");
    behind.erase({"se", 7});
    CHECK(cache.get(Place{"no", 7}) == "b");
    cache.clear();
    const auto load = [] { return std::string("old"); };
    CHECK(behind.get_or_load({"no", 7}, load) == "b");
    CHECK(behind.get_or_load({"se", 7}, load) == std::nullopt);
    CHECK(behind.get_or_load({"dk", 7}, load) == "old");
    CHECK(behind.flush().empty());
    CHECK(log == std::vector<std::string>{"no=b", "se=-"});
}

TEST_CASE("a server that is down does not keep the database from being written") {
    Texts cache{{.uri = "redis://127.0.0.1:1", .timeout = 100ms}};
    std::string row;
    const auto writer = [&](const std::string&, const std::string& value) { row = value; };
    drey::write_through(cache, writer).put("a", "one");
    CHECK(row == "one");
    drey::write_around(cache, writer).put("a", "two");
    CHECK(row == "two");
    auto behind =
        drey::write_behind(cache,
                           [&](std::span<const drey::Write<std::string, std::string>> batch) {
                               row = batch[0].value.value();
                           },
                           {.on_failure = [](const auto&) {}, .own_thread = false});
    behind.put("a", "three");
    CHECK(behind.get("a") == "three");
    behind.flush();
    CHECK(row == "three");
}
