/// Servers and networks that take their time. How long a call takes is for timing.test.cpp; here it
/// is enough that it ends, and how.
#include <dlfcn.h>
#include <netdb.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "redis_faults/faulty.hpp"
#include "redis_faults/flood.hpp"

using namespace faults;

namespace {

/// Names under ".slow" are resolved once this is open, to an address where nobody listens.
support::Gate* slow_names = nullptr;

}  // namespace

/// In place of the system's, for this whole program.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** list) {
    using Function = decltype(&::getaddrinfo);
    static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    if (node != nullptr && std::string_view(node).ends_with(".slow")) {
        if (hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0) return EAI_NONAME;
        slow_names->wait();
        return real("127.0.0.1", service, hints, list);
    }
    return real(node, service, hints, list);
}

TEST_CASE("server that hangs is waited for no longer than agreed", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = f.options();
    options.mode = both_modes();
    options.timeout = brief;
    const bool is_unix = GENERATE(false, true);
    options.uri = is_unix ? f.server.socket_uri() : f.server.uri();
    f.make(options);
    if (is_unix == (options.mode == RedisMode::pool)) REQUIRE(f.works());
    f.server.pause();
    f.check_fails({Errc::timed_out});
    f.server.resume();
    f.server.command({"PING"});
    f.check_recovers();
}

TEST_CASE("server that holds its clients up with CLIENT PAUSE", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    f.make_connected(both_modes(), brief);
    f.server.command({"CLIENT", "PAUSE", "60000", "ALL"});
    f.check_fails({Errc::timed_out});
    f.server.restart();  // a paused server also pauses who would unpause it
    f.server.command({"PING"});
    f.check_recovers();
}

TEST_CASE("server that holds only writes up", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected(both_modes(), brief);
    REQUIRE(cache.put("key", "old"));
    f.server.command({"CLIENT", "PAUSE", "60000", "WRITE"});
    CHECK(cache.get("key") == "old");
    CHECK_FALSE(cache.put("key", "new"));
    CHECK(f.errors.last().code == Errc::timed_out);
    // What may or may not have been overwritten is not served, and its removal is held up too.
    CHECK(cache.find("key").error() == Errc::timed_out);
    CHECK(cache.get_or_load("key", [] { return "new"s; }) == "new");
    f.server.command({"CLIENT", "UNPAUSE"});
    f.check_recovers();
    CHECK(cache.get("key") != "old");
}

TEST_CASE("network that swallows everything", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    const RedisMode mode = both_modes();
    f.make(mode, brief);
    if (mode == RedisMode::pipeline) REQUIRE(f.works());
    f.proxy.blackhole();
    f.check_fails({Errc::timed_out});
    f.proxy.heal();
    f.check_recovers();
}

TEST_CASE("replies that come too late answer nobody", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected(both_modes(), brief);
    REQUIRE(cache.put("key", "of key"));
    REQUIRE(cache.put("other", "of other"));
    f.proxy.delay(brief);  // there, and again back
    f.check_fails({Errc::timed_out});
    f.proxy.heal();
    f.clock.advance(Faulty::rest);
    CHECK(cache.get("other") == "of other");
    CHECK(cache.get("key") == "of key");
    CHECK(cache.erase("key") == 1);
    f.check_recovers();
}

TEST_CASE("network that is slow, but in time", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected(both_modes());
    const auto slow = GENERATE(true, false);
    if (slow)
        f.proxy.delay(5ms);
    else
        f.proxy.trickle(100us);
    CHECK(f.works());
    CHECK(cache.put("key", "value"));
    CHECK(cache.get_many({"key", "nothing"}) ==
          std::vector<std::optional<std::string>>{"value", std::nullopt});
    CHECK(cache.get_or_load("loaded", [] { return "loaded"s; }) == "loaded");
    CHECK(cache.take("loaded") == "loaded");
    CHECK(cache.size() == 1);
    CHECK(f.errors.size() == 0);
}

