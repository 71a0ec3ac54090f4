/// Servers that are not there: never were, went away, came back empty.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "redis_faults/faulty.hpp"

using namespace faults;

TEST_CASE("server that does not run yet is a cache that misses, and works once it runs",
          "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    f.server.kill();
    const RedisMode mode = both_modes();
    SECTION("over TCP") {
        f.make(mode);
        f.proxy.refuse();
        f.check_fails({Errc::unreachable});
        f.server.start();
        f.server.command({"PING"});
        f.proxy.accept();
    }
    SECTION("over a unix socket") {
        auto options = f.options();
        options.uri = f.server.socket_uri();
        options.mode = mode;
        f.make(options);
        f.check_fails({Errc::unreachable});
        f.server.start();
        f.server.command({"PING"});
    }
    f.check_recovers();
}

TEST_CASE("server that is killed between calls is missed by none of them once it is back",
          "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = f.options();
    options.mode = both_modes();
    options.uri = GENERATE(false, true) ? f.server.socket_uri() : f.server.uri();
    f.make(options);
    REQUIRE(f.works());
    f.server.kill();
    f.check_fails({Errc::unreachable});
    f.server.start();
    f.server.command({"PING"});
    f.check_recovers();
}

TEST_CASE("server that restarted unnoticed is not a failure, only empty", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make(both_modes());
    REQUIRE(cache.put("key", "old"));
    f.server.restart();
    f.server.command({"PING"});
    SECTION("to what may be repeated") {
        CHECK(cache.find("key").is_miss());
        CHECK(cache.get_or_load("key", [] { return "new"s; }) == "new");
        CHECK(cache.get("key") == "new");
    }
    // What may not be repeated finds out beforehand that the connection has ended.
    SECTION("to put_if_absent") { CHECK(cache.put_if_absent("key", "new")); }
    SECTION("to take") { CHECK(cache.take("key") == std::nullopt); }
    CHECK(f.errors.size() == 0);
    f.check_recovers();
}

