#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "drey/any_cache.hpp"
#include "drey/policy/lru.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;

TEST_CASE("cache made by name does all that a cache does") {
    for (const auto name : drey::policy_names) {
        CAPTURE(name);
        drey::ManualClock clock;
        auto cache =
            drey::make_cache<std::string, int>(name, {.capacity = 4, .ttl = 1min, .clock = clock});
        CHECK(cache.put("a", 1));
        CHECK(cache.get("a") == 1);
        CHECK(cache.find("a").is_hit());
        CHECK(cache.find("b").is_miss());
        CHECK(cache.contains("a"));
        CHECK_FALSE(cache.put_if_absent("a", 2));
        CHECK(cache.put_if_absent("b", 2, {.ttl = 1s}));
        int seen = 0;
        CHECK(cache.visit("b", [&](const int& value) { seen = value; }));
        CHECK(seen == 2);
        CHECK(cache.update(
            "a", [](std::optional<int> value) { return std::optional<int>(*value + 10); }));
        CHECK(cache.take("a") == 11);
        CHECK(cache.get_or_load("c", [] { return 3; }) == 3);
        CHECK(cache.get_or_load("d", [](const std::string&) { return std::optional<int>(); }) ==
              std::nullopt);
        CHECK(cache.get_or_load("e", [] { return drey::Loaded<int>{5, {.ttl = 1s}}; }) == 5);
        clock.advance(1s);
        CHECK(cache.purge_expired() == 2);  // b and e
        std::vector<std::string> keys;
        cache.for_each([&](const std::string& key, const int&) { keys.push_back(key); });
        CHECK(keys == std::vector<std::string>{"c"});
        CHECK(cache.size() == 1);
        CHECK_FALSE(cache.empty());
        CHECK(cache.erase("c") == 1);
        cache.put("f", 6);
        CHECK(cache.erase_if([](const std::string&, const int& value) { return value == 6; }) == 1);
        cache.set_capacity(2);
        CHECK(cache.capacity() == 2);
        cache.put("g", 7);
        CHECK(cache.clear() == 1);
        CHECK(cache.stats().loads == 3);
        cache.synchronize();
        CHECK(cache.validate());
    }
}

TEST_CASE("a name that is no policy's is an error that lists those that are") {
    CHECK_THROWS_WITH((drey::make_cache<std::string, int>("clock", {.capacity = 1})),
                      Catch::Matchers::ContainsSubstring("clock") &&
                          Catch::Matchers::ContainsSubstring("s3-fifo"));
}

TEST_CASE("a bad option of a cache made by name is named as well") {
    CHECK_THROWS_WITH((drey::make_cache<std::string, int>("lru", {.capacity = 0})),
                      Catch::Matchers::ContainsSubstring("capacity"));
}

TEST_CASE("type-erased cache may refer to one or own one") {
    drey::Cache<std::string, int, drey::Lru> mine{{.capacity = 2}};
    drey::AnyCache<std::string, int> reference(mine);
    reference.put("a", 10);
    CHECK(mine.get("a") == 10);

    drey::AnyCache<int, int> owner(std::make_unique<drey::Cache<int, int, drey::Local<>>>(
        drey::MemoryOptions<int, int>{.capacity = 2}));
    drey::AnyCache<int, int> moved(std::move(owner));
    moved.put(1, 20);
    CHECK(moved.get(1) == 20);
}

TEST_CASE("many keys are put and got at once, in order") {
    drey::Cache<int, std::string> cache{{.capacity = 10}};
    CHECK(cache.put_many({{1, "one"}, {2, "two"}}) == 2);
    CHECK(cache.get_many({2, 3, 1}) == std::vector<std::optional<std::string>>{"two", {}, "one"});

    drey::AnyCache<int, std::string> any(cache);
    const std::vector<std::pair<int, std::string>> more{{3, "three"}};
    CHECK(any.put_many(more) == 1);
    CHECK(any.get_many({3, 4}) == std::vector<std::optional<std::string>>{"three", {}});
}
