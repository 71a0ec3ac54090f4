#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "drey/drey.hpp"
#include "support/catch.hpp"

/// Stale values and absences in process, call by call: what the store promises to the facade and to
/// loads.

namespace {

using namespace std::chrono_literals;
using drey::Found;
using drey::LoadFor;
using drey::Reading;
using drey::Removal;
using drey::Terms;
using drey::WriteIf;

struct Told {
    int key;
    std::string value;
    Removal cause;
    bool operator==(const Told&) const = default;
};

template <class V, class Sync = drey::Shared>
struct Fixture {
    using Store = drey::Store<int, V, drey::Lru, drey::DefaultHash, drey::DefaultEqual, Sync>;
    using Options = drey::MemoryOptions<int, V>;
    using Attempt = typename Store::Attempt;
    using Ticket = typename Store::LoadTicket;

    drey::ManualClock clock{};
    Store store;

    explicit Fixture(Options options = {.capacity = 100}) : store(with(options, clock)) {}
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;
    ~Fixture() {
        CHECK(store.validate());
        const drey::Stats stats = store.stats();
        std::uint64_t left = 0;
        for (const auto count : stats.removals) left += count;
        CHECK(stats.insertions - left == store.size());
    }

    static Options with(Options options, const drey::Clock& clock) {
        options.clock = clock;
        return options;
    }

    bool put(int key, V value, const Terms& terms = {}) {
        return store.put(std::move(key), std::move(value), terms, WriteIf::always);
    }
    bool put_absent(int key, const Terms& terms) {
        const Ticket ticket(store, store.hash(key));
        return store.fill_absent(ticket, std::move(key), terms, Attempt(store, key));
    }
    Found state(int key) {
        return store.look(key, Attempt(store, key), [](const V&, const Reading&) {});
    }
    Reading reading(int key) {
        Reading reading{.state = Found::failed};
        store.look(key, Attempt(store, key), [&](const V&, const Reading& r) { reading = r; });
        return reading;
    }
};

using Texts = Fixture<std::string>;

/// Terms of what is stale already, and of what is gone already.
const Terms stale{.ttl = 0s, .stale_for = 1h};
const Terms gone{.ttl = 0s};
const Terms for_ever{.ttl = drey::never};

}  // namespace

TEMPLATE_TEST_CASE("a value is fresh for its TTL, then stale, then gone", "[staleness]",
                   drey::Shared, drey::Unshared) {
    Fixture<std::string, TestType> f;
    f.put(1, "x", {.ttl = 5s, .stale_for = 10s});
    f.clock.advance(5s - 1ns);
    CHECK(f.store.find(1).is_hit());
    CHECK(f.store.get(1) == "x");
    f.clock.advance(1ns);
    CHECK(f.store.find(1).is_stale());
    CHECK(f.store.find(1).value() == "x");
    f.clock.advance(10s - 1ns);
    CHECK(f.store.find(1).is_stale());
    CHECK(f.store.size() == 1);
    f.clock.advance(1ns);
    CHECK(f.store.find(1).is_miss());
    CHECK(f.store.size() == 0);
    CHECK(f.store.stats().expirations() == 1);
}

TEMPLATE_TEST_CASE("an absence is fresh for its TTL, then gone", "[staleness]", drey::Shared,
                   drey::Unshared) {
    Fixture<std::string, TestType> f;
    CHECK(f.put_absent(1, {.ttl = 5s}));
    f.clock.advance(5s - 1ns);
    CHECK(f.store.find(1).is_absent());
    f.clock.advance(1ns);
    CHECK(f.store.find(1).is_miss());
    CHECK(f.store.size() == 0);
    CHECK(f.store.stats().expirations() == 1);
}

TEST_CASE("an absence and a stale value may last for ever", "[staleness]") {
    Texts f;
    f.put_absent(1, for_ever);
    f.put(2, "x", {.ttl = 1s, .stale_for = drey::never});
    f.clock.advance(24h * 36500);
    CHECK(f.state(1) == Found::absent);
    CHECK(f.store.find(2).is_stale());
    CHECK(f.store.purge_expired() == 0);
}

