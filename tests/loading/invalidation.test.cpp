#include <array>
#include <cstdint>
#include <functional>
#include <latch>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>

#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// An invalidation wins over a load in flight: the load's callers get its value, the cache does not.

namespace {

/// Where a thread that loads may be when another one interferes.
enum class Point {
    before_look,
    after_miss,
    loader_begins,
    loader_ends,
    before_keep,
    before_store,
    after_return
};
constexpr std::array points{Point::before_look, Point::after_miss,  Point::loader_begins,
                            Point::loader_ends, Point::before_keep, Point::before_store,
                            Point::after_return};

/// What the calling thread does whenever it passes a point.
thread_local std::function<void(Point)> passing;
thread_local int copies = 0;

void pass(Point point) {
    if (passing) passing(point);
}

/// Tells where the load is: the cache copies a key after a miss, and again to keep it.
struct Key {
    explicit Key(int i) : id(i) {}
    Key(const Key& other) : id(other.id) {
        pass(copies++ == 0 ? Point::after_miss : Point::before_keep);
    }
    Key(Key&&) noexcept = default;
    Key& operator=(Key&&) noexcept = default;
    ~Key() = default;
    bool operator==(const Key&) const = default;
    int id;
};

struct Hasher {
    std::size_t operator()(const Key& key) const {
        if (copies == 0) pass(Point::before_look);
        return static_cast<std::size_t>(key.id);
    }
};

using Cache = drey::Cache<Key, int, drey::Memory<drey::Lru, Hasher>>;

Cache::Options options() {
    return {.capacity = 10, .weigher = [](const Key&, int) -> drey::Weight {
                pass(Point::before_store);
                return 1;
            }};
}

enum class Deed {
    nothing,
    erase,
    clear,
    erase_if,
    take,
    update_away,
    put,
    put_if_absent,
    update,
    purge,
    load
};
constexpr std::array deeds{Deed::nothing, Deed::erase,       Deed::clear, Deed::erase_if,
                           Deed::take,    Deed::update_away, Deed::put,   Deed::put_if_absent,
                           Deed::update,  Deed::purge,       Deed::load};

/// What must come of one load of one key and what others do to the key meanwhile.
struct Model {
    std::optional<int> kept;
    enum { ahead, aloft, ended } flight = ahead;
    bool doomed = false;

    /// Whether the deed would wait for the load.
    bool waits(Deed deed) const {
        return deed == Deed::load && !kept && flight == aloft && !doomed;
    }

    /// Returns what the deed should return.
    std::optional<int> apply(Deed deed, int value) {
        const auto before = kept;
        switch (deed) {
            case Deed::nothing:
            case Deed::purge:
                return {};
            case Deed::put_if_absent:
                if (before) return {};
                [[fallthrough]];
            case Deed::put:
            case Deed::update:
                kept = value;
                doomed = true;
                return value;
            case Deed::load:
                if (!kept) kept = value;
                return kept;
            default:
                kept.reset();
                doomed = true;
                return before;
        }
    }
};

std::optional<int> carry_out(Cache& cache, Deed deed, int value) {
    std::optional<int> result;
    support::elsewhere([&] {
        const Key key(1);
        const auto if_any = [&](std::size_t removed) {
            return removed != 0 ? std::optional<int>(-1) : std::nullopt;
        };
        const auto if_done = [&](bool done) {
            return done ? std::optional<int>(value) : std::nullopt;
        };
        switch (deed) {
            case Deed::nothing:
                break;
            case Deed::purge:
                cache.purge_expired();
                break;
            case Deed::erase:
                result = if_any(cache.erase(key));
                break;
            case Deed::clear:
                result = if_any(cache.clear());
                break;
            case Deed::erase_if:
                result = if_any(cache.erase_if([](const Key&, int) { return true; }));
                break;
            case Deed::take:
                result = cache.take(key);
                break;
            case Deed::update_away:
                cache.update(Key(1), [&](std::optional<int> was) {
                    result = was;
                    return std::optional<int>();
                });
                break;
            case Deed::put:
                result = if_done(cache.put(Key(1), value));
                break;
            case Deed::put_if_absent:
                result = if_done(cache.put_if_absent(Key(1), value));
                break;
            case Deed::update:
                result = if_done(cache.update(
                    Key(1), [&](std::optional<int>) { return std::optional<int>(value); }));
                break;
            case Deed::load:
                result = cache.get_or_load(key, [&] { return value; });
                break;
        }
    });
    return result;
}

}  // namespace

