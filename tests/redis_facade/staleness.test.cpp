#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/codec/raw.hpp"
#include "drey/codec/sealed.hpp"
#include "drey/redis/store.hpp"
#include "redis_facade/shared_cache.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// Values past their TTL, remembered absences, and loads that replace what is there. The facade is
// left out: these tests stop a load wherever they like. Two stores over one server are to each
// other what two processes are.

using namespace redis_facade;
using drey::Found;
using drey::LoadFor;
using drey::Terms;
using drey::WriteIf;

namespace {

using Store = drey::redis::Store<std::string, std::string, drey::Raw>;
static_assert(std::is_move_constructible_v<Store::Attempt>);

constexpr Terms with_stale{.ttl = 1h, .stale_for = 1h};

/// A server, and a clock that has nothing to do with the server's: what is stale here is there yet.
struct Machine {
    support::RedisServer server;
    drey::ManualClock clock{1'700'000'000s};

    drey::RedisOptions options() {
        auto options = patient(server);
        options.unix_clock = clock;
        return options;
    }
};

void put(Store& store, const std::string& key, const std::string& value, const Terms& terms) {
    REQUIRE(store.put(std::string(key), std::string(value), terms, WriteIf::always));
}

/// A load that a test takes step by step. What it found last is in `value`.
struct Load {
    Load(Store& s, std::string k = "key") : store(&s), key(std::move(k)), attempt(s, key) {}

    Found look() {
        return store->look(key, attempt, [&](std::string&& found, const drey::Reading& how) {
            value = std::move(found);
            reading = how;
        });
    }
    void take_ticket() { ticket.emplace(*store, attempt.hash()); }
    Found prepare(LoadFor why) {
        if (!ticket) take_ticket();
        return store->prepare(*ticket, key, attempt, why,
                              [&](std::string&& found) { value = std::move(found); });
    }
    bool fill(std::string loaded = "loaded", const Terms& terms = with_stale) {
        return store->fill(*ticket, std::string(key), std::move(loaded), terms, attempt);
    }
    bool fill_absent(const Terms& terms = {.ttl = 1h}) {
        return store->fill_absent(*ticket, std::string(key), terms, attempt);
    }
    void give_up() { store->give_up(*ticket, attempt); }
    std::optional<bool> verdict() const { return Store::verdict(*ticket); }

    Store* store;
    std::string key;
    Store::Attempt attempt;
    std::optional<Store::LoadTicket> ticket;
    std::optional<std::string> value;
    drey::Reading reading;
};

void remember_absence(Store& store, const std::string& key = "key") {
    Load load(store, key);
    load.look();
    load.prepare(LoadFor::refresh);
    REQUIRE(load.fill_absent());
}

/// What a key may hold that is no hit, and a hit for comparison.
enum class Held { fresh, stale, absence };
constexpr std::array all_held{Held::fresh, Held::stale, Held::absence};

void hold(Machine& machine, Store& store, Held held, const std::string& key = "key") {
    machine.server.command({"FLUSHALL"});
    if (held == Held::absence) return remember_absence(store, key);
    put(store, key, "old", with_stale);
    if (held == Held::stale) machine.clock.advance(1h);
}

std::string bytes_at(Machine& machine, const std::string& key = "key") {
    return machine.server.command({"GET", "app:" + key}).text;
}

std::uint64_t errors_of(const Store& store) {
    std::uint64_t sum = 0;
    for (const auto errors : store.stats().errors) sum += errors;
    return sum;
}

}  // namespace

// ---- what each call makes of it ----------------------------------------------------------------

TEST_CASE("a value past its TTL is found as stale, and is nothing to any other call") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    put(store, "key", "old", with_stale);
    machine.clock.advance(1h - 1ms);
    CHECK(store.find("key").is_hit());
    CHECK(store.get("key") == "old");
    machine.clock.advance(1ms);
    const auto found = store.find("key");
    CHECK(found.is_stale());
    CHECK(found.value() == "old");
    CHECK_FALSE(store.get("key"));
    CHECK_FALSE(store.contains("key"));
    CHECK_FALSE(store.get_many(std::vector<std::string>{"key"}, std::identity{})[0]);
    CHECK_FALSE(store.read("key", [](std::string&&) {}));
    CHECK(store.size() == 1);
    CHECK(errors_of(store) == 0);
}