TEMPLATE_TEST_CASE("to all but find and loads, stale values and absences are not there",
                   "[staleness]", drey::Shared, drey::Unshared) {
    const bool is_absence = GENERATE(false, true);
    Fixture<std::string, TestType> f;
    for (int key = 0; key < 20; ++key)
        is_absence ? f.put_absent(key, for_ever) : f.put(key, "old", stale);
    f.put(20, "fresh");
    auto& store = f.store;
    CHECK(store.size() == 21);
    CHECK(store.get(0) == std::nullopt);
    CHECK_FALSE(store.read(1, [](const std::string&) { FAIL("not to be seen"); }));
    CHECK_FALSE(store.contains(2));
    store.for_each([](int key, const std::string&) { CHECK(key == 20); });
    CHECK(store.erase_if([](int key, const std::string&) { return key != 20; }) == 0);
    CHECK(store.take(3) == std::nullopt);
    CHECK(store.erase(4) == 0);
    CHECK(store.put(5, "new", {}, WriteIf::absent));
    const auto change = [](std::optional<std::string> seen) {
        CHECK(seen == std::nullopt);
        return std::optional<std::string>("new");
    };
    CHECK(store.update(6, change, {}));
    const auto remove = [](std::optional<std::string> seen) {
        CHECK(seen == std::nullopt);
        return seen;
    };
    CHECK_FALSE(store.update(7, remove, {}));
    const Found before = is_absence ? Found::absent : Found::stale;
    for (const int key : {0, 1, 2, 8}) CHECK(f.state(key) == before);  // who only looks
    for (const int key : {3, 4, 7}) CHECK(f.state(key) == Found::miss);
    for (const int key : {5, 6, 20}) CHECK(f.state(key) == Found::hit);
    CHECK(store.size() == 18);
    CHECK(store.clear() == 18);
    CHECK(f.state(8) == Found::miss);
}

TEST_CASE("each kind of entry takes the place of each, and only values are told of",
          "[staleness]") {
    enum class Kind { none, fresh, lasting, stale, absent, gone };
    const std::vector<Kind> kinds = {Kind::none,  Kind::fresh,  Kind::lasting,
                                     Kind::stale, Kind::absent, Kind::gone};
    std::vector<Told> told;
    Texts f({.capacity = 100, .on_removal = [&](int key, const std::string& value, Removal cause) {
                 told.push_back({key, value, cause});
             }});
    const auto write = [&](Kind kind, int key, const std::string& value) {
        switch (kind) {
            case Kind::none:
                f.store.erase(key);
                break;
            case Kind::fresh:
                CHECK(f.put(key, value, {.ttl = 1s, .stale_for = 1s}));
                break;
            case Kind::lasting:
                CHECK(f.put(key, value, for_ever));
                break;
            case Kind::stale:
                CHECK(f.put(key, value, stale));
                break;
            case Kind::absent:
                CHECK(f.put_absent(key, {.ttl = 1s}));
                break;
            case Kind::gone:
                CHECK(f.put(key, value, gone));
                break;
        }
    };
    const auto found_as = [](Kind kind) {
        switch (kind) {
            case Kind::fresh:
            case Kind::lasting:
                return Found::hit;
            case Kind::stale:
                return Found::stale;
            case Kind::absent:
                return Found::absent;
            default:
                return Found::miss;
        }
    };
    int key = 0;
    for (const Kind before : kinds)
        for (const Kind after : kinds) {
            INFO("from " << static_cast<int>(before) << " to " << static_cast<int>(after));
            write(before, ++key, "before");
            told.clear();
            write(after, key, "after");
            std::vector<Told> expected;
            if (before == Kind::gone) {
                expected = {{key, "before", Removal::expired}};
            } else if (before != Kind::none && before != Kind::absent) {
                const auto cause = after == Kind::none ? Removal::erased : Removal::replaced;
                expected = {{key, "before", cause}};
            }
            CHECK(told == expected);
            const auto look_up = f.store.find(key);
            CHECK(look_up.state() == found_as(after));
            if (look_up) CHECK(*look_up == "after");
            CHECK(f.store.validate());
            f.store.erase(key);
        }
}

