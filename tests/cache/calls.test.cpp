#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "drey/drey.hpp"
#include "support/catch.hpp"

/// Each call of the facade, on each way to spell a cache in process.

namespace {

struct LengthHash {
    std::size_t operator()(const std::string& key) const { return key.size(); }
};
struct SameText {
    bool operator()(const std::string& a, const std::string& b) const { return a == b; }
};

using Spelled = drey::Memory<drey::Sieve, LengthHash, SameText>;
using Unlocked = drey::Local<drey::Lfu>;

template <class Backend>
struct Fixture {
    drey::Cache<std::string, std::string, Backend> cache{{.capacity = 8}};

    Fixture() = default;
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;
    ~Fixture() { CHECK(cache.validate()); }
};

using Text = std::optional<std::string>;

}  // namespace

TEMPLATE_TEST_CASE("a new cache is empty", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    CHECK(f.cache.empty());
    CHECK(f.cache.size() == 0);
    CHECK(f.cache.capacity() == 8);
    CHECK(f.cache.get("a") == std::nullopt);
    CHECK(f.cache.erase("a") == 0);
    CHECK(f.cache.take("a") == std::nullopt);
    CHECK(f.cache.clear() == 0);
    CHECK(f.cache.purge_expired() == 0);
    f.cache.for_each([](const std::string&, const std::string&) { FAIL("nothing is there"); });
}

TEMPLATE_TEST_CASE("get returns a copy of what was put", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    CHECK(f.cache.put("a", "1"));
    Text got = f.cache.get("a");
    REQUIRE(got == "1");
    *got = "changed";
    CHECK(f.cache.get("a") == "1");
    CHECK(f.cache.get("b") == std::nullopt);
    CHECK(f.cache.size() == 1);
    CHECK_FALSE(f.cache.empty());
}

TEMPLATE_TEST_CASE("put overwrites", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    CHECK(f.cache.put("a", "1"));
    CHECK(f.cache.put("a", "2"));
    CHECK(f.cache.get("a") == "2");
    CHECK(f.cache.size() == 1);
}

TEMPLATE_TEST_CASE("find tells a hit from a miss", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    f.cache.put("a", "1");
    const auto hit = f.cache.find("a");
    CHECK(hit.state() == drey::Found::hit);
    CHECK(hit.is_hit());
    CHECK(hit.has_value());
    CHECK(*hit == "1");
    CHECK(hit->size() == 1);
    CHECK_FALSE(hit.error());
    const auto miss = f.cache.find("b");
    CHECK(miss.state() == drey::Found::miss);
    CHECK_FALSE(miss);
    CHECK_THROWS_AS(miss.value(), std::bad_optional_access);
    CHECK_FALSE(miss.error());
}

TEMPLATE_TEST_CASE("visit shows the value in place", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    f.cache.put("a", "1");
    const std::string *first = nullptr, *second = nullptr;
    CHECK(f.cache.visit("a", [&](const std::string& value) {
        CHECK(value == "1");
        first = &value;
    }));
    CHECK(f.cache.visit("a", [&](const std::string& value) { second = &value; }));
    CHECK(first == second);
    CHECK_FALSE(f.cache.visit("b", [](const std::string&) { FAIL("there is no such value"); }));
}

TEMPLATE_TEST_CASE("visited value stays as it was while it is overwritten and erased", "[cache]",
                   Spelled, Unlocked) {
    Fixture<TestType> f;
    const std::string first(100, 'x');
    f.cache.put("a", first);
    f.cache.visit("a", [&](const std::string& value) {
        f.cache.put("a", "2");
        CHECK(value == first);
        f.cache.erase("a");
        f.cache.synchronize();
        for (char key = 'b'; key < 'z'; ++key) f.cache.put(std::string(1, key), "other");
        CHECK(value == first);
    });
    CHECK_FALSE(f.cache.contains("a"));
}

TEMPLATE_TEST_CASE("contains counts as no look-up and no hit", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    f.cache.put("a", "1");
    CHECK(f.cache.contains("a"));
    CHECK_FALSE(f.cache.contains("b"));
    CHECK(f.cache.stats().hits == 0);
    CHECK(f.cache.stats().misses == 0);
}

TEST_CASE("contains does not save an entry from eviction", "[cache]") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 2}};
    cache.put(1, 1);
    cache.put(2, 2);
    CHECK(cache.contains(1));
    cache.put(3, 3);
    CHECK_FALSE(cache.contains(1));
    CHECK(cache.contains(2));
}

