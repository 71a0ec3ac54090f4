#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"
#include "writing/behind.hpp"

// What reads and writes at once, or many keys, through a queue of writes.

using Log = std::vector<std::string>;
using Row = std::optional<std::string>;

namespace {

/// Appends, to what is there or to nothing.
auto with(std::string more) {
    return [more](Row row) { return row.value_or("") + more; };
}

struct Changing : Behind<> {
    using Behind::Behind;

    auto loader() {
        return [this](int key) {
            ++loads;
            return database.read(key);
        };
    }
};

}  // namespace

TEST_CASE("find says hit of what is queued, and miss of what is queued to be erased") {
    Behind b;
    b.cache.put(1, "cached");
    CHECK(b.behind.find(1).is_hit());
    CHECK(b.behind.find(2).is_miss());
    b.behind.put(1, "queued");
    b.cache.clear();
    CHECK(b.behind.find(1).value() == "queued");
    b.behind.erase(1);
    b.cache.put(1, "old");
    CHECK(b.behind.find(1).is_miss());
}

TEST_CASE("many keys are looked up in the queue, then together in the cache, in their order") {
    Behind b;
    b.behind.put_many({{1, "a"}, {2, "b"}, {3, "c"}});
    b.behind.flush();
    b.behind.erase(1);
    b.behind.put(3, "d");
    b.cache.erase(3);
    b.cache.put(1, "old");
    CHECK(b.behind.get_many({3, 2, 1, 4, 3}) == std::vector<Row>{"d", "b", {}, {}, "d"});
    CHECK(b.behind.get_many(std::vector<int>{3, 1}) == std::vector<Row>{"d", {}});
    CHECK(b.behind.get_many(std::vector<int>{}).empty());
}

TEST_CASE("of many puts, those before the one that throws are queued") {
    Behind b({.flush_every = 1h, .max_queue = 2, .when_full = drey::WhenFull::throws});
    const std::map<int, std::string> entries{{1, "a"}, {2, "b"}, {3, "c"}};
    CHECK_THROWS_AS(b.behind.put_many(entries), drey::WriteQueueFull);
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=a", "2=b"});
}

TEST_CASE("an update sees what is queued, or cached, or in the database, and is queued") {
    Changing b;
    b.database.write(1, "row");
    CHECK(b.behind.update(1, with("+"), b.loader()));
    CHECK(b.loads == 1);
    CHECK(b.cache.get(1) == "row+");
    b.cache.clear();
    CHECK(b.behind.update(1, with("+"), b.loader()));  // from the queue
    b.behind.flush();
    CHECK(b.behind.update(1, with("+"), b.loader()));  // from the cache
    CHECK(b.loads == 1);
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=row", "1=row++", "1=row+++"});
    CHECK(b.behind.update(2, with("new"), b.loader()));
    CHECK(b.behind.get(2) == "new");
}

TEST_CASE("an update that returns nothing erases the row, if there is one") {
    Changing b;
    b.database.write(1, "row");
    const auto nothing = [](const Row&) { return Row(); };
    CHECK_FALSE(b.behind.update(1, nothing, b.loader()));
    CHECK(b.behind.get(1) == std::nullopt);
    CHECK_FALSE(b.behind.update(1, nothing, b.loader()));  // queued to be erased already
    CHECK_FALSE(b.behind.update(2, nothing, b.loader()));
    CHECK(b.behind.stats().queued == 1);
    CHECK(b.behind.update(1, with("again"), b.loader()));
    CHECK(b.loads == 2);  // that the queue has an erase says that there is no row
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=row", "1=again"});
}

TEST_CASE("an update whose function, loader or TTL is bad changes nothing, and holds up nobody") {
    Changing b({.max_queue = 1});
    const auto throws = [](const Row&) -> Row { throw std::runtime_error("no"); };
    CHECK_THROWS_AS(b.behind.update(1, throws, b.loader()), std::runtime_error);
    CHECK_THROWS_AS(b.behind.update(1, with("+"), []() -> Row { throw FakeDatabase::Down(); }),
                    FakeDatabase::Down);
    CHECK_THROWS_AS(b.behind.update(1, with("+"), b.loader(), {.ttl = -1s}), std::invalid_argument);
    CHECK_THROWS_AS(b.behind.put(1, "a", {.stale_for = -1s}), std::invalid_argument);
    CHECK(b.behind.stats().queued == 0);
    CHECK(b.behind.try_put(2, "b"));
    CHECK(b.behind.update(2, with("+"), b.loader()));
    CHECK(b.behind.get(2) == "b+");
}