TEST_CASE("a remembered absence is found as such, and is nothing to any other call") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    remember_absence(store);
    CHECK(store.find("key").is_absent());
    CHECK_FALSE(store.get("key"));
    CHECK_FALSE(store.contains("key"));
    CHECK_FALSE(store.get_many(std::vector<std::string>{"key"}, std::identity{})[0]);
    CHECK_FALSE(store.read("key", [](std::string&&) {}));
    CHECK(errors_of(store) == 0);
}

TEST_CASE("what is removed counts only if it was a fresh value, and is gone in any case") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    for (const Held held : all_held) {
        const std::size_t counted = held == Held::fresh ? 1 : 0;
        hold(machine, store, held);
        CHECK(store.erase("key") == counted);
        CHECK(store.find("key").is_miss());

        hold(machine, store, held);
        CHECK(store.take("key").has_value() == (counted == 1));
        CHECK(store.find("key").is_miss());
    }
    CHECK(store.stats().removed(drey::Removal::erased) == 2);
    CHECK(errors_of(store) == 0);
}

TEST_CASE("writes replace what is stale or absent as if there were nothing") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    for (const Held held : {Held::stale, Held::absence}) {
        hold(machine, store, held);
        CHECK(store.put("key", "new", {}, WriteIf::absent));
        CHECK(store.get("key") == "new");
        CHECK_FALSE(store.put("key", "newer", {}, WriteIf::absent));

        hold(machine, store, held);
        auto to_new = [](std::optional<std::string> old) {
            return std::optional<std::string>(old ? "there was one" : "new");
        };
        CHECK(store.update("key", to_new, {}));
        CHECK(store.get("key") == "new");

        hold(machine, store, held);
        auto away = [](std::optional<std::string>) { return std::optional<std::string>(); };
        CHECK_FALSE(store.update("key", away, {}));
        CHECK(store.find("key").is_miss());

        hold(machine, store, held);
        const std::map<std::string, std::string> entries{{"key", "new"}};
        CHECK(store.put_many(entries, {}, std::identity{}) == 1);
        CHECK(store.get("key") == "new");
    }
    CHECK(errors_of(store) == 0);
}

TEST_CASE("every way to write stores under the terms it was given") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    const auto write = std::to_array<std::function<void()>>({
        [&] { put(store, "key", "value", with_stale); },
        [&] { store.put("key", "value", with_stale, WriteIf::absent); },
        [&] {
            auto f = [](const auto&) { return std::optional<std::string>("value"); };
            store.update("key", f, with_stale);
        },
        [&] {
            const std::map<std::string, std::string> entries{{"key", "value"}};
            store.put_many(entries, with_stale, std::identity{});
        },
        [&] {
            Load load(store);
            load.look();
            load.prepare(LoadFor::miss);
            load.fill("value");
        },
    });
    for (std::size_t way = 0; way < write.size(); ++way) {
        INFO("way " << way);
        machine.server.command({"FLUSHALL"});
        write[way]();
        const auto kept = machine.server.command({"PTTL", "app:key"}).integer;
        CHECK((kept > 7'000'000 && kept <= 7'200'000));
        CHECK(store.find("key").is_hit());
        machine.clock.advance(1h);
        CHECK(store.find("key").is_stale());
    }
}

TEST_CASE("a value that is never stale is as fresh as the server says, whatever the clocks") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    put(store, "key", "value", {.ttl = 1h});
    CHECK(drey::open_envelope(bytes_at(machine), "app:key").header.fresh_until_ms == 0);
    machine.clock.advance(1000h);
    CHECK(store.get("key") == "value");
    CHECK(store.find("key").is_hit());
}