TEMPLATE_TEST_CASE("put_if_absent keeps what is there", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    CHECK(f.cache.put_if_absent("a", "1"));
    CHECK_FALSE(f.cache.put_if_absent("a", "2"));
    CHECK(f.cache.get("a") == "1");
    f.cache.erase("a");
    CHECK(f.cache.put_if_absent("a", "3"));
    CHECK(f.cache.get("a") == "3");
}

TEMPLATE_TEST_CASE("update replaces, inserts and removes", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    CHECK(f.cache.update("a", [](Text old) -> Text {
        CHECK(old == std::nullopt);
        return "1";
    }));
    CHECK(f.cache.update("a", [](Text old) -> Text { return *old + "2"; }));
    CHECK(f.cache.get("a") == "12");
    CHECK_FALSE(f.cache.update("a", [](Text old) -> Text {
        CHECK(old == "12");
        return std::nullopt;
    }));
    CHECK_FALSE(f.cache.contains("a"));
    CHECK_FALSE(f.cache.update("a", [](Text) -> Text { return std::nullopt; }));
    CHECK(f.cache.stats().removed(drey::Removal::erased) == 1);
}

TEMPLATE_TEST_CASE("update that throws changes nothing", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    f.cache.put("a", "1");
    CHECK_THROWS_AS(f.cache.update("a", [](Text) -> Text { throw std::runtime_error("no"); }),
                    std::runtime_error);
    CHECK(f.cache.get("a") == "1");
}

TEMPLATE_TEST_CASE("update starts again when the entry changed meanwhile", "[cache]", Spelled,
                   Unlocked) {
    Fixture<TestType> f;
    f.cache.put("a", "1");
    int calls = 0;
    CHECK(f.cache.update("a", [&](Text old) -> Text {
        if (++calls == 1) f.cache.put("a", "2");
        if (calls == 2) f.cache.erase("a");
        return old.value_or("nothing") + "!";
    }));
    CHECK(calls == 3);
    CHECK(f.cache.get("a") == "nothing!");
}

TEMPLATE_TEST_CASE("update to nothing starts again when the entry changed meanwhile", "[cache]",
                   Spelled, Unlocked) {
    Fixture<TestType> f;
    int calls = 0;
    CHECK_FALSE(f.cache.update("a", [&](Text old) -> Text {
        CHECK(old.has_value() == (calls == 1));
        if (++calls == 1) f.cache.put("a", "2");
        return std::nullopt;
    }));
    CHECK(calls == 2);
    CHECK_FALSE(f.cache.contains("a"));
}

TEMPLATE_TEST_CASE("take removes and returns", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    f.cache.put("a", "1");
    CHECK(f.cache.take("a") == "1");
    CHECK(f.cache.take("a") == std::nullopt);
    CHECK(f.cache.size() == 0);
}

TEMPLATE_TEST_CASE("take of a value that is being visited copies it", "[cache]", Spelled,
                   Unlocked) {
    Fixture<TestType> f;
    const std::string first(100, 'x');
    f.cache.put("a", first);
    f.cache.visit("a", [&](const std::string& value) {
        CHECK(f.cache.take("a") == first);
        CHECK(value == first);
    });
    CHECK_FALSE(f.cache.contains("a"));
}

TEMPLATE_TEST_CASE("erase counts what it removed", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    f.cache.put("a", "1");
    f.cache.put("b", "2");
    CHECK(f.cache.erase("a") == 1);
    CHECK(f.cache.erase("a") == 0);
    CHECK(f.cache.size() == 1);
    CHECK(f.cache.get("b") == "2");
}

TEMPLATE_TEST_CASE("erase_if removes what the predicate names", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    for (const char* key : {"a", "bb", "cc", "ddd"}) f.cache.put(key, key);
    CHECK(f.cache.erase_if([](const std::string& key, const std::string& value) {
        CHECK(key == value);
        return key.size() == 2;
    }) == 2);
    CHECK(f.cache.size() == 2);
    CHECK_FALSE(f.cache.contains("bb"));
    CHECK(f.cache.contains("ddd"));
}

TEMPLATE_TEST_CASE("predicate of erase_if may throw and has then erased what it named before",
                   "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    for (const char* key : {"a", "b", "c", "d"}) f.cache.put(key, key);
    int calls = 0;
    CHECK_THROWS_AS(f.cache.erase_if([&](const std::string&, const std::string&) {
        if (++calls == 3) throw std::runtime_error("no");
        return true;
    }),
                    std::runtime_error);
    CHECK(f.cache.size() == 2);
}

