#include "drey/writing/write_behind.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "drey/any_cache.hpp"
#include "drey/policy/lru.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"
#include "writing/behind.hpp"
#include "writing/fake_database.hpp"

using Log = std::vector<std::string>;
using Sizes = std::vector<std::size_t>;

TEST_CASE("a put is in the cache at once, and in the database when its time has come") {
    Behind b({.flush_every = 10s});
    b.behind.put(1, "a");
    CHECK(b.cache.get(1) == "a");
    b.pass(9s);
    CHECK(b.database.log().empty());
    b.pass(1s);
    CHECK(b.database.log() == Log{"1=a"});
    CHECK(b.cache.get(1) == "a");
}

TEST_CASE("an erase leaves the cache at once, and the database when its time has come") {
    Behind b({.flush_every = 10s});
    b.database.write(1, "a");
    b.cache.put(1, "a");
    b.behind.erase(1);
    CHECK_FALSE(b.cache.contains(1));
    CHECK(b.database.read(1) == "a");
    b.pass(10s);
    CHECK(b.database.read(1) == std::nullopt);
}

TEST_CASE("a full batch does not wait for its time, and no batch is larger") {
    Behind b({.flush_every = 10s, .max_batch = 3});
    b.behind.put(1, "a");
    b.behind.put(2, "b");
    b.behind.poll();
    CHECK(b.database.batches.empty());
    for (int key = 3; key <= 7; ++key) b.behind.put(key, "x");
    b.behind.poll();
    CHECK(b.database.batches == Sizes{3, 3});
    b.pass(10s);
    CHECK(b.database.batches == Sizes{3, 3, 1});
    CHECK(b.database.log() == Log{"1=a", "2=b", "3=x", "4=x", "5=x", "6=x", "7=x"});
}

TEST_CASE("several puts of a key are one write, of the last, at the time of the first") {
    Behind b({.flush_every = 10s});
    b.behind.put(1, "a");
    b.clock.advance(5s);
    b.behind.put(2, "b");
    b.behind.put(1, "c");
    b.behind.put(1, "d");
    b.pass(5s);
    CHECK(b.database.log() == Log{"1=d", "2=b"});
    const auto stats = b.behind.stats();
    CHECK(stats.queued == 4);
    CHECK(stats.coalesced == 2);
    CHECK(stats.written == 2);
    CHECK(stats.batches == 1);
    CHECK(stats.pending == 0);
}

TEST_CASE("an erase is never coalesced away, and a put after it is not either") {
    Behind b({.flush_every = 10s});
    b.database.write(1, "old");
    b.database.write(2, "old");
    b.behind.put(1, "new");
    b.behind.erase(1);
    b.behind.erase(2);
    b.behind.put(2, "new");
    b.behind.put(3, "new");
    b.behind.erase(3);
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=old", "2=old", "1=-", "2=new", "3=-"});
}

TEST_CASE("what is queued is found, whatever has become of it in the cache") {
    Behind b({.flush_every = 10s});
    b.database.write(1, "old");
    b.behind.put(1, "new");
    b.behind.erase(2);
    b.cache.put(2, "old");
    b.cache.clear();  // as if evicted
    CHECK(b.behind.get(1) == "new");
    CHECK(b.load(1) == "new");
    CHECK(b.behind.contains(1));
    std::string visited;
    CHECK(b.behind.visit(1, [&](const std::string& value) { visited = value; }));
    CHECK(visited == "new");
    b.cache.put(2, "old");
    CHECK(b.behind.get(2) == std::nullopt);
    CHECK_FALSE(b.behind.contains(2));
    CHECK_FALSE(b.behind.visit(2, [&](const std::string&) {}));
    CHECK(b.loads == 0);
}