TEST_CASE("every pair of deeds at every pair of moments of a load") {
    constexpr int loaded = 1000;
    for (const Point first_point : points)
        for (const Point second_point : points) {
            if (second_point < first_point) continue;
            for (const Deed first : deeds)
                for (const Deed second : deeds) {
                    CAPTURE(static_cast<int>(first_point), static_cast<int>(first),
                            static_cast<int>(second_point), static_cast<int>(second));
                    Cache cache(options());
                    Model model;
                    bool agrees = true;
                    const auto interfere = [&](Deed deed, int value) {
                        if (model.waits(deed)) return;
                        const auto expected = model.apply(deed, value);
                        const auto actual = carry_out(cache, deed, value);
                        // Some deeds tell only that there was something.
                        agrees &= actual == -1 ? expected.has_value() : actual == expected;
                    };
                    copies = 0;
                    std::optional<Point> last;
                    passing = [&](Point point) {
                        if (last == point) return;
                        last = point;
                        if (point == first_point) interfere(first, 1);
                        if (point == second_point) interfere(second, 2);
                        // The ticket is taken between the miss and the loader; nothing of ours runs
                        // between that and the leader's second look.
                        if (point == Point::after_miss) {
                            model.flight = Model::aloft;
                            model.doomed = false;
                        }
                    };

                    std::optional<int> expected;
                    int loads = 0;
                    const Key key(1);
                    const int got = cache.get_or_load(key, [&] {
                        ++loads;
                        pass(Point::loader_begins);
                        pass(Point::loader_ends);
                        return loaded;
                    });
                    const bool was_loaded = last >= Point::loader_begins;
                    if (was_loaded) {
                        expected = loaded;
                        if (!model.doomed) model.kept = loaded;
                    } else {
                        expected = model.kept;
                    }
                    model.flight = Model::ended;
                    const bool dropped = was_loaded && model.doomed;
                    pass(Point::after_return);
                    passing = nullptr;

                    CHECK(agrees);
                    CHECK(got == expected);
                    CHECK(loads == (was_loaded ? 1 : 0));
                    CHECK(cache.get(key) == model.kept);
                    CHECK(cache.stats().dropped_loads == (dropped ? 1 : 0));
                    CHECK(cache.validate());
                }
        }
}

namespace {

void wins_over_a_load(Deed deed, std::optional<int> kept) {
    Cache cache(options());
    cache.put(Key(2), 2);
    const int got = cache.get_or_load(Key(1), [&] {
        carry_out(cache, deed, 7);
        return 1000;
    });
    CHECK(got == 1000);
    CHECK(cache.get(Key(1)) == kept);
    CHECK(cache.stats().dropped_loads == 1);

    // The next one is a load like any other.
    cache.erase(Key(1));
    cache.get_or_load(Key(1), [] { return 1001; });
    CHECK(cache.get(Key(1)) == 1001);
    CHECK(cache.validate());
}

}  // namespace

TEST_CASE("erase during a load wins") { wins_over_a_load(Deed::erase, {}); }
TEST_CASE("erase_if during a load wins") { wins_over_a_load(Deed::erase_if, {}); }
TEST_CASE("clear during a load wins") { wins_over_a_load(Deed::clear, {}); }
TEST_CASE("take during a load wins") { wins_over_a_load(Deed::take, {}); }
TEST_CASE("put during a load wins") { wins_over_a_load(Deed::put, 7); }
TEST_CASE("put_if_absent during a load wins") { wins_over_a_load(Deed::put_if_absent, 7); }
TEST_CASE("update during a load wins") { wins_over_a_load(Deed::update, 7); }
TEST_CASE("update that removes during a load wins") { wins_over_a_load(Deed::update_away, {}); }