TEST_CASE("an absence that somebody gave an end has one") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    const auto end =
        std::chrono::duration_cast<std::chrono::milliseconds>(machine.clock.now() + 1h);
    std::string absence;
    drey::seal_absent(absence, 0, 1, end.count(), 0, "app:key");
    machine.server.command({"SET", "app:key", absence});
    CHECK(store.find("key").is_absent());
    machine.clock.advance(1h);
    CHECK(store.find("key").is_miss());
    CHECK(errors_of(store) == 0);
}

TEST_CASE("an absence under another schema is a miss, and said to be") {
    if (support::no_redis_server()) return;
    Machine machine;
    auto options = machine.options();
    Store old{options};
    options.schema = 1;
    Store store{options};
    remember_absence(old);
    CHECK(store.find("key").is_miss());
    CHECK(store.stats().failed(drey::Errc::undecodable) == 1);
}

// ---- what loads are told -----------------------------------------------------------------------

TEST_CASE("a load is told how fresh the value is, and what it cost") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    Load load(store);
    CHECK(load.look() == Found::miss);
    REQUIRE(load.prepare(LoadFor::miss) == Found::miss);
    REQUIRE(load.fill("value", {.ttl = 1h, .stale_for = 1h, .load_cost = 25ms}));

    Load fresh(store);
    machine.clock.advance(20min);
    CHECK(fresh.look() == Found::hit);
    CHECK(fresh.reading.state == Found::hit);
    CHECK(fresh.reading.left == std::chrono::nanoseconds(40min).count());
    CHECK(fresh.reading.load_cost == 25ms);

    Load stale(store);
    machine.clock.advance(1h);
    CHECK(stale.look() == Found::stale);
    CHECK(stale.value == "value");
    CHECK(stale.reading.state == Found::stale);
    CHECK(stale.reading.left <= 0);
    CHECK(stale.reading.load_cost == 25ms);

    put(store, "plain", "value", {.ttl = 1h});
    Load plain(store, "plain");
    CHECK(plain.look() == Found::hit);
    CHECK(plain.reading.left == drey::no_deadline);
    CHECK(plain.reading.load_cost == 0ns);
}

TEST_CASE("a value with a cost tells when it ends, as who refreshes it early must know") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    put(store, "key", "value", {.ttl = 1h, .load_cost = 5ms});
    Load load(store);
    CHECK(load.look() == Found::hit);
    CHECK(load.reading.left == std::chrono::nanoseconds(1h).count());
}

TEST_CASE("hits and absences count as hits, stale values and nothing as misses") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    const auto counts = [&](Held held, const std::function<void()>& ask) {
        hold(machine, store, held);
        const drey::Stats before = store.stats();
        ask();
        const drey::Stats after = store.stats();
        return std::array{after.hits - before.hits, after.misses - before.misses,
                          after.absent_hits - before.absent_hits};
    };
    using Counts = std::array<std::uint64_t, 3>;
    const auto find = [&] { static_cast<void>(store.find("key")); };
    const auto look = [&] { Load(store).look(); };
    for (const std::function<void()>& ask : {std::function<void()>(find), {look}}) {
        CHECK(counts(Held::fresh, ask) == Counts{1, 0, 0});
        CHECK(counts(Held::stale, ask) == Counts{0, 1, 0});
        CHECK(counts(Held::absence, ask) == Counts{1, 0, 1});
    }
    const auto get = [&] { store.get("key"); };
    CHECK(counts(Held::fresh, get) == Counts{1, 0, 0});
    CHECK(counts(Held::stale, get) == Counts{0, 1, 0});
    CHECK(counts(Held::absence, get) == Counts{0, 1, 0});
}

// ---- refreshes ---------------------------------------------------------------------------------