TEST_CASE("no absence is told of, however it leaves", "[staleness]") {
    int told = 0;
    Texts f({.capacity = 2, .on_removal = [&](int, const std::string&, Removal) { ++told; }});
    for (int key = 0; key < 5; ++key) f.put_absent(key, for_ever);  // the first are evicted
    f.store.erase(4);
    f.put_absent(5, {.ttl = 1s});
    f.clock.advance(1s);
    CHECK(f.store.purge_expired() == 1);
    f.put_absent(6, {.ttl = 1s});
    f.clock.advance(1s);
    f.put_absent(6, {.ttl = 1s});
    f.store.clear();
    CHECK(told == 0);
    CHECK(f.store.size() == 0);
}

TEST_CASE("a slot that held a stale value or an absence holds any other entry as a new one does",
          "[staleness]") {
    Texts f({.capacity = 1});
    for (int key = 0; key < 400; ++key) {
        switch (key % 4) {
            case 0:
                f.put(key, "x", {.ttl = 0s, .stale_for = 1h, .load_cost = 1s});
                CHECK(f.state(key) == Found::stale);
                break;
            case 2:
                f.put_absent(key, {.ttl = 1s});
                CHECK(f.state(key) == Found::absent);
                break;
            default:
                f.put(key, "lasts");
                const Reading reading = f.reading(key);
                CHECK(reading.state == Found::hit);
                CHECK(reading.left == drey::no_deadline);
                CHECK(reading.load_cost == 0s);
                f.clock.advance(24h);
                CHECK(f.store.get(key) == "lasts");
        }
    }
    CHECK(f.store.slots() < 300);  // so slots were reused
}

TEST_CASE("a reading says how long a value is fresh, and what it cost", "[staleness]") {
    Texts f({.capacity = 100, .ttl = 20s});
    f.put(1, "x", {.ttl = 5s, .stale_for = 10s, .load_cost = 7ms});
    f.put(2, "x", {.ttl = 5s, .load_cost = 3h});
    f.put(3, "x", {.stale_for = 1s});
    f.put(4, "x", for_ever);
    f.clock.advance(2s);
    CHECK(f.reading(1).left == std::chrono::nanoseconds(3s).count());
    CHECK(f.reading(1).load_cost == 7ms);
    CHECK(f.reading(2).left == std::chrono::nanoseconds(3s).count());
    CHECK(f.reading(2).load_cost == 3h);
    CHECK(f.reading(3).left == std::chrono::nanoseconds(18s).count());
    CHECK(f.reading(3).load_cost == 0s);
    CHECK(f.reading(4).left == drey::no_deadline);
    f.clock.advance(4s);
    CHECK(f.reading(1).state == Found::stale);
    CHECK(f.reading(1).left == -std::chrono::nanoseconds(1s).count());
    CHECK(f.reading(1).load_cost == 7ms);
    CHECK(f.reading(2).state == Found::failed);  // `use` was not called
}

TEST_CASE("jitter shortens the fresh time, and the stale time follows it", "[staleness]") {
    Texts f({.capacity = 100, .ttl = 100s, .jitter = 0.5, .seed = 1});
    std::size_t shortened = 0;
    for (int key = 0; key < 20; ++key) {
        f.put(key, "x", {.stale_for = 10s});
        f.put(100 + key, "x", {.jitter = 0.0, .stale_for = 10s});
        f.put_absent(200 + key, {.ttl = 100s});
        CHECK(f.reading(100 + key).left == std::chrono::nanoseconds(100s).count());
        const std::chrono::nanoseconds left(f.reading(key).left);
        CHECK(left > 50s);
        CHECK(left <= 100s);
        shortened += left < 99s ? 1 : 0;
        f.clock.advance(left);
        CHECK(f.state(key) == Found::stale);
        f.clock.advance(10s - 1ns);
        CHECK(f.state(key) == Found::stale);
        f.clock.advance(1ns);
        CHECK(f.state(key) == Found::miss);
        f.clock.advance(90s - left);
        CHECK(f.state(200 + key) == Found::miss);
        f.store.clear();
    }
    CHECK(shortened > 10);
}

