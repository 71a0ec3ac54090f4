#include <latch>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "drey/cache.hpp"
#include "drey/policy/fifo.hpp"
#include "support/catch.hpp"

using drey::Removal;
using Texts = drey::Cache<int, std::string, drey::Fifo>;

namespace {

drey::MemoryOptions<int, std::string> by_length(std::size_t capacity) {
    return {.capacity = capacity,
            .weigher = [](const int&, const std::string& value) -> drey::Weight {
                return value.size();
            }};
}

}  // namespace

TEST_CASE("value that its own overwrite displaces is replaced, not evicted") {
    std::vector<std::pair<std::string, Removal>> left;
    auto options = by_length(10);
    options.on_removal = [&](const int&, const std::string& value, Removal cause) {
        left.emplace_back(value, cause);
    };
    Texts cache{std::move(options)};
    cache.put(1, "aaa");
    cache.put(2, "bbbbbb");
    cache.put(1, "ccccccccc");  // needs all the room, and 1 is the oldest
    REQUIRE(left.size() == 2);
    CHECK(left[0] == std::pair<std::string, Removal>("aaa", Removal::replaced));
    CHECK(left[1] == std::pair<std::string, Removal>("bbbbbb", Removal::evicted));
    CHECK(cache.get(1) == "ccccccccc");
    CHECK(cache.validate());
}

TEST_CASE("update whose result is refused does not destroy what was written meanwhile") {
    Texts cache{by_length(10)};
    cache.put(1, "old");
    std::vector<std::optional<std::string>> seen;
    const bool has_value = cache.update(1, [&](std::optional<std::string> value) {
        seen.push_back(value);
        if (seen.size() == 1) cache.put(1, "newer");
        return std::optional<std::string>(std::string(100, 'x'));  // never fits
    });
    CHECK_FALSE(has_value);
    CHECK(seen == std::vector<std::optional<std::string>>{"old", "newer"});
    CHECK_FALSE(cache.contains(1));
    CHECK(cache.validate());
}

TEST_CASE("heavy values that were overwritten do not pile up") {
    int alive = 0;
    struct Heavy {
        int* alive;
        explicit Heavy(int* count) : alive(count) { ++*alive; }
        Heavy(Heavy&& other) noexcept : alive(other.alive) { ++*alive; }
        ~Heavy() { --*alive; }
    };
    drey::Cache<int, Heavy, drey::Fifo> cache{{
        .capacity = 10'000,
        .weigher = [](const int& key, const Heavy&) -> drey::Weight {
            return key == 0 ? 4'000 : 1;
        },
        .shards = 1,
    }};
    for (int key = 1; key <= 5'000; ++key) cache.put(key, Heavy(&alive));
    for (int i = 0; i < 100; ++i) {
        cache.put(0, Heavy(&alive));
        CHECK(alive <= 5'001 + 1);
    }
}

TEST_CASE("a bad TTL of a load is found before the loader runs") {
    Texts cache{{.capacity = 10}};
    bool ran = false;
    const auto load = [&] {
        ran = true;
        return std::string("x");
    };
    CHECK_THROWS_AS(cache.get_or_load(1, load, {.ttl = std::chrono::seconds(-1)}),
                    std::invalid_argument);
    CHECK_FALSE(ran);
}

TEST_CASE("two threads whose loaders cross two caches do not wait for ever", "[concurrent]") {
    drey::Cache<int, int> a{{.capacity = 10}}, b{{.capacity = 10}};
    std::latch both_load(2);
    int errors[2] = {};
    const auto cross = [&](auto& mine, auto& other, int& error) {
        mine.get_or_load(1, [&] {
            both_load.arrive_and_wait();
            try {
                return other.get_or_load(1, [] { return 2; });
            } catch (const drey::ReentrantLoad&) {
                ++error;
                return 3;
            }
        });
    };
    std::thread first([&] { cross(a, b, errors[0]); });
    std::thread second([&] { cross(b, a, errors[1]); });
    first.join();
    second.join();
    CHECK(errors[0] + errors[1] == 1);
    CHECK(a.contains(1));
    CHECK(b.contains(1));
}