TEST_CASE("what a refresh is to replace stays in use until it is replaced, or if that fails") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store here{machine.options()}, there{machine.options()};
    for (const Held held : all_held) {
        hold(machine, here, held);
        const Found before = there.find("key").state();
        const std::string bytes = bytes_at(machine);

        Load failing(here);
        CHECK(failing.look() == before);
        CHECK(failing.prepare(LoadFor::refresh) == Found::miss);
        CHECK(bytes_at(machine) == bytes);
        failing.give_up();
        CHECK(bytes_at(machine) == bytes);

        Load load(here);
        load.look();
        load.prepare(LoadFor::refresh);
        CHECK(there.find("key").state() == before);
        CHECK(load.fill());
        CHECK(load.verdict() == true);
        CHECK(there.get("key") == "loaded");
    }
    CHECK(errors_of(here) == 0);
}

TEST_CASE("a refresh may find that there is no such row any more") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store here{machine.options()}, there{machine.options()};
    for (const Held held : all_held) {
        hold(machine, here, held);
        Load load(here);
        load.look();
        load.prepare(LoadFor::refresh);
        CHECK(load.fill_absent({.ttl = 1h}));
        CHECK(there.find("key").is_absent());
        const auto kept = machine.server.command({"PTTL", "app:key"}).integer;
        CHECK((kept > 3'500'000 && kept <= 3'600'000));
    }
}

namespace {

/// What may happen to a key while it is being refreshed.
enum class Deed { erase, take, put, put_if_absent, update, update_away, clear, fill, fill_absent };
constexpr std::array deeds{Deed::erase,  Deed::take,        Deed::put,
                           Deed::update, Deed::update_away, Deed::put_if_absent,
                           Deed::clear,  Deed::fill,        Deed::fill_absent};

void perform(Store& store, Deed deed) {
    const auto refreshed = [&](auto&& finish) {
        Load load(store);
        load.look();
        load.prepare(LoadFor::refresh);
        finish(load);
    };
    auto written = [](const auto&) { return std::optional<std::string>("written"); };
    auto away = [](const auto&) { return std::optional<std::string>(); };
    switch (deed) {
        case Deed::erase:
            store.erase("key");
            break;
        case Deed::take:
            store.take("key");
            break;
        case Deed::put:
            store.put("key", "written", with_stale, WriteIf::always);
            break;
        case Deed::put_if_absent:
            store.put("key", "written", with_stale, WriteIf::absent);
            break;
        case Deed::update:
            store.update("key", written, with_stale);
            break;
        case Deed::update_away:
            store.update("key", away, with_stale);
            break;
        case Deed::clear:
            store.clear();
            break;
        case Deed::fill:
            refreshed([](Load& load) { load.fill("written"); });
            break;
        case Deed::fill_absent:
            refreshed([](Load& load) { load.fill_absent(); });
            break;
    }
}

/// What is there after the deed and a refresh that began before it.
drey::Lookup<std::string> expected_after(Deed deed, Held held) {
    using Lookup = drey::Lookup<std::string>;
    if (deed == Deed::put_if_absent && held == Held::fresh) return Lookup::hit("loaded");
    switch (deed) {
        case Deed::put:
        case Deed::put_if_absent:
        case Deed::update:
        case Deed::fill:
            return Lookup::hit("written");
        case Deed::fill_absent:
            return Lookup::absent();
        default:
            return Lookup::miss();
    }
}

}  // namespace

TEST_CASE("whatever is done to a key during its refresh wins, at every point, from everywhere") {
    if (support::no_redis_server()) return;
    Machine machine;
    for (const drey::Ttl lease : {drey::Ttl(10s), drey::Ttl(0s)}) {
        auto options = machine.options();
        options.lease = lease;
        Store here{options}, there{options};
        for (const Held held : all_held)
            for (const Deed deed : deeds)
                for (const bool from_here : {true, false})
                    for (int point = 0; point < 3; ++point) {
                        INFO("deed " << static_cast<int>(deed) << (from_here ? " here" : " there")
                                     << " over " << static_cast<int>(held) << " at " << point
                                     << (lease == 0s ? " without leases" : ""));
                        hold(machine, here, held);
                        Store& other = from_here ? here : there;
                        Load load(here);
                        load.look();
                        if (point == 0) perform(other, deed);
                        load.take_ticket();
                        if (point == 1) perform(other, deed);
                        CHECK(load.prepare(LoadFor::refresh) == Found::miss);
                        if (point == 2) perform(other, deed);

                        const auto expected = expected_after(deed, held);
                        const bool is_kept = expected.has_value() && *expected == "loaded";
                        CHECK(load.fill() == is_kept);
                        // Passengers who came after the deed must not get what was loaded before.
                        CHECK(load.verdict() == is_kept);
                        const auto found = there.find("key");
                        CHECK(found.state() == expected.state());
                        if (expected.has_value()) CHECK(found.value() == *expected);
                    }
        CHECK(errors_of(here) + errors_of(there) == 0);
    }
}