TEMPLATE_TEST_CASE("clear removes everything and counts it", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    for (const char* key : {"a", "bb", "cc"}) f.cache.put(key, key);
    CHECK(f.cache.clear() == 3);
    CHECK(f.cache.empty());
    CHECK_FALSE(f.cache.contains("bb"));
    CHECK(f.cache.put("bb", "again"));
    CHECK(f.cache.get("bb") == "again");
}

TEMPLATE_TEST_CASE("for_each shows each entry once", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    for (const char* key : {"a", "bb", "cc"}) f.cache.put(key, key + std::string("!"));
    std::set<std::string> seen;
    f.cache.for_each([&](const std::string& key, const std::string& value) {
        CHECK(value == key + "!");
        CHECK(seen.insert(key).second);
    });
    CHECK(seen == std::set<std::string>{"a", "bb", "cc"});
}

TEMPLATE_TEST_CASE("get_or_load loads once and then hits", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    int loads = 0;
    const auto load = [&](const std::string& key) {
        ++loads;
        return "row of " + key;
    };
    CHECK(f.cache.get_or_load("a", load) == "row of a");
    CHECK(f.cache.get_or_load("a", load) == "row of a");
    CHECK(f.cache.get("a") == "row of a");
    CHECK(loads == 1);
    CHECK(f.cache.stats().loads == 1);
}

TEMPLATE_TEST_CASE("loader may take no key and say that there is no such row", "[cache]", Spelled,
                   Unlocked) {
    Fixture<TestType> f;
    CHECK(f.cache.get_or_load("a", [] { return Text(); }) == std::nullopt);
    CHECK_FALSE(f.cache.contains("a"));
    CHECK(f.cache.get_or_load("a", [] { return Text("1"); }) == "1");
    CHECK(f.cache.contains("a"));
}

TEMPLATE_TEST_CASE("loader that throws leaves no trace", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    const auto fail = []() -> std::string { throw std::runtime_error("database is down"); };
    CHECK_THROWS_WITH(f.cache.get_or_load("a", fail), "database is down");
    CHECK_FALSE(f.cache.contains("a"));
    CHECK(f.cache.stats().load_failures == 1);
    CHECK(f.cache.get_or_load("a", [] { return std::string("1"); }) == "1");
}

TEMPLATE_TEST_CASE("visit_or_load visits what is there or was loaded", "[cache]", Spelled,
                   Unlocked) {
    Fixture<TestType> f;
    std::string seen;
    const auto see = [&](const std::string& value) { seen += value; };
    CHECK(f.cache.visit_or_load(
        "a", [] { return std::string("1"); }, see));
    CHECK(f.cache.visit_or_load(
        "a", [] { return std::string("2"); }, see));
    CHECK_FALSE(f.cache.visit_or_load(
        "b", [] { return Text(); }, see));
    CHECK(seen == "11");
}

TEMPLATE_TEST_CASE("stats count what happened", "[cache]", Spelled, Unlocked) {
    Fixture<TestType> f;
    CHECK(f.cache.stats().hit_ratio() == 0.0);
    f.cache.put("a", "1");
    f.cache.put("a", "2");
    f.cache.get("a");
    f.cache.visit("a", [](const std::string&) {});
    CHECK(f.cache.find("a").is_hit());
    f.cache.get("b");
    f.cache.erase("a");
    for (int i = 0; i < 12; ++i) f.cache.put(std::to_string(i), "x");
    const drey::Stats stats = f.cache.stats();
    CHECK(stats.hits == 3);
    CHECK(stats.misses == 1);
    CHECK(stats.hit_ratio() == 0.75);
    CHECK(stats.insertions == 14);
    CHECK(stats.rejections == 0);
    CHECK(stats.removed(drey::Removal::replaced) == 1);
    CHECK(stats.removed(drey::Removal::erased) == 1);
    CHECK(stats.evictions() == 4);
    CHECK(stats.expirations() == 0);
}

// ---- values of all kinds
// -------------------------------------------------------------------------

namespace {

/// Fits a word, and has no default.
struct Number {
    explicit Number(int n) : number(n) {}
    int number;
    bool operator==(const Number&) const = default;
};
/// Fits a word, and has bits that mean nothing.
struct Padded {
    explicit Padded(int n) : first(static_cast<char>(n)), second(static_cast<short>(n)) {}
    char first;
    short second;
    bool operator==(const Padded&) const = default;
};

template <class V>
V value_of(int n) {
    if constexpr (std::is_same_v<V, std::string>) {
        return std::to_string(n);
    } else {
        return V(n);
    }
}

}  // namespace

