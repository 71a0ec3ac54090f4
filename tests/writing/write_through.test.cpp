#include "drey/writing/write_through.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "drey/any_cache.hpp"
#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"
#include "drey/writing/write_around.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"
#include "writing/fake_database.hpp"

using namespace std::chrono_literals;
using Cache = drey::Cache<int, std::string>;

namespace {

auto writer_to(FakeDatabase& database) {
    return [&](int key, const std::string& value) { database.write(key, value); };
}
auto eraser_from(FakeDatabase& database) {
    return [&](int key) { database.write(key, {}); };
}

/// Keys that are equal in any case.
struct NoCase {
    std::size_t operator()(const std::string& key) const { return key.size(); }
    bool operator()(const std::string& a, const std::string& b) const {
        return a.size() == b.size() &&
               std::equal(a.begin(), a.end(), b.begin(),
                          [](char x, char y) { return (x | 32) == (y | 32); });
    }
};

}  // namespace

TEST_CASE("put through writes the database, then the cache") {
    FakeDatabase database;
    Cache cache{{.capacity = 10}};
    auto through = drey::write_through(cache, [&](int key, const std::string& value) {
        CHECK_FALSE(cache.contains(key));
        database.write(key, value);
    });
    through.put(1, "a");
    CHECK(database.read(1) == "a");
    CHECK(cache.get(1) == "a");
    CHECK(&through.cache() == &cache);
}

TEST_CASE("erase through erases from the database, then from the cache") {
    FakeDatabase database;
    Cache cache{{.capacity = 10}};
    auto through = drey::write_through(cache, writer_to(database), [&](int key) {
        CHECK(cache.contains(key));
        database.write(key, {});
    });
    through.put(1, "a");
    through.erase(1);
    CHECK(database.rows().empty());
    CHECK_FALSE(cache.contains(1));
}

TEST_CASE(
    "a put through has the TTL that it asks for, and a wrong one is refused before the database is "
    "written") {
    FakeDatabase database;
    drey::ManualClock clock;
    Cache cache{{.capacity = 10, .clock = clock}};
    auto through = drey::write_through(cache, writer_to(database));
    through.put(1, "a", {.ttl = 5s});
    clock.advance(5s);
    CHECK_FALSE(cache.contains(1));
    CHECK_THROWS_AS(through.put(2, "b", {.ttl = -1s}), std::invalid_argument);
    CHECK(database.read(2) == std::nullopt);
}

TEST_CASE("a writer that throws leaves no value in the cache, since it may have written") {
    FakeDatabase database;
    Cache cache{{.capacity = 10}};
    bool fails = false;
    const auto perhaps = [&] {
        if (fails) throw FakeDatabase::Down();
    };
    auto through = drey::write_through(
        cache,
        [&](int key, const std::string& value) {
            database.write(key, value);
            perhaps();
        },
        [&](int key) {
            database.write(key, {});
            perhaps();
        });
    through.put(1, "old");
    fails = true;
    CHECK_THROWS_AS(through.put(1, "new"), FakeDatabase::Down);
    CHECK_FALSE(cache.contains(1));
    CHECK(cache.get_or_load(1, [&] { return database.read(1); }) == "new");
    CHECK_THROWS_AS(through.erase(1), FakeDatabase::Down);
    CHECK_FALSE(cache.contains(1));
}

TEST_CASE("a cache that throws after the database was written keeps no older value") {
    FakeDatabase database;
    bool fails = false;
    Cache cache{{.capacity = 10, .weigher = [&](int, const std::string&) -> drey::Weight {
                     if (fails) throw std::runtime_error("no weight");
                     return 1;
                 }}};
    auto through = drey::write_through(cache, writer_to(database));
    through.put(1, "old");
    fails = true;
    CHECK_THROWS_AS(through.put(1, "new"), std::runtime_error);
    CHECK(database.read(1) == "new");
    CHECK_FALSE(cache.contains(1));
}