TEST_CASE("of two processes that refresh a key the first to fill wins, and the other knows") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store here{machine.options()}, there{machine.options()};
    hold(machine, here, Held::stale);
    Load first(here), second(there);
    for (Load* load : {&first, &second}) {
        CHECK(load->look() == Found::stale);
        load->prepare(LoadFor::refresh);
    }
    CHECK(first.fill("first"));
    CHECK_FALSE(second.fill("second"));
    CHECK(second.verdict() == false);
    CHECK(there.get("key") == "first");
}

TEST_CASE("a refresh of what has ended meanwhile comes to nothing, and the next load does not") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    hold(machine, store, Held::stale);
    Load load(store);
    load.look();
    load.prepare(LoadFor::refresh);
    machine.server.command({"DEL", "app:key"});  // as its last deadline would
    CHECK_FALSE(load.fill());
    Load next(store);
    CHECK(next.look() == Found::miss);
    CHECK(next.prepare(LoadFor::miss) == Found::miss);
    CHECK(next.fill());
}

TEST_CASE("a refresh by who has not looked claims what is there when it begins") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store here{machine.options()}, there{machine.options()};
    for (const Held held : all_held)
        for (const bool is_erased : {false, true}) {
            hold(machine, here, held);
            Load load(here);
            CHECK(load.prepare(LoadFor::refresh) == Found::miss);
            if (is_erased) there.erase("key");
            CHECK(load.fill() == !is_erased);
            CHECK(there.find("key").is_hit() == !is_erased);
        }
}

TEST_CASE("a refresh that finds nothing after all takes a lease, as a miss does") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store here{machine.options()}, there{machine.options()};
    Load load(here);
    CHECK(load.look() == Found::miss);
    CHECK(load.prepare(LoadFor::refresh) == Found::miss);
    CHECK(drey::open_envelope(bytes_at(machine), "app:key").header.kind ==
          drey::EnvelopeKind::lease);
    SECTION("and fills") {
        CHECK(load.fill());
        CHECK(there.get("key") == "loaded");
    }
    SECTION("unless the key was erased") {
        there.erase("key");
        CHECK_FALSE(load.fill());
        CHECK(there.find("key").is_miss());
    }
    SECTION("which it gives back") {
        load.give_up();
        CHECK_FALSE(is_there(machine.server, "app:key"));
    }
}

// ---- misses ------------------------------------------------------------------------------------

TEST_CASE("a stale value that a caller may not use is left to the others while it loads") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store here{machine.options()}, there{machine.options()};
    hold(machine, here, Held::stale);
    Load load(here);
    CHECK(load.look() == Found::stale);
    SECTION("and is replaced by what was loaded") {
        CHECK(load.prepare(LoadFor::miss) == Found::miss);
        CHECK(there.find("key").is_stale());
        CHECK(load.fill());
        CHECK(there.get("key") == "loaded");
    }
    SECTION("and after that, if the load fails") {
        CHECK(load.prepare(LoadFor::miss) == Found::miss);
        load.give_up();
        CHECK(there.find("key").is_stale());
    }
    SECTION("unless others have written it") {
        CHECK(load.prepare(LoadFor::miss) == Found::miss);
        put(there, "key", "written", {});
        CHECK_FALSE(load.fill());
        CHECK(there.get("key") == "written");
    }
    SECTION("unless others have erased it") {
        CHECK(load.prepare(LoadFor::miss) == Found::miss);
        there.erase("key");
        CHECK_FALSE(load.fill());
        CHECK(there.find("key").is_miss());
    }
    SECTION("if nobody has stored a fresh one since") {
        put(there, "key", "written", {});
        CHECK(load.prepare(LoadFor::miss) == Found::hit);
        CHECK(load.value == "written");
    }
    SECTION("if nobody has found since that there is no such row") {
        remember_absence(there);
        CHECK(load.prepare(LoadFor::miss) == Found::absent);
    }
    SECTION("or if it is gone by then there is a lease") {
        there.erase("key");
        CHECK(load.prepare(LoadFor::miss) == Found::miss);
        CHECK(there.find("key").is_miss());
        CHECK(load.fill());
        CHECK(there.get("key") == "loaded");
    }
}