TEST_CASE("what is not queued is read from the cache, or loaded") {
    Behind b;
    b.database.write(1, "row");
    CHECK(b.behind.get(1) == std::nullopt);
    CHECK(b.load(1) == "row");
    CHECK(b.behind.get(1) == "row");
    CHECK(b.load(1) == "row");
    CHECK(b.load(2) == std::nullopt);
    CHECK(b.loads == 2);
    CHECK(b.behind.get_or_load(3, [] {
        return drey::Loaded<std::string>{"x", {.ttl = 1s}};
    }) == "x");
}

TEST_CASE("a row that is queued to be erased reads as no such row, though the database has it") {
    Behind b;
    b.database.write(1, "old");
    b.behind.erase(1);
    CHECK(b.load(1) == std::nullopt);
    CHECK(b.behind.get_or_load(1, [] { return std::string("old"); }) == std::nullopt);
    b.behind.flush();
    CHECK(b.load(1) == std::nullopt);
    CHECK(b.loads == 1);
}

TEST_CASE("a put during a load wins over it") {
    Behind b;
    b.database.write(1, "old");
    CHECK(b.behind.get_or_load(1, [&] {
        auto row = b.database.read(1);
        support::elsewhere([&] {
            b.behind.put(1, "new");
            b.behind.flush();
        });
        return row;
    }) == "old");
    CHECK(b.cache.get(1) == "new");
}

namespace {

/// Tells when it is copied, which a cache does with a key between a miss and the load.
struct TellingKey {
    explicit TellingKey(int i) : id(i) {}
    TellingKey(const TellingKey& other) : id(other.id) {
        if (auto now = std::exchange(on_copy, nullptr)) now();
    }
    TellingKey& operator=(const TellingKey&) = default;
    bool operator==(const TellingKey& other) const { return id == other.id; }

    static inline std::function<void()> on_copy;
    int id;
};

}  // namespace

template <>
struct std::hash<TellingKey> {
    std::size_t operator()(const TellingKey& key) const { return static_cast<std::size_t>(key.id); }
};

TEST_CASE(
    "a put that was queued and evicted just before a load began is not overtaken by the old row") {
    std::string row = "old";
    drey::Cache<TellingKey, std::string> cache{{.capacity = 10}};
    auto behind =
        drey::write_behind(cache,
                           [&](std::span<const drey::Write<TellingKey, std::string>> batch) {
                               row = batch.front().value.value();
                           },
                           {.on_failure = [](const auto&) {}, .own_thread = false});
    TellingKey::on_copy = [&] {
        support::elsewhere([&] {
            behind.put(TellingKey(1), "new");
            cache.erase(TellingKey(1));
        });
    };
    CHECK(behind.get_or_load(TellingKey(1), [&] { return row; }) == "new");
    behind.flush();
    CHECK(row == "new");
    CHECK(behind.get(TellingKey(1)).value_or("new") == "new");
}

TEST_CASE("a put during the write of its key is written afterwards, never at the same time") {
    Behind b({.flush_every = 10s});
    b.behind.put(1, "a");
    b.database.before_batch = [&] {
        b.database.before_batch = nullptr;
        support::elsewhere([&] {
            b.behind.put(1, "b");
            b.behind.put(1, "c");
            b.behind.poll();
            CHECK(b.behind.get(1) == "c");
        });
    };
    b.pass(10s);
    CHECK(b.database.log() == Log{"1=a"});
    CHECK(b.behind.stats().pending == 1);
    CHECK(b.behind.validate());
    b.pass(9s);
    CHECK(b.database.log() == Log{"1=a"});
    b.pass(1s);
    CHECK(b.database.log() == Log{"1=a", "1=c"});
    CHECK(b.behind.stats().coalesced == 1);
}

TEST_CASE("a batch writer may put, into the queue that it is writing") {
    Behind b;
    b.behind.put(1, "a");
    b.database.before_batch = [&] {
        b.database.before_batch = nullptr;
        b.behind.put(1, "b");
        b.behind.put(2, "c");
    };
    b.behind.flush();
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=a", "2=c", "1=b"});
}

