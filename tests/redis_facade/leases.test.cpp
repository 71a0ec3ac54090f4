#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "redis_facade/shared_cache.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// Loads over Redis: one at a time for all processes, and none that outlives an invalidation. Two
// caches over one server are to each other what two processes are: they share nothing else.

using namespace redis_facade;

TEST_CASE("what one process loads the others find") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    int loads = 0;
    const auto loader = [&] { return ++loads, std::string("value"); };
    CHECK(here.get_or_load("key", loader) == "value");
    CHECK(there.get_or_load("key", loader) == "value");
    CHECK(here.get_or_load("key", loader) == "value");
    CHECK(loads == 1);
    CHECK(here.stats().loads == 1);
    CHECK(there.stats().loads == 0);
}

TEST_CASE("while one process loads a key the others wait for it and share", "[concurrent]") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    support::Gate loading;
    std::atomic<int> loads{0};
    std::thread waiter([&] {
        loading.wait();
        const auto value = there.get_or_load("key", [&] { return ++loads, std::string("second"); });
        if (value != "first") ++loads;
    });
    here.get_or_load("key", [&] {
        ++loads;
        loading.open();
        // Long enough for the other to come and look, if it is to find the lease.
        support::eventually([&] { return there.stats().misses > 0; });
        return std::string("first");
    });
    waiter.join();
    CHECK(loads == 1);
}

namespace {

enum class Deed { nothing, erase, take, put, put_if_absent, update, update_away, clear, matching };
constexpr std::array deeds{Deed::nothing,       Deed::erase,  Deed::take,
                           Deed::put,           Deed::update, Deed::update_away,
                           Deed::put_if_absent, Deed::clear,  Deed::matching};

void perform(Texts& cache, Deed deed) {
    switch (deed) {
        case Deed::nothing:
            break;
        case Deed::erase:
            cache.erase("key");
            break;
        case Deed::take:
            cache.take("key");
            break;
        case Deed::put:
            cache.put("key", "written");
            break;
        case Deed::put_if_absent:
            cache.put_if_absent("key", "written");
            break;
        case Deed::update:
            cache.update("key", [](const auto&) { return std::optional<std::string>("written"); });
            break;
        case Deed::update_away:
            cache.update("key", [](const auto&) { return std::optional<std::string>(); });
            break;
        case Deed::clear:
            cache.clear();
            break;
        case Deed::matching:
            cache.erase_matching("k*");
            break;
    }
}

std::optional<std::string> expected_after(Deed deed) {
    switch (deed) {
        case Deed::nothing:
            return "loaded";
        case Deed::put:
        case Deed::put_if_absent:
        case Deed::update:
            return "written";
        default:
            return std::nullopt;
    }
}

}  // namespace

TEST_CASE("an invalidation during a load wins, whichever process it comes from") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    for (const Deed deed : deeds)
        for (const bool from_here : {true, false})
            for (const bool over_old : {true, false}) {
                INFO("deed " << static_cast<int>(deed) << (from_here ? " here" : " there")
                             << (over_old ? " over an undecodable value" : ""));
                server.command({"FLUSHALL"});
                if (over_old) server.command({"SET", "app:key", "foreign"});
                Texts here{patient(server)}, there{patient(server)};
                CHECK(here.get_or_load("key", [&] {
                    perform(from_here ? here : there, deed);
                    return std::string("loaded");
                }) == "loaded");
                CHECK(there.get("key") == expected_after(deed));
                CHECK(here.get("key") == expected_after(deed));
                CHECK(here.stats().dropped_loads == (deed == Deed::nothing ? 0 : 1));
            }
}

TEST_CASE("after an erase a key is loaded anew, though an older load is still in flight") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)};
    const auto old = cache.get_or_load("key", [&] {
        cache.erase("key");
        support::elsewhere([&] { cache.get_or_load("key", [] { return std::string("new"); }); });
        return std::string("old");
    });
    CHECK(old == "old");
    CHECK(cache.get("key") == "new");
}

TEST_CASE("who asks after another process's erase gets no load from before it", "[concurrent]") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts here{patient(server)}, there{patient(server)};
    for (int round = 0; round < 20; ++round) {
        const std::string key = "key" + std::to_string(round);
        std::atomic<const char*> row{"old"};
        const auto loader = [&] { return std::string(row); };
        std::string late;
        std::thread passenger;
        here.get_or_load(key, [&] {
            const std::string value = loader();
            row = "new";
            there.erase(key);
            const auto before = here.stats().misses;
            passenger = std::thread([&] { late = here.get_or_load(key, loader); });
            support::eventually([&] { return here.stats().misses > before; });
            return value;
        });
        passenger.join();
        CHECK(late == "new");
        CHECK(there.get(key).value_or("new") == "new");
    }
}