TEST_CASE("large value whose server is killed while it is written", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected(both_modes());
    f.server.pause();
    SECTION("by put") {
        // Both ends of the proxy are full before the server dies, and the put is in the middle.
        bool stored = true;
        std::thread writer([&] { stored = cache.put("key", large); });
        CHECK(eventually([&] { return f.proxy.request_bytes() > 100'000; }));
        f.proxy.refuse();
        f.server.kill();
        writer.join();
        CHECK_FALSE(stored);
    }
    SECTION("by put, without a proxy") {
        auto options = f.options();
        options.uri = GENERATE(false, true) ? f.server.socket_uri() : f.server.uri();
        Cache direct(options);
        bool stored = true;
        std::thread writer([&] { stored = direct.put("key", large); });
        CHECK_FALSE(eventually([&] { return f.errors.size() > 0; }, 20ms));
        f.server.kill();
        writer.join();
        CHECK_FALSE(stored);
        REQUIRE(f.errors.size() == 1);
        // Sent again a moment later, unless all of it had left us.
        CHECK((f.errors.last().code == Errc::unreachable ||
               f.errors.last().code == Errc::disconnected));
        f.proxy.refuse();
    }
    SECTION("by get_or_load") {
        f.server.resume();
        std::atomic<bool> killed{false};
        f.proxy.set_on_request([&](std::string_view bytes) {
            if (bytes.size() < 20'000 || killed.exchange(true)) return;
            f.proxy.refuse();
            f.server.kill();
        });
        CHECK(cache.get_or_load("key", [] { return large; }) == large);
        CHECK(killed);
        f.proxy.set_on_request({});
    }
    REQUIRE(f.errors.size() == 1);
    CHECK(f.errors.last().key == "drey:key");
    f.check_fails({Errc::unreachable});
    f.server.start();
    f.server.command({"PING"});
    f.proxy.accept();
    f.check_recovers();
}

TEST_CASE("large value whose server is killed while it is read", "[redis][faults]") {
    if (no_redis_server()) return;
    std::size_t passed = 0;
    Faulty f;
    Cache& cache = f.make_connected(both_modes());
    REQUIRE(cache.put("key", large));
    f.proxy.corrupt([&](std::string& bytes) {
        const std::size_t before = std::exchange(passed, passed + bytes.size());
        if (before >= 1'000'000 || passed < 1'000'000) return;
        f.proxy.refuse();
        f.server.kill();
    });
    CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
    f.check_fails({Errc::unreachable});
    f.proxy.heal();
    f.proxy.refuse();
    f.server.start();
    f.server.command({"PING"});
    f.proxy.accept();
    f.check_recovers();
}

TEST_CASE("ten thousand refused connections leave nothing behind", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = f.options();
    options.mode = both_modes();
    options.breaker.failures = 1'000'000;
    options.uri = GENERATE(false, true) ? f.server.socket_uri() : f.server.uri();
    f.server.kill();
    Cache& cache = f.make(options);
    const std::size_t descriptors = support::open_descriptors();
    const std::size_t threads = support::running_threads();
    std::size_t wrong = 0;
    for (int i = 0; i < 10'000; ++i) {
        const std::string key = std::to_string(i);
        wrong += cache.get_or_load(key, [&] { return key; }) != key;
    }
    CHECK(wrong == 0);
    CHECK(cache.stats().failed(Errc::unreachable) == 10'000);
    CHECK(f.errors.size() == 10'000);
    CHECK(support::open_descriptors() == descriptors);
    CHECK(support::running_threads() == threads);
    f.server.start();
    f.server.command({"PING"});
    f.check_recovers();
}

TEST_CASE("breaker leaves a server alone until one probe finds it well", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected(both_modes());
    f.proxy.nonsense("!");
    for (std::size_t i = 0; i < Faulty::failures_to_open; ++i)
        CHECK(cache.find("key").error() == Errc::protocol);
    const std::size_t accepted = f.proxy.accepted();
    for (int i = 0; i < 100; ++i) CHECK(cache.find("key").error() == Errc::breaker_open);
    CHECK_FALSE(cache.put("key", "value"));
    CHECK(cache.erase("key") == 0);
    CHECK(f.proxy.accepted() == accepted);

    f.clock.advance(Faulty::rest - 1ns);
    CHECK(cache.find("key").error() == Errc::breaker_open);
    f.clock.advance(1ns);
    CHECK(cache.find("key").error() == Errc::protocol);  // the probe, not well
    CHECK(cache.find("key").error() == Errc::breaker_open);
    f.proxy.heal();
    CHECK(cache.find("key").error() == Errc::breaker_open);
    f.check_recovers();
}

TEST_CASE("failures that are far apart do not open the breaker", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected();
    f.proxy.nonsense("!");
    for (int i = 0; i < 10; ++i) {
        CHECK(cache.find("key").error() == Errc::protocol);
        f.clock.advance(5s + 1ns);  // two in any 10 s
    }
    f.proxy.heal();
    CHECK(f.works());
}

TEST_CASE("failures are thrown where that is asked for, but never by a load", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = f.options();
    options.on_failure = drey::OnFailure::throws;
    options.breaker.failures = 1000;
    Cache& cache = f.make(options);
    f.server.kill();
    f.proxy.refuse();
    CHECK_THROWS_AS(cache.get("key"), drey::RemoteError);
    CHECK_THROWS_AS(cache.find("key"), drey::RemoteError);
    CHECK_THROWS_AS(cache.contains("key"), drey::RemoteError);
    CHECK_THROWS_AS(cache.get_many({"key"}), drey::RemoteError);
    CHECK_THROWS_AS(cache.put("key", "value"), drey::RemoteError);
    CHECK_THROWS_AS(cache.put_if_absent("key", "value"), drey::RemoteError);
    CHECK_THROWS_AS(cache.put_many({{"key", "value"}}), drey::RemoteError);
    CHECK_THROWS_AS(cache.update("key", [](auto value) { return value; }), drey::RemoteError);
    CHECK_THROWS_AS(cache.take("key"), drey::RemoteError);
    CHECK_THROWS_AS(cache.erase("key"), drey::RemoteError);
    CHECK_THROWS_AS(cache.erase_matching("*"), drey::RemoteError);
    CHECK_THROWS_AS(cache.clear(), drey::RemoteError);
    CHECK_THROWS_AS(cache.size(), drey::RemoteError);
    CHECK_NOTHROW(cache.status());
    CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
    CHECK(cache.visit_or_load(
        "key", [] { return "loaded"s; }, [](const std::string&) {}));
    try {
        cache.erase("key");
    } catch (const drey::RemoteError& error) {
        CHECK(error.code() == Errc::unreachable);
        CHECK(error.error().operation == "erase");
        CHECK(error.error().key == "drey:key");
    }
    f.server.start();
    f.server.command({"PING"});
    f.proxy.accept();
    f.check_recovers();
}

TEST_CASE("listener that throws and calls the cache does no harm", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = f.options();
    options.mode = both_modes();
    options.breaker.failures = 1000;
    int depth = 0;
    options.on_error = [&](const drey::Error&) {
        if (++depth < 3) f.cache().get("other");
        throw std::runtime_error("listener");
    };
    f.proxy.refuse();
    Cache& cache = f.make(options);
    CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
    CHECK(cache.stats().failed(Errc::unreachable) == 3);
    CHECK(cache.stats().listener_failures == 3);
    f.proxy.accept();
    CHECK(f.works());
}