TEST_CASE("a load that read the old row before a write does not bring it back") {
    FakeDatabase database;
    database.write(1, "old");
    Cache cache{{.capacity = 10}};
    auto through = drey::write_through(cache, writer_to(database), eraser_from(database));
    auto around = drey::write_around(cache, writer_to(database), eraser_from(database));
    const auto load_meanwhile = [&](auto&& write) {
        cache.erase(1);
        return cache.get_or_load(1, [&] {
            const auto row = database.read(1);
            support::elsewhere(write);
            return row;
        });
    };
    CHECK(load_meanwhile([&] { through.put(1, "new"); }) == "old");
    CHECK(cache.get(1) == "new");
    CHECK(load_meanwhile([&] { through.erase(1); }) == "new");
    CHECK_FALSE(cache.contains(1));
    database.write(1, "old");
    CHECK(load_meanwhile([&] { around.put(1, "new"); }) == "old");
    CHECK_FALSE(cache.contains(1));
    CHECK(load_meanwhile([&] { around.erase(1); }) == "new");
    CHECK_FALSE(cache.contains(1));
}

TEST_CASE(
    "a load that began while the database was being written is not kept, whatever row it saw") {
    FakeDatabase database;
    database.write(1, "old");
    Cache cache{{.capacity = 10}};
    // The loader runs before the row is written, and its value would be stored after.
    support::Gate writing, loaded, wrote;
    auto through = drey::write_through(cache, [&](int key, const std::string& value) {
        writing.open();
        loaded.wait();
        database.write(key, value);
    });
    std::thread reader([&] {
        writing.wait();
        cache.get_or_load(1, [&] {
            auto row = database.read(1);
            loaded.open();
            wrote.wait();
            return row;
        });
    });
    through.put(1, "new");
    wrote.open();
    reader.join();
    CHECK(cache.get(1) == "new");
}

TEST_CASE("two puts of one key reach cache and database in one order") {
    FakeDatabase database;
    Cache cache{{.capacity = 10}};
    support::Gate first_wrote, second_began;
    bool second_wrote = false;
    auto through = drey::write_through(cache, [&](int key, const std::string& value) {
        database.write(key, value);
        if (value != "first") {
            second_wrote = true;
            return;
        }
        first_wrote.open();
        second_began.wait();
        CHECK_FALSE(second_wrote);  // it waits for its turn
    });
    std::thread second([&] {
        first_wrote.wait();
        second_began.open();
        through.put(1, "second");
    });
    through.put(1, "first");
    second.join();
    CHECK(database.log() == std::vector<std::string>{"1=first", "1=second"});
    CHECK(cache.get(1) == "second");
}

TEST_CASE("a slow write of one key delays no other") {
    FakeDatabase database;
    Cache cache{{.capacity = 1000}};
    drey::WriteThrough<Cache, std::function<void(int, const std::string&)>>* self = nullptr;
    std::function<void(int, const std::string&)> writer = [&](int key, const std::string& value) {
        database.write(key, value);
        if (key == 0)
            support::elsewhere([&] {
                for (int other = 1; other <= 500; ++other) self->put(other, "b");
            });
    };
    drey::WriteThrough<Cache, std::function<void(int, const std::string&)>> through(cache, writer,
                                                                                    {});
    self = &through;
    through.put(0, "a");
    CHECK(database.rows().size() == 501);
}

TEST_CASE("a writer that writes its own key gets an error, and another key is written") {
    FakeDatabase database;
    Cache cache{{.capacity = 10}};
    std::function<void(int, const std::string&)> writer;
    drey::WriteThrough<Cache, std::function<void(int, const std::string&)>> through(
        cache, [&](int key, const std::string& value) { writer(key, value); }, {});
    writer = [&](int key, const std::string& value) {
        database.write(key, value);
        if (key == 1) through.put(2, value);
        if (key == 3) through.put(3, value);
    };
    through.put(1, "a");
    CHECK(cache.get(2) == "a");
    CHECK_THROWS_AS(through.put(3, "a"), std::logic_error);
    CHECK_FALSE(cache.contains(3));
}