TEST_CASE("who waits for a lease is told that there is no such row") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store here{machine.options()}, there{machine.options()};
    Load holder(here), waiter(there);
    CHECK(holder.look() == Found::miss);
    CHECK(holder.prepare(LoadFor::miss) == Found::miss);
    CHECK(waiter.look() == Found::miss);
    CHECK(holder.fill_absent());
    CHECK(holder.verdict() == true);
    CHECK(waiter.prepare(LoadFor::miss) == Found::absent);
    CHECK_FALSE(waiter.value);
    CHECK(there.find("key").is_absent());
}

TEST_CASE("an absence that a lease was taken for is not stored over what came between") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store here{machine.options()}, there{machine.options()};
    for (Store* other : {&here, &there}) {
        machine.server.command({"FLUSHALL"});
        Load load(here);
        load.look();
        load.prepare(LoadFor::miss);
        put(*other, "key", "created", {});
        CHECK_FALSE(load.fill_absent());
        CHECK(there.get("key") == "created");
    }
}

TEST_CASE("who looks again is given a fresh value only, and an absence when about to load") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store here{machine.options()}, there{machine.options()};
    Load passenger(here);
    passenger.look();
    put(there, "key", "created", with_stale);
    const auto again = [&] {
        return here.look_again(passenger.attempt, [&](std::string&& v) { passenger.value = v; });
    };
    CHECK(again());
    CHECK(passenger.value == "created");
    machine.clock.advance(1h);
    CHECK_FALSE(again());  // stale
    there.erase("key");
    remember_absence(there);
    CHECK_FALSE(again());
    CHECK(passenger.prepare(LoadFor::miss) == Found::absent);
}

TEST_CASE("without leases an invalidation from here still wins over what was loaded") {
    if (support::no_redis_server()) return;
    Machine machine;
    auto options = machine.options();
    options.lease = 0s;
    Store store{options};
    Load value(store), absence(store);
    for (Load* load : {&value, &absence}) {
        CHECK(load->look() == Found::miss);
        CHECK(load->prepare(LoadFor::miss) == Found::miss);
    }
    store.erase("key");
    CHECK_FALSE(value.fill());
    CHECK_FALSE(absence.fill_absent());
    CHECK(store.find("key").is_miss());
}

// ---- when the server fails ---------------------------------------------------------------------

TEST_CASE("a refresh whose server fails costs an error and nothing else") {
    if (support::no_redis_server()) return;
    Machine machine;
    auto options = machine.options();
    options.on_failure = drey::OnFailure::throws;  // but not out of a load
    Store here{options}, there{machine.options()};
    hold(machine, here, Held::stale);
    Load load(here);
    SECTION("because it is down when the value is there") {
        CHECK(load.look() == Found::stale);
        load.prepare(LoadFor::refresh);
        machine.server.kill();
        CHECK_FALSE(load.fill());
        CHECK(load.verdict() == std::nullopt);
        CHECK(errors_of(here) == 1);
    }
    SECTION("because it is down before") {
        machine.server.kill();
        CHECK(load.look() == Found::failed);
        CHECK(load.prepare(LoadFor::miss) == Found::miss);
        CHECK_FALSE(load.fill_absent());
        CHECK(errors_of(here) == 1);
    }
    SECTION("because it is full, and then the stale value stays") {
        CHECK(load.look() == Found::stale);
        load.prepare(LoadFor::refresh);
        machine.server.command({"CONFIG", "SET", "maxmemory", "1"});
        CHECK_FALSE(load.fill());
        CHECK(load.verdict() == false);
        CHECK(here.stats().failed(drey::Errc::out_of_memory) == 1);
        machine.server.command({"CONFIG", "SET", "maxmemory", "0"});
        CHECK(there.find("key").is_stale());
        CHECK(here.find("key").is_stale());
    }
}

