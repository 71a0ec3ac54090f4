#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "loading/fixture.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using drey::Found;
using drey::ReentrantLoad;
using loading::Background;
using loading::Broken;
using loading::Fixture;
using loading::stale;
using loading::the_key;
using namespace std::chrono_literals;

namespace {

using Keys = std::vector<std::string>;
using Values = std::vector<std::optional<int>>;

/// A database of many rows, each as long as its key, but for empty ones.
struct Rows {
    std::vector<Keys> asked;

    static std::optional<int> of(const std::string& one) {
        return one.empty() ? std::nullopt : std::optional<int>(static_cast<int>(one.size()));
    }
    auto list() {
        return [this](std::span<const std::string> keys) {
            asked.emplace_back(keys.begin(), keys.end());
            Values values;
            for (const auto& one : keys) values.push_back(of(one));
            return values;
        };
    }
};

struct ManyFixture : Fixture {
    using Fixture::Fixture;
    Rows rows;

    Values many(const Keys& keys, const drey::LoadOptions& options = {}) {
        return cache->get_or_load_many(keys, rows.list(), options);
    }
};

}  // namespace

TEST_CASE("what is missing of many keys is loaded by one call, each key once") {
    ManyFixture f;
    f.cache->put("bb", 7);
    CHECK(f.many({"a", "bb", "ccc", "a", "", "ccc"}) == Values{1, 7, 3, 1, {}, 3});
    CHECK(f.rows.asked == std::vector<Keys>{{"a", "ccc", ""}});
    CHECK(f.many({"ccc", "a", "bb"}) == Values{3, 1, 7});
    CHECK(f.rows.asked.size() == 1);
    CHECK(f.stats().loads == 1);
    CHECK(f.many({}).empty());
    CHECK(f.many({""}) == Values{{}});  // not remembered
    CHECK(f.rows.asked.size() == 2);
}

TEST_CASE("keys that have no row are remembered as absent if that is asked for") {
    ManyFixture f({.negative_ttl = 5s});
    const auto by_key = [&](std::span<const std::string> keys) {
        ++f.loads;
        std::map<std::string, int> found;
        for (const auto& one : keys)
            if (one != "none") found.emplace(one, 5);
        return found;
    };
    CHECK(f.cache->get_or_load_many({"a", "none"}, by_key) == Values{5, {}});
    CHECK(f.cache->find("none").is_absent());
    CHECK(f.cache->get_or_load_many({"none", "a"}, by_key) == Values{{}, 5});
    CHECK(f.loads == 1);
}

TEST_CASE("pairs may come in another order, lack some and have others that nobody asked for") {
    ManyFixture f;
    const auto pairs = [&](std::span<const std::string>) {
        return std::vector<std::pair<std::string, drey::Loaded<int>>>{
            {"c", {3, {.ttl = 1s}}}, {"x", {9, {}}}, {"a", {1, {}}}, {"b", {2, {}}}};
    };
    CHECK(f.cache->get_or_load_many({"a", "b", "c", "d"}, pairs) == Values{1, 2, 3, {}});
    CHECK_FALSE(f.cache->contains("x"));
    f.clock.advance(1s);
    CHECK(f.cache->get_many({"a", "b", "c"}) == Values{1, 2, {}});
}

TEST_CASE("a list of the wrong length is an error, and none of it is kept") {
    ManyFixture f;
    const auto one = [](std::span<const std::string>) { return std::vector<int>{1}; };
    CHECK_THROWS_AS(f.cache->get_or_load_many({"a", "b"}, one), std::length_error);
    CHECK(f.cache->size() == 0);
    CHECK(f.cache->get_or_load_many({"a"}, one) == Values{1});
}

TEST_CASE(
    "a batch loader that throws leaves no trace, and stale values are served if all have one") {
    ManyFixture f(stale());
    const auto throws = [&](std::span<const std::string>) -> std::vector<int> {
        ++f.loads;
        throw Broken();
    };
    CHECK_THROWS_AS(f.cache->get_or_load_many({"a", "b"}, throws), Broken);
    CHECK(f.cache->size() == 0);
    for (const std::string name : {"a", "b"}) f.cache->put(name, 1, {.ttl = 1s});
    f.clock.advance(1s);
    CHECK_THROWS_AS(f.cache->get_or_load_many({"a", "b", "c"}, throws), Broken);
    CHECK(f.loads == 2);
    CHECK(f.cache->get_or_load_many({"a", "b"}, throws) == Values{1, 1});
    CHECK(f.loads == 2);  // they rest
    f.clock.advance(1s);
    CHECK(f.cache->get_or_load_many({"a", "b"}, throws) == Values{1, 1});
    CHECK(f.loads == 3);
    CHECK(f.many({"c", "a"}) == Values{1, 1});  // of which one rests
    f.clock.advance(1s);
    CHECK(f.many({"a", "bb"}) == Values{1, 2});
    CHECK_THROWS_AS(f.cache->get_or_load_many(
                        {"b"}, throws, {.serve_stale = drey::ServeStale::while_revalidating}),
                    Broken);
}

TEST_CASE("what others are loading is waited for, and what they bring is shared") {
    ManyFixture f;
    const auto load = [&] {
        ++f.loads;
        CHECK_THROWS_AS(f.many({"b", "a"}), ReentrantLoad);  // who loads a key cannot wait for it
        return 5;
    };
    CHECK(f.cache->get_or_load("a", load) == 5);
    CHECK(f.rows.asked == std::vector<Keys>{{"b"}});
    f.cache->clear();
    f.rows.asked.clear();

    // What waits in a queue is run rather than waited for.
    f.cache->refresh("aaaa", f.surely());
    CHECK(f.many({"aaaa", "b"}) == Values{2, 1});
    CHECK(f.rows.asked == std::vector<Keys>{{"b"}});
}