TEST_CASE(
    "a tag that is invalidated at any moment of a load, put or update dooms what was before") {
    enum class Call { load, load_that_is_told, put, put_if_absent, update };
    for (const Call call :
         {Call::load, Call::load_that_is_told, Call::put, Call::put_if_absent, Call::update})
        for (const bool is_known : {false, true})
            for (const bool is_replaced : {false, true})
                for (const Point at : points) {
                    CAPTURE(static_cast<int>(call), is_known, is_replaced, static_cast<int>(at));
                    Cache cache(options());
                    if (is_known) cache.put(Key(2), 2, {.tags = {"t"}});
                    if (is_replaced) {
                        cache.put(Key(1), 1, {.tags = {"u"}});
                        cache.invalidate_tag("u");  // it stays in its place until it is found
                    }
                    copies = 0;
                    std::optional<Point> last;
                    bool was_invalidated = false;
                    passing = [&](Point point) {
                        if (last == point) return;
                        last = point;
                        if (point != at) return;
                        was_invalidated = true;
                        support::elsewhere([&] { cache.invalidate_tag("t"); });
                    };
                    const Key key(1);
                    bool obtained_later = false;
                    switch (call) {
                        case Call::load:
                        case Call::load_that_is_told: {
                            const bool is_told = call == Call::load_that_is_told;
                            drey::LoadOptions told;
                            if (is_told) told.tags = {"t"};
                            const auto load = [&] {
                                pass(Point::loader_begins);
                                pass(Point::loader_ends);
                                drey::Loaded<int> loaded{1000};
                                if (!is_told) loaded.options.tags = {"t"};
                                return loaded;
                            };
                            CHECK(cache.get_or_load(key, load, told) == 1000);
                            obtained_later = at < Point::loader_begins;
                            break;
                        }
                        case Call::put:
                            CHECK(cache.put(Key(1), 1000, {.tags = {"t"}}));
                            obtained_later = at == Point::before_look;
                            break;
                        case Call::put_if_absent:
                            CHECK(cache.put_if_absent(Key(1), 1000, {.tags = {"t"}}));
                            obtained_later = at == Point::before_look;
                            break;
                        case Call::update: {
                            const auto change = [&](std::optional<int> was) {
                                pass(Point::loader_begins);
                                CHECK(was == std::nullopt);
                                return std::optional<int>(1000);
                            };
                            CHECK(cache.update(Key(1), change, {.tags = {"t"}}));
                            obtained_later = at == Point::before_look;
                            break;
                        }
                    }
                    pass(Point::after_return);
                    passing = nullptr;
                    if (obtained_later || !was_invalidated)
                        CHECK(cache.get(key) == 1000);
                    else
                        CHECK(cache.get(key) == std::nullopt);
                    CHECK(cache.contains(Key(2)) == (is_known && !was_invalidated));
                    CHECK(cache.validate());
                }
}

TEST_CASE("a put that is refused for its weight still wins over a load") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 10, .weigher = [](int, int value) {
                                                return static_cast<drey::Weight>(value);
                                            }}};
    const int got = cache.get_or_load(1, [&] {
        CHECK_FALSE(cache.put(1, 11));
        return 1;
    });
    CHECK(got == 1);
    CHECK_FALSE(cache.contains(1));
}

TEST_CASE("a value that is loaded and is too heavy to keep leaves no older one behind") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 10, .weigher = [](int, int value) {
                                                return static_cast<drey::Weight>(value);
                                            }}};
    cache.put(1, 1);
    cache.refresh(1, [] { return 11; }, {.executor = [](auto task) { task(); }});
    CHECK_FALSE(cache.contains(1));
    // Unless somebody has put another meanwhile.
    cache.put(1, 1);
    const auto load = [&] {
        cache.put(1, 2);
        return 11;
    };
    cache.refresh(1, load, {.executor = [](auto task) { task(); }});
    CHECK(cache.get(1) == 2);
}

TEST_CASE("a put_if_absent that does nothing spares a load") {
    // The load is of another key with the same hash, which is all that a ticket knows.
    struct Same {
        std::size_t operator()(int) const { return 7; }
    };
    drey::Cache<int, int, drey::Memory<drey::Lru, Same>> cache{{.capacity = 10}};
    cache.put(2, 2);
    cache.get_or_load(1, [&] {
        CHECK_FALSE(cache.put_if_absent(2, 3));
        return 1;
    });
    CHECK(cache.contains(1));
}

TEST_CASE("an eviction during a load is no invalidation") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 2}};
    cache.get_or_load(1, [&] {
        for (int i = 2; i < 10; ++i) cache.put(i, i);
        cache.set_capacity(1);
        return 1;
    });
    CHECK(cache.get(1) == 1);
}