TEST_CASE("an update during the write of its key is written afterwards") {
    Changing b({.flush_every = 1s});
    b.behind.put(1, "a");
    b.database.before_batch = [&] {
        b.database.before_batch = nullptr;
        CHECK(b.behind.update(1, with("b"), b.loader()));
    };
    b.pass(1s);
    b.pass(1s);
    CHECK(b.database.log() == Log{"1=a", "1=ab"});
    CHECK(b.loads == 0);
}

TEST_CASE("a key has a value if it is queued, cached or in the database") {
    Changing b;
    b.database.write(1, "row");
    b.cache.put(2, "cached");
    b.behind.put(3, "queued");
    b.behind.erase(4);
    for (const int key : {1, 2, 3}) CHECK_FALSE(b.behind.put_if_absent(key, "x", b.loader()));
    for (const int key : {4, 5}) CHECK(b.behind.put_if_absent(key, "x", b.loader()));
    CHECK(b.loads == 2);
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=row", "3=queued", "4=x", "5=x"});
}

TEST_CASE("a row is taken from wherever it is, and erased, once") {
    Changing b;
    b.database.write(1, "row");
    b.cache.put(2, "cached");
    b.behind.put(3, "queued");
    CHECK(b.behind.take(1, b.loader()) == "row");
    CHECK(b.behind.take(2, b.loader()) == "cached");
    CHECK(b.behind.take(3, b.loader()) == "queued");
    for (const int key : {1, 2, 3}) CHECK(b.behind.take(key, b.loader()) == std::nullopt);
    CHECK(b.behind.take(4, b.loader()) == std::nullopt);
    CHECK(b.loads == 2);
    CHECK(b.cache.empty());
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=row", "3=-", "1=-", "2=-"});
}

TEST_CASE("an update keeps its room while it decides, and no more keys are queued than may be",
          "[concurrent]") {
    Changing b({.flush_every = 1h, .max_queue = 2});
    b.behind.put(1, "a");
    bool had_room = true, kept_its_own = false;
    b.behind.update(
        2,
        [&](const Row&) {
            support::elsewhere([&] {
                had_room = b.behind.try_put(3, "c");
                kept_its_own = b.behind.try_put(1, "b");
            });
            return std::string("new");
        },
        b.loader());
    CHECK_FALSE(had_room);
    CHECK(kept_its_own);
    CHECK(b.behind.stats().pending == 2);
}

TEST_CASE("what threads update adds up, however small cache and queue, and lame the database",
          "[concurrent]") {
    std::array<std::atomic<int>, 4> rows{};
    std::atomic<unsigned> calls = 0;
    drey::Cache<int, int> cache{{.capacity = 2}};
    auto behind = drey::write_behind(
        cache,
        [&](std::span<const drey::Write<int, int>> batch) {
            if (++calls % 3 == 0) throw FakeDatabase::Down();
            for (const auto& [key, value] : batch)
                rows[static_cast<std::size_t>(key)] = value.value();
        },
        {.on_failure = [](const auto&) {},
         .flush_every = 0s,
         .max_batch = 2,
         .max_queue = 3,
         .retry = {.attempts = 1'000'000, .first_delay = 1us, .max_delay = 10us}});
    const std::size_t each = support::ops(1000);
    support::in_threads(4, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::size_t i = 0; i < each; ++i)
            behind.update(
                static_cast<int>((thread + i) % rows.size()),
                [](std::optional<int> n) { return n.value_or(0) + 1; },
                [&](int key) { return std::optional(rows[static_cast<std::size_t>(key)].load()); });
    });
    CHECK(behind.flush().empty());
    CHECK(behind.validate());
    std::size_t sum = 0;
    for (const auto& row : rows) sum += static_cast<std::size_t>(row.load());
    CHECK(sum == 4 * each);
}