TEST_CASE("look and find count a hit where no load is needed, get where there is a value",
          "[staleness]") {
    Texts f;
    f.put(1, "x");
    f.put(2, "x", stale);
    f.put_absent(3, for_ever);
    const auto counted = [&](auto&& call) {
        const drey::Stats before = f.store.stats();
        call();
        const drey::Stats after = f.store.stats();
        return std::vector<std::uint64_t>{after.hits - before.hits, after.misses - before.misses,
                                          after.absent_hits - before.absent_hits};
    };
    using Counts = std::vector<std::uint64_t>;
    for (const bool find : {false, true}) {
        const auto look_up = [&](int key) { find ? (void)f.store.find(key) : (void)f.state(key); };
        CHECK(counted([&] { look_up(1); }) == Counts{1, 0, 0});
        CHECK(counted([&] { look_up(2); }) == Counts{0, 1, 0});
        CHECK(counted([&] { look_up(3); }) == Counts{1, 0, 1});
        CHECK(counted([&] { look_up(4); }) == Counts{0, 1, 0});
    }
    CHECK(counted([&] { f.store.get(1); }) == Counts{1, 0, 0});
    CHECK(counted([&] { f.store.get(2); }) == Counts{0, 1, 0});
    CHECK(counted([&] { f.store.get(3); }) == Counts{0, 1, 0});
    CHECK(counted([&] { f.store.contains(3); }) == Counts{0, 0, 0});
}

TEST_CASE("what find and loads make use of is recent to the policy", "[staleness]") {
    Texts f({.capacity = 2});
    f.put(1, "x", stale);
    f.put_absent(2, for_ever);
    CHECK(f.state(1) == Found::stale);
    f.put(3, "x");  // not in place of 1, which was used after 2
    CHECK(f.state(1) == Found::stale);
    CHECK(f.state(2) == Found::miss);
    f.store.erase(3);
    f.put_absent(4, for_ever);
    CHECK(f.state(1) == Found::stale);
    CHECK(f.state(4) == Found::absent);
    f.put(5, "x");
    CHECK(f.state(4) == Found::absent);
    CHECK(f.state(1) == Found::miss);
}

// ---- loads -------------------------------------------------------------------------------------

TEST_CASE("the last look before a load finds fresh values and absences, a refresh nothing",
          "[staleness]") {
    Texts f;
    f.put(1, "x");
    f.put(2, "x", stale);
    f.put_absent(3, for_ever);
    const auto prepare = [&](int key, LoadFor why) {
        Texts::Attempt first(f.store, key);
        Texts::Attempt attempt(std::move(first));
        const Texts::Ticket ticket(f.store, attempt.hash());
        bool used = false;
        const Found found = f.store.prepare(ticket, key, attempt, why, [&](const std::string& v) {
            CHECK(v == "x");
            used = true;
        });
        CHECK(used == (found == Found::hit));
        f.store.give_up(ticket, attempt);
        return found;
    };
    const drey::Stats before = f.store.stats();
    CHECK(prepare(1, LoadFor::miss) == Found::hit);
    CHECK(prepare(2, LoadFor::miss) == Found::stale);
    CHECK(prepare(3, LoadFor::miss) == Found::absent);
    CHECK(prepare(4, LoadFor::miss) == Found::miss);
    for (int key = 1; key <= 4; ++key) CHECK(prepare(key, LoadFor::refresh) == Found::miss);
    CHECK(f.store.stats().hits == before.hits);
    CHECK(f.store.stats().misses == before.misses);
    CHECK(f.state(2) == Found::stale);  // of use to others, now and if the load fails
    CHECK(f.state(3) == Found::absent);
}