TEST_CASE("turns are taken by the cache's own equality of keys") {
    drey::Cache<std::string, int, drey::Memory<drey::Lru, NoCase, NoCase>> cache{{.capacity = 10}};
    using Through =
        drey::WriteThrough<decltype(cache), std::function<void(const std::string&, int)>>;
    Through* self = nullptr;
    Through through(cache,
                    [&](const std::string& key, int) {
                        if (key == "A") self->put("a", 1);
                    },
                    {});
    self = &through;
    CHECK_THROWS_AS(through.put("A", 1), std::logic_error);
    through.put("a", 2);
    CHECK(cache.get(std::string("A")) == 2);
}

TEST_CASE("put around writes the database and removes the key, also if the writer throws") {
    FakeDatabase database;
    Cache cache{{.capacity = 10}};
    auto around = drey::write_around(cache, writer_to(database), eraser_from(database));
    cache.put(1, "old");
    around.put(1, "new");
    CHECK(database.read(1) == "new");
    CHECK_FALSE(cache.contains(1));
    cache.put(1, "new");
    around.erase(1);
    CHECK(database.rows().empty());
    CHECK_FALSE(cache.contains(1));
    cache.put(1, "old");
    database.down = true;
    CHECK_THROWS_AS(around.put(1, "newer"), FakeDatabase::Down);
    CHECK_FALSE(cache.contains(1));
}

TEST_CASE("of many puts, those before the one that throws are written") {
    FakeDatabase database;
    Cache cache{{.capacity = 10}};
    const auto writer = [&](int key, const std::string& value) {
        if (key == 3) throw FakeDatabase::Down();
        database.write(key, value);
    };
    auto through = drey::write_through(cache, writer);
    through.put_many({{1, "a"}, {2, "b"}});
    const std::map<int, std::string> entries{{2, "c"}, {3, "c"}, {4, "c"}};
    CHECK_THROWS_AS(through.put_many(entries), FakeDatabase::Down);
    CHECK(cache.get(2) == "c");
    auto around = drey::write_around(cache, writer);
    around.put_many({{1, "d"}, {2, "d"}});
    CHECK_THROWS_AS(around.put_many(entries), FakeDatabase::Down);
    CHECK(cache.empty());
    CHECK(database.rows() == std::map<int, std::string>{{1, "d"}, {2, "c"}});
}

TEST_CASE(
    "update, put_if_absent and take through see what is cached or in the database, and write it") {
    FakeDatabase database;
    Cache cache{{.capacity = 10}};
    int loads = 0;
    const auto loader = [&](int key) {
        ++loads;
        return database.read(key);
    };
    auto through = drey::write_through(cache, writer_to(database), eraser_from(database));
    using Row = std::optional<std::string>;
    const auto more = [](const Row& row) -> Row { return row.value_or("") + "+"; };
    const auto nothing = [](const Row&) { return Row(); };
    database.write(1, "row");
    CHECK(through.update(1, more, loader));
    CHECK(through.update(1, more, loader));
    CHECK(loads == 1);
    CHECK(database.read(1) == "row++");
    CHECK(cache.get(1) == "row++");
    CHECK_FALSE(through.put_if_absent(1, "x", loader));
    cache.clear();
    CHECK_FALSE(through.put_if_absent(1, "x", loader));
    CHECK(through.put_if_absent(2, "x", loader));
    CHECK(through.take(1, loader) == "row++");
    CHECK(through.take(1, loader) == std::nullopt);
    CHECK_FALSE(through.update(2, nothing, loader));
    CHECK_FALSE(through.update(2, nothing, loader));
    CHECK(cache.empty());
    using Log = std::vector<std::string>;
    CHECK(database.log() == Log{"1=row", "1=row+", "1=row++", "2=x", "1=-", "2=-"});
    const auto text = [](const Row&) { return std::string("text"); };
    CHECK(drey::write_through(cache, writer_to(database)).update(1, text, loader));
    CHECK_THROWS_AS(through.put(1, "a", {.stale_for = -1s}), std::invalid_argument);
    CHECK_THROWS_AS(through.update(1, more, loader, {.ttl = -1s}), std::invalid_argument);
    CHECK(database.read(1) == "text");
}

