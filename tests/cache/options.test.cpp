#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "drey/drey.hpp"
#include "support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Options = drey::Cache<int, int>::Options;

void make(const Options& options) { drey::Cache<int, int> cache(options); }
void make_local(const Options& options) { drey::Cache<int, int, drey::Local<>> cache(options); }

}  // namespace

// Each throws std::invalid_argument, and says which field is to blame.
#define CHECK_REFUSED(field, ...)                                           \
    CHECK_THROWS_AS(make(Options __VA_ARGS__), std::invalid_argument);      \
    CHECK_THROWS_WITH(make(Options __VA_ARGS__), ContainsSubstring(field)); \
    CHECK_THROWS_WITH(make_local(Options __VA_ARGS__), ContainsSubstring(field))

TEST_CASE("wrong option is refused by its name", "[options]") {
    CHECK_REFUSED("capacity", {});
    CHECK_REFUSED("capacity", {.capacity = 0});
    CHECK_REFUSED("ttl", {.capacity = 1, .ttl = -1ns});
    CHECK_REFUSED("ttl", {.capacity = 1, .ttl = std::chrono::hours::min()});
    CHECK_REFUSED("ttl", {.capacity = 1, .ttl = std::chrono::duration<double>(std::nan(""))});
    CHECK_REFUSED("jitter", {.capacity = 1, .jitter = -0.1});
    CHECK_REFUSED("jitter", {.capacity = 1, .jitter = 1.0});
    CHECK_REFUSED("jitter", {.capacity = 1, .jitter = 17.0});
    CHECK_REFUSED("jitter", {.capacity = 1, .jitter = std::nan("")});
    CHECK_REFUSED("shards", {.capacity = 1, .shards = 3});
    CHECK_REFUSED("shards", {.capacity = 1, .shards = 8192});
    CHECK_REFUSED("shards", {.capacity = 1, .shards = std::numeric_limits<std::size_t>::max()});
}

TEST_CASE("options at the edge of what is allowed are accepted", "[options]") {
    CHECK_NOTHROW(make({.capacity = 1}));
    CHECK_NOTHROW(make({.capacity = 1, .ttl = 0s}));
    CHECK_NOTHROW(make({.capacity = 1, .ttl = std::chrono::hours::max()}));
    CHECK_NOTHROW(make({.capacity = 1, .jitter = 0.999}));
    CHECK_NOTHROW(make({.capacity = 1, .shards = 1}));
    CHECK_NOTHROW(make({.capacity = 1, .shards = 4096}));
    CHECK_NOTHROW(make_local({.capacity = 1, .shards = 4096}));
}

TEMPLATE_TEST_CASE("wrong argument of a call is refused by its name and changes nothing",
                   "[options]", drey::Lru, drey::Local<>) {
    drey::Cache<int, int, TestType> cache{{.capacity = 10}};
    cache.put(1, 1);
    const auto refuses = [](auto&& call, const char* field) {
        CHECK_THROWS_AS(call(), std::invalid_argument);
        CHECK_THROWS_WITH(call(), ContainsSubstring(field));
    };
    const drey::Ttl negative = -1ns;
    refuses([&] { cache.put(1, 2, {.ttl = negative}); }, "ttl");
    refuses([&] { cache.put(2, 2, {.ttl = negative}); }, "ttl");
    refuses([&] { cache.put_if_absent(2, 2, {.ttl = negative}); }, "ttl");
    refuses([&] { cache.update(1, [](auto old) { return old; }, {.ttl = negative}); }, "ttl");
    refuses([&] { cache.get_or_load(2, [] { return 2; }, {.ttl = negative}); }, "ttl");
    refuses([&] { cache.set_capacity(0); }, "capacity");
    CHECK(cache.capacity() == 10);
    CHECK(cache.get(1) == 1);
    CHECK(cache.size() == 1);
    CHECK(cache.validate());
}

TEST_CASE("local cache has one shard whatever is asked for", "[options]") {
    // Seen by the policy: with one shard, FIFO is exact.
    drey::Cache<int, int, drey::Local<drey::Fifo>> cache{{.capacity = 64, .shards = 64}};
    for (int key = 0; key < 200; ++key) cache.put(key, key);
    for (int key = 136; key < 200; ++key) CHECK(cache.contains(key));
}

TEST_CASE("small cache has one shard unless told otherwise, so its policy is exact", "[options]") {
    drey::Cache<int, int, drey::Fifo> cache{{.capacity = 4000}};
    for (int key = 0; key < 10'000; ++key) cache.put(key, key);
    for (int key = 6000; key < 10'000; ++key) REQUIRE(cache.contains(key));
}

namespace {

template <class Backend>
std::set<int> survivors(std::optional<std::uint64_t> seed) {
    drey::Cache<int, int, Backend> cache{{.capacity = 100, .seed = seed, .shards = 4}};
    for (int key = 0; key < 2000; ++key) cache.put(key, key);
    std::set<int> keys;
    cache.for_each([&](int key, int) { keys.insert(key); });
    return keys;
}

}  // namespace

TEMPLATE_TEST_CASE("seed fixes every random choice", "[options]", drey::Random,
                   drey::Local<drey::Random>) {
    CHECK(survivors<TestType>(1) == survivors<TestType>(1));
    CHECK(survivors<TestType>(1) != survivors<TestType>(2));
}

TEST_CASE("seed fixes which keys share a shard", "[options]") {
    CHECK(survivors<drey::Fifo>(1) == survivors<drey::Fifo>(1));
    CHECK(survivors<drey::Fifo>(1) != survivors<drey::Fifo>(2));
}

TEST_CASE("options survive the cache they made, and may be used again", "[options]") {
    int calls = 0;
    const Options options{.capacity = 1, .on_removal = [&](int, int, drey::Removal) { ++calls; }};
    for (int i = 0; i < 2; ++i) {
        drey::Cache<int, int> cache(options);
        cache.put(1, 1);
        cache.put(2, 2);
    }
    CHECK(calls == 2);
}