TEST_CASE("what was erased in vain is not served stale, nor brought back by a refresh") {
    if (support::no_redis_server()) return;
    Machine machine;
    auto options = machine.options();
    options.timeout = 200ms;
    Store store{options};
    hold(machine, store, Held::stale);
    Load refresh(store);
    CHECK(refresh.look() == Found::stale);
    machine.server.pause();
    store.erase("key");
    refresh.prepare(LoadFor::refresh);
    CHECK_FALSE(store.find("key").has_value());
    machine.server.resume();
    Found found{};
    support::eventually([&] {
        found = store.find("key").state();
        return found != Found::failed;
    });
    CHECK(found == Found::miss);
    CHECK_FALSE(refresh.fill());
    CHECK_FALSE(is_there(machine.server, "app:key"));
}

// ---- threads -----------------------------------------------------------------------------------

TEST_CASE("a load may go on in another thread after its call", "[concurrent]") {
    if (support::no_redis_server()) return;
    Machine machine;
    Store store{machine.options()};
    hold(machine, store, Held::stale);
    std::thread background;
    {
        std::string key = "key";
        Store::Attempt attempt(store, key);
        CHECK(store.look(key, attempt, [](std::string&&, const drey::Reading&) {}) == Found::stale);
        background = std::thread([&store, mine = std::move(attempt)]() mutable {
            Store::Attempt moved(std::move(mine));
            Store::LoadTicket ticket(store, moved.hash());
            store.prepare(ticket, "key", moved, LoadFor::refresh, [](std::string&&) {});
            store.fill(ticket, "key", "loaded", with_stale, moved);
        });
    }
    background.join();
    CHECK(store.get("key") == "loaded");
}

TEST_CASE("refreshes and misses racing writes leave nothing older than the row", "[concurrent]") {
    if (support::no_redis_server()) return;
    Machine machine;
    auto options = machine.options();
    options.lease_wait = 1ms;
    Store writer{options}, one{options}, other{options};
    std::atomic<int> row{0};
    const Terms stale_at_once{.ttl = 0s, .stale_for = 1h};
    const auto read = [&](Store& store, support::Random& random) {
        Load load(store);
        const Found found = load.look();
        load.prepare(found == Found::miss || random.below(8) == 0 ? LoadFor::miss
                                                                  : LoadFor::refresh);
        const std::string value = std::to_string(row);
        for (std::uint64_t i = random.below(20); i > 0; --i) std::this_thread::yield();
        if (random.below(4) == 0) return load.give_up();
        load.fill(value, stale_at_once);
    };
    for (std::size_t round = 0; round < support::ops(200); ++round) {
        put(writer, "key", std::to_string(row), stale_at_once);
        support::in_threads(3, [&](std::size_t me) {
            support::Random random(round * 3 + me);
            if (me != 0) {
                for (int i = 0; i < 2; ++i) read(me == 1 ? one : other, random);
                return;
            }
            for (std::uint64_t n = random.below(20); n > 0; --n) std::this_thread::yield();
            const std::string value = std::to_string(++row);
            if (random.below(2) == 0) {
                writer.erase("key");
            } else {
                writer.put("key", std::string(value), stale_at_once, WriteIf::always);
            }
        });
        const auto found = one.find("key");
        if (found.has_value()) REQUIRE(*found == std::to_string(row));
    }
}