TEST_CASE("an invalidation of another key spares a load") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 10, .shards = 1}};
    cache.get_or_load(1, [&] {
        cache.erase(2);
        cache.put(3, 3);
        cache.take(3);
        return 1;
    });
    CHECK(cache.get(1) == 1);
}

TEST_CASE("who asks after the invalidation does not get what was loaded before it",
          "[concurrent]") {
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 10}};
    std::latch loading(1), go_on(1);
    int before = 0;
    std::thread leader([&] {
        before = cache.get_or_load(1, [&] {
            loading.count_down();
            go_on.wait();
            return 1;
        });
    });
    loading.wait();
    cache.erase(1);
    CHECK(cache.get_or_load(1, [] { return 2; }) ==
          2);  // and does not wait, or this would never end
    CHECK(cache.get(1) == 2);
    go_on.count_down();
    leader.join();
    CHECK(before == 1);
    CHECK(cache.get(1) == 2);
    CHECK(cache.stats().dropped_loads == 1);
}

TEST_CASE("one key may be loading many times over, each load doomed but the last", "[concurrent]") {
    constexpr int loads = 20;
    drey::Cache<int, int, drey::Lru> cache{{.capacity = 10}};
    std::latch go_on(1);
    std::vector<std::thread> leaders;
    std::array<int, loads> got{};
    for (int i = 0; i < loads; ++i) {
        std::latch loading(1);
        leaders.emplace_back([&, i] {
            got[static_cast<std::size_t>(i)] = cache.get_or_load(1, [&] {
                loading.count_down();
                go_on.wait();
                return i;
            });
        });
        loading.wait();
        if (i + 1 < loads) cache.erase(1);
    }
    go_on.count_down();
    for (std::thread& leader : leaders) leader.join();
    for (int i = 0; i < loads; ++i) CHECK(got[static_cast<std::size_t>(i)] == i);
    CHECK(cache.get(1) == loads - 1);
    CHECK(cache.stats().dropped_loads == loads - 1);
    CHECK(cache.validate());
}

TEST_CASE("a load that began while clear was under way is kept", "[concurrent]") {
    // clear goes in rounds; its listener runs between them.
    std::optional<drey::Cache<int, int, drey::Lru>> cache;
    std::optional<int> loaded;
    bool armed = true;
    cache.emplace(drey::MemoryOptions<int, int>{
        .capacity = 1000, .on_removal = [&](int, int, drey::Removal) {
            if (!std::exchange(armed, false)) return;
            support::elsewhere([&] { loaded = cache->get_or_load(-1, [] { return 1; }); });
        }});
    for (int i = 0; i < 1000; ++i) cache->put(i, i);
    cache->clear();
    CHECK(loaded == 1);
    CHECK(cache->size() <= 1);  // a later round may have removed it, and that is all
    CHECK(cache->validate());
}

TEST_CASE("what is loaded never brings back what was erased", "[concurrent]") {
    // A row in a "database" only rises. Who writes it erases the key afterwards; so once that
    // erase has returned, no reader may see an older row again.
    constexpr int keys = 4;
    drey::Cache<int, std::uint64_t, drey::Lru> cache{{.capacity = 100}};
    std::array<std::atomic<std::uint64_t>, keys> rows{}, erased{};
    support::Failures failures;
    std::atomic<bool> stop{false};
    support::in_threads(4, [&](std::size_t thread) {
        support::Random random(thread);
        if (thread == 0) {
            for (std::size_t i = 0; i < support::ops(20'000); ++i) {
                const auto key = random.below(keys);
                const std::uint64_t row = ++rows[key];
                switch (random.below(4)) {
                    case 0:
                        cache.clear();
                        break;
                    case 1:
                        cache.erase_if(
                            [&](int k, std::uint64_t) { return k == static_cast<int>(key); });
                        break;
                    default:
                        cache.erase(static_cast<int>(key));
                        break;
                }
                erased[key] = row;
            }
            stop = true;
        } else {
            while (!stop) {
                const auto key = random.below(keys);
                const std::uint64_t least = erased[key];
                const std::uint64_t got = cache.get_or_load(static_cast<int>(key), [&](int k) {
                    return rows[static_cast<std::size_t>(k)].load();
                });
                failures.expect(got >= least);
            }
        }
    });
    CHECK(failures.count() == 0);
    CHECK(cache.validate());
}