TEST_CASE("a batch writer or a handler that waits for itself gets an error") {
    std::vector<std::string> messages;
    std::function<void()> again;
    Behind b({.on_failure =
                  [&](const auto& failure) {
                      messages.push_back(message_of(failure.why()));
                      try {
                          again();
                      } catch (const std::logic_error& error) {
                          messages.push_back(error.what());
                      }
                  },
              .max_batch = 1,
              .max_queue = 1,
              .retry = {.attempts = 1}});
    again = [&] { b.behind.flush(); };
    b.behind.put(1, "a");
    b.database.before_batch = [&] { b.behind.put(2, "b"); };
    CHECK(b.behind.flush().size() == 1);
    REQUIRE(messages.size() == 2);
    CHECK(messages[0] == messages[1]);
    CHECK(messages[0].find("waited for the batch that it is in") != std::string::npos);
    b.database.before_batch = nullptr;
}

TEST_CASE("a put of a key from within a put of that key gets an error, not a deadlock") {
    Behind<>* self = nullptr;
    bool once = true;
    Behind b({}, {.capacity = 10, .weigher = [&](int, const std::string&) -> drey::Weight {
                      if (std::exchange(once, false)) self->behind.put(1, "inner");
                      return 1;
                  }});
    self = &b;
    CHECK_THROWS_AS(b.behind.put(1, "outer"), std::logic_error);
    CHECK(b.behind.get(1) == "outer");  // it was queued
    CHECK_FALSE(b.cache.contains(1));
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=outer"});
}

TEST_CASE("if the cache throws, the write is queued all the same, and no older value is kept") {
    bool fails = false;
    Behind b({}, {.capacity = 10, .weigher = [&](int, const std::string&) -> drey::Weight {
                      if (fails) throw std::runtime_error("no weight");
                      return 1;
                  }});
    b.behind.put(1, "old");
    b.behind.flush();
    fails = true;
    CHECK_THROWS_AS(b.behind.put(1, "new"), std::runtime_error);
    CHECK_FALSE(b.cache.contains(1));
    CHECK(b.behind.get(1) == "new");
    b.behind.flush();
    CHECK(b.database.read(1) == "new");
}

TEST_CASE("a value is not written and forgotten here before the cache has it") {
    Behind<>* self = nullptr;
    Behind b({.flush_every = 0s},
             {.capacity = 10, .weigher = [&](int, const std::string& value) -> drey::Weight {
                  if (value == "new") {
                      self->behind.poll();
                      CHECK(self->behind.get(1) == "new");
                      CHECK(self->database.log() == Log{"1=old"});
                  }
                  return 1;
              }});
    self = &b;
    b.behind.put(1, "old");
    b.behind.flush();
    b.behind.put(1, "new");
    b.behind.poll();
    CHECK(b.database.log() == Log{"1=old", "1=new"});
}

TEST_CASE("a flush writes what was queued before it, and not for ever what is queued meanwhile") {
    Behind b({.flush_every = 1h, .max_batch = 1});
    for (int key = 1; key <= 3; ++key) b.behind.put(key, "a");
    int next = 4;
    b.database.before_batch = [&] { b.behind.put(next++, "b"); };
    CHECK(b.behind.flush().empty());
    CHECK(b.database.log() == Log{"1=a", "2=a", "3=a"});
    b.database.before_batch = nullptr;
}

TEST_CASE("destruction writes what is queued, in batches") {
    drey::Cache<int, std::string> cache{{.capacity = 10}};
    for (const bool own_thread : {false, true}) {
        FakeDatabase database;
        {
            auto behind = drey::write_behind(cache, database.batch_writer(),
                                             {.on_failure = [](const auto&) {},
                                              .flush_every = 1h,
                                              .max_batch = 2,
                                              .own_thread = own_thread});
            for (int key = 1; key <= 5; ++key) behind.put(key, "a");
            behind.erase(3);
        }
        CHECK(database.rows().size() == 4);
        CHECK(database.read(3) == std::nullopt);
        CHECK(database.batches.size() >= 3);
    }
}