TEST_CASE("what threads update through adds up", "[concurrent]") {
    std::array<std::atomic<int>, 4> rows{};
    drey::Cache<int, int> cache{{.capacity = 2}};
    auto through = drey::write_through(
        cache, [&](int key, int value) { rows[static_cast<std::size_t>(key)] = value; });
    const std::size_t each = support::ops(1000);
    support::in_threads(4, [&](std::size_t thread) {
        for (std::size_t i = 0; i < each; ++i)
            through.update(
                static_cast<int>((thread + i) % rows.size()),
                [](std::optional<int> n) { return n.value_or(0) + 1; },
                [&](int key) { return rows[static_cast<std::size_t>(key)].load(); });
    });
    std::size_t sum = 0;
    for (const auto& row : rows) sum += static_cast<std::size_t>(row.load());
    CHECK(sum == 4 * each);
}

namespace {

/// Two keys with one text, which a server takes for one.
struct Labelled {
    int id;
    std::string label;
    bool operator==(const Labelled&) const = default;
};
int to_key(const Labelled& key) { return key.id; }

struct OnAServer {
    using key_type = std::pair<Labelled, int>;
    static constexpr bool is_in_process = false;
};

}  // namespace

template <>
struct std::hash<Labelled> {
    std::size_t operator()(const Labelled& key) const { return static_cast<std::size_t>(key.id); }
};

TEST_CASE("keys that a server takes for one are one, those that the process tells apart are two") {
    const std::pair<Labelled, int> a{{1, "a"}, 2}, b{{1, "b"}, 2};
    using There = drey::detail::KeyIdentity<OnAServer>;
    CHECK(There::equal(a, b));
    CHECK(There::hash(a) == There::hash(b));
    using Here = drey::detail::KeyIdentity<drey::Cache<std::pair<Labelled, int>, int>>;
    CHECK_FALSE(Here::equal(a, b));
}

TEST_CASE("a cache for one thread, and one chosen at run time, are written through too") {
    FakeDatabase database;
    drey::Cache<int, std::string, drey::Local<drey::Lru>> local{{.capacity = 10}};
    drey::write_through(local, writer_to(database)).put(1, "a");
    CHECK(local.get(1) == "a");
    drey::AnyCache<int, std::string> any(std::make_unique<drey::Cache<int, std::string, drey::Lru>>(
        drey::MemoryOptions<int, std::string>{.capacity = 10}));
    drey::write_through(any, writer_to(database)).put(2, "b");
    CHECK(any.get(2) == "b");
    drey::write_around(any, writer_to(database)).put(2, "c");
    CHECK_FALSE(any.contains(2));
    CHECK(database.log() == std::vector<std::string>{"1=a", "2=b", "2=c"});
}

TEST_CASE("whatever threads write through, cache and database agree in the end", "[concurrent]") {
    FakeDatabase database;
    Cache cache{{.capacity = 8}};
    auto through = drey::write_through(cache, writer_to(database), eraser_from(database));
    support::in_threads(8, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::size_t i = support::ops(2000); i > 0; --i) {
            const int key = static_cast<int>(random.below(16));
            switch (random.below(4)) {
                case 0:
                    through.erase(key);
                    break;
                case 1:
                    cache.get_or_load(key, [&] { return database.read(key); });
                    break;
                default:
                    through.put(key, std::to_string(thread) + ":" + std::to_string(i));
            }
        }
    });
    for (int key = 0; key < 16; ++key) {
        const auto cached = cache.get(key);
        if (cached) CHECK(cached == database.read(key));
    }
    CHECK(cache.validate());
}

TEST_CASE("whatever threads write around, the cache has nothing that the database has not",
          "[concurrent]") {
    FakeDatabase database;
    Cache cache{{.capacity = 8}};
    auto around = drey::write_around(cache, writer_to(database), eraser_from(database));
    support::in_threads(8, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::size_t i = support::ops(2000); i > 0; --i) {
            const int key = static_cast<int>(random.below(16));
            if (random.below(2) == 0) {
                around.put(key, std::to_string(thread) + ":" + std::to_string(i));
            } else {
                cache.get_or_load(key, [&] { return database.read(key); });
            }
        }
    });
    for (int key = 0; key < 16; ++key) {
        const auto cached = cache.get(key);
        if (cached) CHECK(cached == database.read(key));
    }
}