TEST_CASE("when the server is down a key is still loaded once for all who wait", "[concurrent]") {
    for (const auto mode : {drey::RedisMode::pipeline, drey::RedisMode::pool}) {
        const support::ReservedPort nobody;
        Texts cache{{.uri = "redis://127.0.0.1:" + std::to_string(nobody.number()),
                     .prefix = "app",
                     .mode = mode}};
        std::atomic<int> loads{0};
        constexpr std::size_t threads = 16;
        support::in_threads(threads, [&](std::size_t) {
            cache.get_or_load("key", [&] {
                ++loads;
                support::eventually([&] { return cache.stats().misses == threads; });
                for (int i = 0; i < 2000; ++i) std::this_thread::yield();
                return std::string("value");
            });
        });
        // All have looked, and had a moment to board; a busy machine may hold one or two up.
        CHECK(loads <= 3);
    }
}

TEST_CASE("a load that brings nothing leaves no lease behind") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)};
    CHECK_FALSE(cache.get_or_load("key", [&]() -> std::optional<std::string> {
        CHECK(is_there(server, "app:key"));
        return std::nullopt;
    }));
    CHECK_FALSE(is_there(server, "app:key"));
    CHECK_THROWS_AS(cache.get_or_load("key", []() -> std::string { throw std::range_error("no"); }),
                    std::range_error);
    CHECK_FALSE(is_there(server, "app:key"));
    CHECK(cache.get_or_load("key", [] { return std::string("v"); }) == "v");
}

TEST_CASE("a fill that is refused, or never made, leaves no lease behind") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)};
    const auto load_again = [&] {
        // Would wait for the lease, which lasts longer than this test may.
        CHECK(cache.get_or_load("key", [] { return std::string("again"); }) == "again");
        CHECK(cache.get("key") == "again");
    };
    SECTION("because the server is full") {
        CHECK(cache.get_or_load("key", [&] {
            server.command({"CONFIG", "SET", "maxmemory", "1"});
            return std::string("loaded");
        }) == "loaded");
        CHECK(cache.stats().failed(drey::Errc::out_of_memory) == 1);
        CHECK_FALSE(is_there(server, "app:key"));
        server.command({"CONFIG", "SET", "maxmemory", "0"});
        load_again();
    }
    SECTION("because the loader's TTL is wrong") {
        CHECK_THROWS_AS(cache.get_or_load("key",
                                          [] {
                                              return drey::Loaded<std::string>{"v", {.ttl = -1s}};
                                          }),
                        std::invalid_argument);
        CHECK_FALSE(is_there(server, "app:key"));
        load_again();
    }
}

TEST_CASE("who shares a load that had no lease asks again") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    std::string lease;
    drey::seal_lease(lease, 0, 12345, "app:key");
    server.command({"SET", "app:key", lease, "PX", "60000"});  // another process's, and it is slow
    auto options = patient(server);
    options.lease_wait = 20ms;
    Texts here{options}, there{patient(server)};
    std::atomic<const char*> row{"old"};
    const auto loader = [&] { return std::string(row); };
    std::string late;
    std::thread passenger;
    CHECK(here.get_or_load("key", [&] {
        const std::string value = loader();
        row = "new";
        there.erase("key");
        const auto before = here.stats().misses;
        passenger = std::thread([&] { late = here.get_or_load("key", loader); });
        support::eventually([&] { return here.stats().misses > before; });
        return value;
    }) == "old");
    passenger.join();
    CHECK(late == "new");
    CHECK(there.get("key").value_or("new") == "new");
}

TEST_CASE("a lease is no value to anybody") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts cache{patient(server)}, other{patient(server)};
    cache.get_or_load("key", [&] {
        CHECK_FALSE(other.get("key"));
        CHECK(other.find("key").is_miss());
        CHECK_FALSE(other.contains("key"));
        CHECK_FALSE(other.get_many({"key"})[0]);
        CHECK(other.erase("key") == 0);
        return std::string("v");
    });
    cache.get_or_load("key", [&] {
        CHECK_FALSE(other.take("key"));
        return std::string("v");
    });
    CHECK(other.stats().failed(drey::Errc::undecodable) == 0);
}

TEST_CASE("a process that died with the lease holds nobody longer than it lasts") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    std::string lease;
    drey::seal_lease(lease, 0, 12345, "app:key");
    server.command({"SET", "app:key", lease, "PX", "300"});
    Texts cache{patient(server)};
    CHECK(cache.get_or_load("key", [] { return std::string("loaded"); }) == "loaded");
    CHECK(cache.get("key") == "loaded");
}

TEST_CASE("who has waited long enough for a lease loads, and leaves the filling to its holder") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    std::string lease;
    drey::seal_lease(lease, 0, 12345, "app:key");
    server.command({"SET", "app:key", lease, "PX", "60000"});
    auto options = patient(server);
    options.lease_wait = 20ms;
    Texts cache{options};
    CHECK(cache.get_or_load("key", [] { return std::string("loaded"); }) == "loaded");
    CHECK(server.command({"GET", "app:key"}).text == lease);
    CHECK(cache.stats().dropped_loads == 1);
}

TEST_CASE("a load that outlasts its lease does not overwrite who came after") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    options.lease = 1ms;
    Texts slow{options}, other{patient(server)};
    CHECK(slow.get_or_load("key", [&] {
        // The lease is over once the other can take it.
        CHECK(other.get_or_load("key", [] { return std::string("newer"); }) == "newer");
        return std::string("older");
    }) == "older");
    CHECK(other.get("key") == "newer");
}