TEST_CASE("a wrong option is refused by its name") {
    drey::Cache<int, std::string> cache{{.capacity = 10}};
    drey::Cache<int, std::string, drey::Local<drey::Lru>> local{{.capacity = 10}};
    using Options = drey::WriteBehindOptions<int, std::string>;
    const auto handler = [](const auto&) {};
    const auto refused = [&](auto& over, Options options) -> std::string {
        try {
            drey::write_behind(
                over, [](std::span<const drey::Write<int, std::string>>) {}, options);
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
        return "nothing";
    };
    using Catch::Matchers::ContainsSubstring;
    CHECK(refused(cache, {.on_failure = handler}) == "nothing");
    CHECK_THAT(refused(cache, {}), ContainsSubstring("on_failure"));
    CHECK_THAT(refused(cache, {.on_failure = handler, .flush_every = -1s}),
               ContainsSubstring("flush_every"));
    CHECK_THAT(refused(cache, {.on_failure = handler, .max_batch = 0}),
               ContainsSubstring("max_batch"));
    CHECK_THAT(refused(cache, {.on_failure = handler, .max_queue = 0}),
               ContainsSubstring("max_queue"));
    CHECK_THAT(refused(cache, {.on_failure = handler, .retry = {.attempts = 0}}),
               ContainsSubstring("retry.attempts"));
    CHECK_THAT(refused(cache, {.on_failure = handler, .retry = {.first_delay = -1s}}),
               ContainsSubstring("retry.first_delay"));
    CHECK_THAT(refused(cache, {.on_failure = handler, .retry = {.factor = 0.5}}),
               ContainsSubstring("retry.factor"));
    CHECK_THAT(refused(cache, {.on_failure = handler, .retry = {.max_delay = 0s}}),
               ContainsSubstring("retry.max_delay"));
    CHECK_THAT(refused(local, {.on_failure = handler}), ContainsSubstring("own_thread"));
    CHECK(refused(local, {.on_failure = handler, .own_thread = false}) == "nothing");
}

TEST_CASE("a wrong TTL is refused before anything is queued") {
    Behind b;
    CHECK_THROWS_AS(b.behind.put(1, "a", {.ttl = -1s}), std::invalid_argument);
    CHECK(b.behind.stats().queued == 0);
}

TEST_CASE("a cache for one thread is written behind by hand") {
    Behind<drey::Cache<int, std::string, drey::Local<drey::Lru>>> b({.flush_every = 1s});
    b.behind.put(1, "a");
    CHECK(b.behind.get(1) == "a");
    b.pass(1s);
    CHECK(b.database.read(1) == "a");
}

TEST_CASE("a cache chosen at run time is written behind") {
    FakeDatabase database;
    drey::AnyCache<int, std::string> cache(
        std::make_unique<drey::Cache<int, std::string, drey::Lru>>(
            drey::MemoryOptions<int, std::string>{.capacity = 10}));
    auto behind = drey::write_behind(cache, database.batch_writer(),
                                     {.on_failure = [](const auto&) {}, .own_thread = false});
    behind.put(1, "a");
    behind.erase(2);
    CHECK(behind.get(1) == "a");
    CHECK(cache.get(1) == "a");
    CHECK(behind.get_or_load(2, [] { return std::string("old"); }) == std::nullopt);
    CHECK(behind.get_or_load(3, [] { return std::string("row"); }) == "row");
    CHECK(behind.visit(3, [](const std::string& value) { CHECK(value == "row"); }));
    CHECK(behind.find(2).is_miss());
    using Rows = std::vector<std::optional<std::string>>;
    CHECK(behind.get_many({3, 1, 2}) == Rows{"row", "a", {}});
    behind.flush();
    CHECK(database.log() == Log{"1=a", "2=-"});
}