TEST_CASE("what others load in vain is loaded after all, on its own") {
    ManyFixture f;
    f.cache->refresh("a", f.surely());
    f.background.after_taking = nullptr;
    auto drops = [&](std::span<const std::string> keys) {
        f.background.drop();
        return f.rows.list()(keys);
    };
    CHECK(f.cache->get_or_load_many({"a", "bb"}, drops) == Values{1, 2});
    CHECK(f.cache->stats().misses == 2);  // a key counts once a call, however often it is looked up
    CHECK(f.rows.asked == std::vector<Keys>{{"bb"}, {"a"}});
    CHECK(f.loads == 0);
}

TEST_CASE("a timeout is for all that others are loading, not for each") {
    ManyFixture f(loading::stale());
    for (const char* key : {"a", "bb"}) {
        f.cache->put(key, 0, {.ttl = 1s});
        f.cache->refresh(key, f.surely());
    }
    f.clock.advance(1s);
    auto drops = [&](std::span<const std::string> keys) {
        f.background.drop();
        f.background.after_taking = [&] { f.clock.advance(1s); };
        return f.rows.list()(keys);
    };
    CHECK(f.cache->get_or_load_many({"a", "bb", "ccc"}, drops, {.soft_timeout = 1s}) ==
          Values{0, 0, 3});
    CHECK(f.background.size() == 2);
    CHECK(f.stats().load_timeouts == 1);  // of the first; there is no time left for the other
}

TEST_CASE("a batch loader that a load in the background needs is copied") {
    ManyFixture f;
    {
        const auto text = std::make_unique<std::string>(64, 'x');
        f.cache->refresh("a", f.surely());
        const auto drops = [&f, text = *text](std::span<const std::string> keys) {
            f.background.drop();
            std::vector<int> sizes;
            for (const auto& one : keys)
                sizes.push_back(static_cast<int>(text.size() + one.size()));
            return sizes;
        };
        f.background.after_taking = [&] { f.clock.advance(1s); };
        CHECK_THROWS_AS(f.cache->get_or_load_many({"a", "bb"}, drops, {.hard_timeout = 1s}),
                        drey::LoadTimeout);
    }
    f.background.after_taking = nullptr;
    CHECK(f.background.run() == 1);
    CHECK(f.cache->get_many({"a", "bb"}) == Values{65, 66});
}

TEST_CASE("an invalidation of some wins over a batch for these and spares the others") {
    ManyFixture f;
    const auto load = [&](std::span<const std::string> keys) {
        f.cache->erase("a");
        f.cache->put("bb", 7);
        return f.rows.list()(keys);
    };
    CHECK(f.cache->get_or_load_many({"a", "bb", "ccc"}, load) == Values{1, 2, 3});
    CHECK(f.cache->get_many({"a", "bb", "ccc"}) == Values{{}, 7, 3});
    CHECK(f.stats().dropped_loads == 2);
}

TEST_CASE("a loader's exception reaches all who wait for one of the batch's keys", "[concurrent]") {
    Fixture f;
    std::array<std::thread, 2> others;
    support::Failures failures;
    const auto load = [&](std::span<const std::string>) -> std::vector<int> {
        for (std::size_t i = 0; i < others.size(); ++i)
            others[i] = std::thread([&, i] {
                try {  // or comes after it, and loads
                    failures.expect(f.cache->get_or_load(i == 0 ? "a" : "b", [] { return 1; }) ==
                                    1);
                } catch (const Broken&) {
                }
            });
        for (int i = 0; i < 1000; ++i) std::this_thread::yield();
        throw Broken();
    };
    CHECK_THROWS_AS(f.cache->get_or_load_many({"a", "b"}, load), Broken);
    for (auto& other : others) other.join();
    CHECK(failures.count() == 0);
    CHECK(f.stats().load_failures == 1);
}

TEST_CASE("batches that overlap in opposite orders end, and no key is loaded twice at once",
          "[concurrent]") {
    for (std::size_t round = 0; round < support::ops(200); ++round) {
        Fixture f;
        support::Failures failures;
        std::array<std::atomic<int>, 4> loading{};
        support::in_threads(3, [&](std::size_t thread) {
            const auto load = [&](std::span<const std::string> keys) {
                std::vector<int> values;
                for (const auto& one : keys) {
                    failures.expect(loading[one.size()]++ == 0);
                    values.push_back(static_cast<int>(one.size()));
                }
                std::this_thread::yield();
                for (const auto& one : keys) --loading[one.size()];
                return values;
            };
            const Keys keys = thread == 0   ? Keys{"", "a", "bb", "ccc"}
                              : thread == 1 ? Keys{"ccc", "bb", "a", ""}
                                            : Keys{"bb", "", "ccc", "a"};
            const Values values = f.cache->get_or_load_many(keys, load);
            for (std::size_t i = 0; i < keys.size(); ++i)
                failures.expect(values[i] == static_cast<int>(keys[i].size()));
        });
        REQUIRE(failures.count() == 0);
        REQUIRE(f.cache->size() == 4);
    }
}

TEST_CASE("thousands of keys are loaded at once") {
    ManyFixture f;
    Keys keys;
    for (int i = 0; i < 3000; ++i) keys.push_back(std::to_string(i));
    const Values values = f.many(keys);
    CHECK(values.size() == 3000);
    CHECK(values.back() == 4);
    CHECK(f.rows.asked.size() == 1);
}