// ---- processes ---------------------------------------------------------------------------------

namespace {

/// What the processes of one race share: the database, and who is where.
struct Arena {
    static constexpr std::size_t keys = 8;
    static constexpr std::size_t loaders = 3;

    std::array<std::atomic<int>, keys> rows{};
    std::atomic<std::uint64_t> round{0};                        // loaders rest while it is odd
    std::array<std::atomic<std::uint64_t>, loaders> resting{};  // the last round they rested in
    std::atomic<bool> over{false};
};

class SharedArena {
public:
    SharedArena()
        : memory_(::mmap(nullptr, sizeof(Arena), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                         -1, 0)) {
        if (memory_ == MAP_FAILED) throw std::bad_alloc();
        new (memory_) Arena;
    }
    SharedArena(const SharedArena&) = delete;
    SharedArena& operator=(const SharedArena&) = delete;
    ~SharedArena() { ::munmap(memory_, sizeof(Arena)); }

    Arena* operator->() const { return static_cast<Arena*>(memory_); }

private:
    void* memory_;
};

/// A child process that runs `body` and ends.
class Child {
public:
    explicit Child(const std::function<void()>& body) : id_(::fork()) {
        if (id_ < 0) throw std::runtime_error("fork failed");
        if (id_ != 0) return;
        int status = 0;
        try {
            body();
        } catch (...) {
            status = 1;
        }
        ::_exit(status);
    }
    Child(Child&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
    Child(const Child&) = delete;
    ~Child() {
        if (id_ > 0) ::waitpid(id_, nullptr, 0);
    }
    int wait() {
        int status = 0;
        ::waitpid(std::exchange(id_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

private:
    pid_t id_;
};

std::string row_key(std::size_t row) { return std::to_string(row); }

/// Reads random rows through the cache, as fast as it can, but for the rests.
void load_until_over(Arena& arena, std::size_t me, drey::RedisOptions options) {
    Numbers cache{std::move(options)};
    support::Random random(me);
    while (!arena.over) {
        if (const std::uint64_t round = arena.round; round % 2 == 1) {
            arena.resting[me] = round;
            std::this_thread::yield();
            continue;
        }
        const std::size_t row = random.below(Arena::keys);
        cache.get_or_load(row_key(row), [&] {
            const int value = arena.rows[row];
            // A database takes its time; long enough for an update to come between.
            for (std::uint64_t i = random.below(20); i > 0; --i) std::this_thread::yield();
            return value;
        });
    }
}

/// Several processes read rows through Redis while this one changes them and erases the keys.
/// Returns how often, with everyone resting, the cache held something else than the database.
std::size_t stale_keys(support::RedisServer& server, drey::RedisOptions options, std::size_t rounds,
                       bool stop_at_first) {
    SharedArena arena;
    std::vector<Child> children;
    for (std::size_t me = 0; me < Arena::loaders; ++me)
        children.emplace_back([&, me] { load_until_over(*arena.operator->(), me, options); });

    std::size_t stale = 0;
    {
        Numbers cache{patient(server)};
        support::Random random(99);
        for (std::size_t i = 0; i < rounds && !(stop_at_first && stale > 0); ++i) {
            for (int writes = 0; writes < 6; ++writes) {
                const std::size_t row = random.below(Arena::keys);
                ++arena->rows[row];
                cache.erase(row_key(row));
                for (std::uint64_t n = random.below(10); n > 0; --n) std::this_thread::yield();
            }
            const std::uint64_t rest = ++arena->round;
            for (const auto& resting : arena->resting)
                while (resting != rest) std::this_thread::yield();
            for (std::size_t row = 0; row < Arena::keys; ++row) {
                const auto cached = cache.get(row_key(row));
                if (cached && *cached != arena->rows[row]) ++stale;
            }
            ++arena->round;
        }
    }
    arena->over = true;
    for (Child& child : children)
        if (child.wait() != 0) throw std::runtime_error("a child failed");
    return stale;
}

}  // namespace

TEST_CASE("children that inherit one cache have leases and stamps of their own") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    Texts inherited{patient(server)};
    for (const char* key : {"a", "b"}) {
        Child child([&] { inherited.put(key, "value"); });
        REQUIRE(child.wait() == 0);
    }
    const auto stamp_of = [&](const char* key) {
        return drey::open_envelope(server.command({"GET", std::string("app:") + key}).text,
                                   std::string("app:") + key)
            .header.stamp;
    };
    CHECK(stamp_of("a") != 0);
    CHECK(stamp_of("a") != stamp_of("b"));
}

TEST_CASE("deletes racing fills from several processes leave no stale key in thousands of rounds") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    CHECK(stale_keys(server, patient(server), support::ops(2000), false) == 0);
}

TEST_CASE("without leases the same race leaves stale keys") {
    if (support::no_redis_server()) return;
    support::RedisServer server;
    auto options = patient(server);
    options.lease = 0s;
    CHECK(stale_keys(server, options, 20'000, true) > 0);
}