TEMPLATE_TEST_CASE("values of any kind are overwritten, updated and erased alike", "[cache]", int,
                   char, double, Number, Padded, std::string) {
    using V = TestType;
    const V one = value_of<V>(1), two = value_of<V>(2), three = value_of<V>(3);
    drey::Cache<int, V> shared{{.capacity = 4}};
    drey::Cache<int, V, drey::Local<>> local{{.capacity = 4}};
    const auto try_out = [&](auto& cache) {
        CHECK(cache.put(1, one));
        CHECK(cache.put(1, two));
        CHECK(cache.get(1) == two);
        cache.visit(1, [&](const V& value) {
            cache.put(1, three);
            CHECK(value == two);
        });
        CHECK(cache.get(1) == three);
        CHECK(cache.update(1, [&](std::optional<V> old) {
            CHECK(old == three);
            return std::optional<V>(one);
        }));
        CHECK(cache.put(1, two, {.ttl = std::chrono::hours(1)}));
        CHECK(cache.put(1, three));
        CHECK(cache.take(1) == three);
        CHECK(cache.size() == 0);
        CHECK(cache.stats().insertions == 5 + 1);
        CHECK(cache.stats().removed(drey::Removal::replaced) == 5);
        CHECK(cache.validate());
    };
    try_out(shared);
    try_out(local);
}

TEMPLATE_TEST_CASE("update starts again when the value changed, wherever it is kept", "[cache]",
                   int, double, Padded, std::string) {
    using V = TestType;
    drey::Cache<int, V> cache{{.capacity = 4}};
    cache.put(1, value_of<V>(1));
    int calls = 0;
    CHECK(cache.update(1, [&](std::optional<V> old) {
        CHECK(old == value_of<V>(++calls));
        if (calls == 1) cache.put(1, value_of<V>(2));
        return std::optional<V>(value_of<V>(3));
    }));
    CHECK(calls == 2);
    CHECK(cache.get(1) == value_of<V>(3));
}

TEMPLATE_TEST_CASE("erase_if spares what was written after it asked", "[cache]", int, double,
                   Padded, std::string) {
    using V = TestType;
    drey::Cache<int, V> cache{{.capacity = 4}};
    cache.put(1, value_of<V>(1));
    CHECK(cache.erase_if([&](int, const V& value) {
        if (value == value_of<V>(2)) return false;
        cache.put(1, value_of<V>(2));
        return true;
    }) == 0);
    CHECK(cache.get(1) == value_of<V>(2));
}

// ---- what only moves
// -----------------------------------------------------------------------------

namespace {
using Box = std::unique_ptr<int>;
}

TEMPLATE_TEST_CASE("values that only move can be put, visited, taken and loaded", "[cache]",
                   drey::Lru, drey::Memory<drey::S3Fifo>, drey::Local<>) {
    drey::Cache<int, Box, TestType> cache{{.capacity = 4}};
    CHECK(cache.put(1, std::make_unique<int>(10)));
    CHECK(cache.put(1, std::make_unique<int>(11)));
    CHECK_FALSE(cache.put_if_absent(1, std::make_unique<int>(12)));
    int seen = 0;
    CHECK(cache.visit(1, [&](const Box& box) { seen = *box; }));
    CHECK(seen == 11);
    cache.for_each([](int, const Box& box) { CHECK(*box == 11); });
    const std::optional<Box> taken = cache.take(1);
    REQUIRE(taken);
    CHECK(**taken == 11);
    CHECK_FALSE(cache.contains(1));
    CHECK(cache.visit_or_load(
        2, [](int key) { return std::make_unique<int>(key * 10); },
        [&](const Box& box) { seen = *box; }));
    CHECK(seen == 20);
    CHECK(cache.contains(2));
    CHECK(cache.erase_if([](int, const Box& box) { return *box == 20; }) == 1);
    CHECK(cache.put(3, nullptr));
    CHECK(cache.erase(3) == 1);
    CHECK(cache.clear() == 0);
    CHECK(cache.validate());
}

TEMPLATE_TEST_CASE("take of a move-only value from its own visitor is an error, not a deadlock",
                   "[cache]", drey::Lru, drey::Local<>) {
    drey::Cache<int, Box, TestType> cache{{.capacity = 4}};
    cache.put(1, std::make_unique<int>(10));
    cache.visit(1, [&](const Box& box) {
        CHECK_THROWS_AS(cache.take(1), std::logic_error);
        CHECK(*box == 10);
    });
    CHECK(cache.contains(1));
}