TEST_CASE("a fill and an absence take the place of what is there, unless it was invalidated",
          "[staleness]") {
    using Invalidate = std::function<void(Texts&)>;
    const auto nothing = [](std::optional<std::string>) { return std::optional<std::string>(); };
    const Invalidate none = [](Texts&) {};
    const Invalidate invalidations[] = {
        none,
        [](Texts& f) { f.store.erase(1); },
        [](Texts& f) { f.put(1, "put", stale); },
        [&](Texts& f) { f.store.update(1, nothing, {}); },
        [](Texts& f) { f.store.take(1); },
        [](Texts& f) { f.store.clear(); },
        [](Texts& f) { f.store.erase_if([](int, const std::string&) { return false; }); },
    };
    for (const bool is_absence : {false, true})
        for (const Found before : {Found::miss, Found::hit, Found::stale, Found::absent})
            for (const Invalidate& invalidate : invalidations) {
                Texts f;
                if (before == Found::hit) f.put(1, "before");
                if (before == Found::stale) f.put(1, "before", stale);
                if (before == Found::absent) f.put_absent(1, for_ever);
                const Texts::Attempt attempt(f.store, 1);
                const Texts::Ticket ticket(f.store, attempt.hash());
                invalidate(f);
                const Found meanwhile = f.state(1);
                const bool filled = is_absence
                                        ? f.store.fill_absent(ticket, 1, for_ever, attempt)
                                        : f.store.fill(ticket, 1, "loaded", for_ever, attempt);
                const bool is_valid = &invalidate == &invalidations[0];
                CHECK(filled == is_valid);
                CHECK(ticket.doomed() != is_valid);
                CHECK(f.state(1) == (!is_valid    ? meanwhile
                                     : is_absence ? Found::absent
                                                  : Found::hit));
            }
}

TEST_CASE("an update of a stale value that is written meanwhile begins anew", "[staleness]") {
    const bool is_absence = GENERATE(false, true);
    Fixture<std::uint64_t> f;
    is_absence ? f.put_absent(1, for_ever) : f.put(1, 5, stale);
    std::vector<std::optional<std::uint64_t>> seen;
    CHECK(f.store.update(1,
                         [&](std::optional<std::uint64_t> value) {
                             seen.push_back(value);
                             if (seen.size() == 1) f.put(1, 7, stale);
                             if (seen.size() == 2) f.put_absent(1, for_ever);
                             if (seen.size() == 3) f.put(1, 9);
                             return std::optional<std::uint64_t>(value.value_or(0) + 1);
                         },
                         {}));
    CHECK(seen == std::vector<std::optional<std::uint64_t>>{{}, {}, {}, 9});
    CHECK(f.store.get(1) == 10);
}

// ---- capacity ----------------------------------------------------------------------------------

TEST_CASE("stale values and absences count against the capacity, and are evicted", "[staleness]") {
    Texts f({.capacity = 10});
    for (int key = 0; key < 30; ++key) {
        f.put(3 * key, "x", stale);
        f.put_absent(3 * key + 1, for_ever);
        f.put(3 * key + 2, "x");
        CHECK(f.store.size() <= 10);
    }
    CHECK(f.store.stats().evictions() == 80);
    f.clock.advance(1h);  // the stale ones leave first now
    f.put(100, "x");
    CHECK(f.store.stats().evictions() == 80);
    CHECK(f.state(89) == Found::hit);
    CHECK(f.state(88) == Found::absent);
    f.store.set_capacity(1);
    CHECK(f.store.size() <= 1);
}

TEST_CASE("what is stale does not leave as expired before its last moment", "[staleness]") {
    Texts f({.capacity = 100});
    f.put(1, "x", {.ttl = 1s, .stale_for = 1s});
    f.clock.advance(2s - 1ns);
    CHECK(f.store.purge_expired() == 0);
    f.put(2, "y", {.ttl = 5s});  // a write removes a few that have expired
    CHECK(f.state(1) == Found::stale);
    f.clock.advance(1ns);
    f.put(3, "y", {.ttl = 5s});
    CHECK(f.store.size() == 2);
}