TEST_CASE("trickle that never ends does not keep a call", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected(both_modes(), brief);
    REQUIRE(cache.put("key", std::string(100'000, 'x')));
    f.proxy.trickle(1ms);  // 100 s in all
    f.check_fails({Errc::timed_out});
    f.proxy.heal();
    CHECK(cache.erase("key") == 0);
    f.check_recovers();
}

TEST_CASE("flood that never ends does not keep a call", "[redis][faults]") {
    // Bytes are always there to be read, so the call never has to wait for any. The second is
    // slower to read than to send.
    using Pieces = std::pair<const char*, const char*>;
    const auto [beginning, more] = GENERATE(Pieces{"$500000000\r\n", "xxxxxxxx"},
                                            Pieces{"*500000000\r\n", "$9\r\n123456789\r\n"});
    const Flood flood(beginning, more, 100'000'000);
    ErrorLog errors;
    Cache cache({.uri = flood.uri(),
                 .timeout = 20ms,
                 .mode = both_modes(),
                 .on_error = [&](const drey::Error& error) { errors.add(error); }});
    CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
    CHECK_FALSE(flood.dried_up());
    REQUIRE(errors.size() == 1);
    CHECK(errors.last().code == Errc::timed_out);
}

TEST_CASE("address where nobody answers", "[redis][faults]") {
    // A backlog that is full, so that connecting takes for ever.
    const FullBacklog nobody(GENERATE(false, true));
    ErrorLog errors;
    drey::RedisOptions options{.uri = nobody.uri(),
                               .connect_timeout = ample,
                               .timeout = brief,
                               .on_error = [&](const drey::Error& error) { errors.add(error); }};
    SECTION("for the whole call") {}
    SECTION("for as long as connecting may take") {
        std::swap(options.connect_timeout, options.timeout);
    }
    Cache cache(options);
    CHECK(cache.find("key").error() == Errc::unreachable);
    CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
    CHECK(errors.size() == 2);
}

TEST_CASE("name that takes for ever to resolve", "[redis][faults]") {
    support::Gate resolved;
    slow_names = &resolved;
    const std::size_t threads = support::running_threads();
    {
        ErrorLog errors;
        Cache cache({.uri = "redis://redis.slow:1",
                     .connect_timeout = brief,
                     .timeout = ample,
                     .on_error = [&](const drey::Error& error) { errors.add(error); }});
        CHECK(cache.find("key").error() == Errc::unreachable);
        CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
        CHECK(cache.put("key", "value") == false);
        CHECK(errors.size() == 3);
        CHECK(support::running_threads() <= threads + 1);  // one look-up, not three
        if (GENERATE(false, true)) {
            // The answer of that look-up is good for who asks next.
            resolved.open();
            CHECK(eventually([&] { return support::running_threads() == threads; }));
            CHECK(cache.find("key").error() == Errc::unreachable);  // refused, by that address
            CHECK(errors.last().reason != errors.all().front().reason);
            return;
        }
    }
    resolved.open();  // the look-up ends after its cache
    CHECK(eventually([&] { return support::running_threads() == threads; }));
}

TEST_CASE("pool whose connections are all in use", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = f.options();
    options.mode = RedisMode::pool;
    options.connections = 1;
    options.timeout = brief;
    Cache& cache = f.make(options);
    REQUIRE(f.works());
    f.proxy.blackhole();
    support::in_threads(
        3, [&](std::size_t) { CHECK_NOTHROW(cache.get_or_load("key", [] { return "loaded"s; })); });
    CHECK(f.errors.size() == 3);
    // Who got the connection waited for the server, the others for the connection, of which there
    // may have been a moment left.
    for (const auto& error : f.errors.all())
        CHECK((error.code == Errc::saturated || error.code == Errc::timed_out ||
               error.code == Errc::unreachable));
    f.proxy.heal();
    f.check_recovers();
}