TEST_CASE("an absence weighs what the options say, and is not shown to the weigher",
          "[staleness]") {
    std::vector<std::string> weighed;
    const auto weigher = [&](int, const std::string& value) {
        weighed.push_back(value);
        return value.size();
    };
    Texts f({.capacity = 200, .weigher = weigher});
    for (int key = 0; key < 3; ++key) CHECK(f.put_absent(key, for_ever));
    CHECK(f.store.size() == 3);  // 64 each
    CHECK(f.put(3, "eight..."));
    CHECK(f.store.size() == 4);
    CHECK(f.put_absent(4, for_ever));
    CHECK(f.state(0) == Found::miss);
    CHECK(f.state(1) == Found::absent);
    CHECK(f.put_absent(3, for_ever));  // heavier than the value that it replaces
    CHECK(f.store.size() == 3);
    CHECK(weighed == std::vector<std::string>{"eight..."});

    Texts light({.capacity = 20, .weigher = weigher, .absent_weight = 1});
    for (int key = 0; key < 50; ++key) CHECK(light.put_absent(key, for_ever));
    CHECK(light.store.size() == 20);

    Texts heavy({.capacity = 20, .weigher = weigher});
    CHECK_FALSE(heavy.put_absent(1, for_ever));
    CHECK(heavy.state(1) == Found::miss);
    CHECK(heavy.store.stats().rejections == 1);

    Texts plain({.capacity = 20});
    for (int key = 0; key < 50; ++key) CHECK(plain.put_absent(key, for_ever));
    CHECK(plain.store.size() == 20);
}

// ---- kinds of values ---------------------------------------------------------------------------

TEST_CASE("words are not overwritten in place once there is more to know of them", "[staleness]") {
    Fixture<std::uint64_t> f;
    f.put(1, 1);
    f.put_absent(2, for_ever);
    f.put(1, 2);
    CHECK(f.store.get(1) == 2);
    CHECK(f.store.get(2) == std::nullopt);
    f.put(2, 3);  // nothing of the absence stays
    CHECK(f.store.get(2) == 3);
    f.put_absent(1, for_ever);
    CHECK(f.store.get(1) == std::nullopt);
    CHECK(f.state(1) == Found::absent);
    f.put(1, 4, {.ttl = 1s, .stale_for = drey::never});
    f.put(3, 5, {.ttl = 1s});
    f.put(4, 6);
    f.put(4, 7, {.ttl = 1s, .stale_for = drey::never, .load_cost = 1s});
    f.clock.advance(1s);
    CHECK(f.store.find(1).is_stale());
    CHECK(f.store.find(3).is_miss());
    CHECK(f.store.find(4).is_stale());
    f.put(1, 8);
    f.put(4, 9);
    f.clock.advance(24h);
    CHECK(f.store.get(1) == 8);
    CHECK(f.store.get(4) == 9);
}

TEST_CASE("values that only move may be stale, and keys without them absent", "[staleness]") {
    Fixture<std::unique_ptr<int>> f;
    f.put(1, std::make_unique<int>(7), {.ttl = 1s, .stale_for = 1s});
    f.put_absent(2, for_ever);
    f.clock.advance(1s);
    int seen = 0;
    const auto look = [&](int key) {
        return f.store.look(key, {f.store, key},
                            [&](const std::unique_ptr<int>& v, const Reading&) { seen += *v; });
    };
    CHECK(look(1) == Found::stale);
    CHECK(look(2) == Found::absent);
    CHECK(seen == 7);
    CHECK_FALSE(f.store.take(1));
    CHECK_FALSE(f.store.take(2));
    CHECK(f.store.size() == 0);
}

namespace {

struct NoDefault {
    explicit NoDefault(std::string t) : text(std::move(t)) {}
    std::string text;
};

}  // namespace

TEST_CASE("absences need no value that could stand for them", "[staleness]") {
    int told = 0;
    Fixture<NoDefault> f({.capacity = 3, .on_removal = [&](int, const NoDefault& value, Removal) {
                              told += value.text == "x";
                          }});
    for (int round = 0; round < 50; ++round) {
        f.put_absent(1, for_ever);
        f.put(2, NoDefault("x"));
        CHECK(f.state(1) == Found::absent);
        CHECK(f.store.get(1) == std::nullopt);
        CHECK(f.store.take(2)->text == "x");
        f.put_absent(2, for_ever);
        f.put(1, NoDefault("x"), stale);
        CHECK(f.store.find(1)->text == "x");
        f.put_absent(1, for_ever);
        f.put_absent(100 + round, for_ever);
    }
    f.store.clear();
    CHECK(told == 100);
}
