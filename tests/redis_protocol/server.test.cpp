#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "drey/clock.hpp"
#include "drey/redis/server.hpp"
#include "redis_protocol/echo_server.hpp"
#include "redis_protocol/fake_transport.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// Connections and breaker together: what counts as a failure of the server.

namespace {

using drey::BreakerState;
using drey::Errc;
using drey::RedisMode;
using drey::redis::Repeat;
using drey::redis::Server;
using fake::Ask;
using fake::bulk;
using namespace std::chrono_literals;

struct Fixture {
    explicit Fixture(RedisMode mode = RedisMode::pipeline)
        : server({.uri = "redis://alice:pw@example.org:7000/2",
                  .mode = mode,
                  .connections = 1,
                  .breaker = {.failures = 2, .window = 10s, .open_for = 1s},
                  .clock = clock},
                 fake.dial()) {}

    fake::Script& connection() {
        return fake.connection()
            .expects({{"AUTH", "alice", "pw"}, {"SELECT", "2"}})
            .answers("+OK\r\n+OK\r\n");
    }
    /// A call and how it went.
    Ask& run(const char* key = "a") {
        asks.emplace_back(key, Repeat::no);
        server.run(asks.back().call);
        return asks.back();
    }

    fake::Server fake;
    drey::ManualClock clock{1h};
    Server server;
    std::deque<Ask> asks;
};

}  // namespace

TEST_CASE("server logs in as its uri says and tells its address without that") {
    for (const RedisMode mode : {RedisMode::pipeline, RedisMode::pool}) {
        Fixture f(mode);
        f.connection().expects({{"GET", "a"}}).answers(bulk("1"));
        CHECK_FALSE(f.server.connected());
        CHECK(f.run().text() == "1");
        CHECK(f.server.connected());
        CHECK(f.server.endpoint().address() == "example.org:7000");
    }
}

TEST_CASE("server that fails is not asked for a while, then once, then as usual") {
    for (const RedisMode mode : {RedisMode::pipeline, RedisMode::pool}) {
        Fixture f(mode);
        f.fake.refuses({Errc::unreachable, "refused"});
        f.fake.refuses({Errc::unreachable, "refused"});
        CHECK(f.run().failed(Errc::unreachable));
        CHECK(f.run().failed(Errc::unreachable));
        CHECK(f.server.breaker() == BreakerState::open);
        CHECK(f.run().failed(Errc::breaker_open));
        CHECK(f.fake.connects == 2);

        f.fake.refuses({Errc::unreachable, "refused"});
        f.clock.advance(1s);
        CHECK(f.run().failed(Errc::unreachable));
        CHECK(f.run().failed(Errc::breaker_open));
        CHECK(f.fake.connects == 3);

        f.connection()
            .expects({{"GET", "a"}})
            .answers(bulk("1"))
            .expects({{"GET", "a"}})
            .answers(bulk("1"));
        f.clock.advance(1s);
        CHECK(f.run().text() == "1");
        CHECK(f.server.breaker() == BreakerState::closed);
        CHECK(f.run().text() == "1");
    }
}

TEST_CASE("errors that are the command's fault are no failures of the server") {
    Fixture f;
    auto& script = f.connection();
    for (const char* error : {"ERR no", "WRONGTYPE no", "OOM no", "NOPERM no", "ERR no"}) {
        script.expects({{"GET", "a"}}).answers("-" + std::string(error) + "\r\n");
        CHECK(f.run().ok());
    }
    CHECK(f.server.breaker() == BreakerState::closed);
}

TEST_CASE("server that says that it does not serve counts as failing") {
    Fixture f;
    auto& script = f.connection();
    for (int i = 0; i < 2; ++i) {
        script.expects({{"GET", "a"}}).answers("-LOADING dataset\r\n");
        CHECK(f.run().ok());
    }
    CHECK(f.server.breaker() == BreakerState::open);
}

TEST_CASE("wrong password counts as failing, so that it is not tried all the time") {
    Fixture f;
    for (int i = 0; i < 2; ++i) {
        f.fake.connection()
            .expects({{"AUTH", "alice", "pw"}, {"SELECT", "2"}})
            .answers("-WRONGPASS no\r\n-NOAUTH no\r\n");
        CHECK(f.run().failed(Errc::denied));
    }
    CHECK(f.server.breaker() == BreakerState::open);
}

TEST_CASE("lack of memory during a probe leaves the breaker able to close") {
    Fixture f;
    f.fake.has_no_memory();
    f.fake.has_no_memory();
    f.fake.has_no_memory();
    CHECK_FALSE(f.run().ok());
    CHECK_FALSE(f.run().ok());
    REQUIRE(f.server.breaker() == BreakerState::open);
    f.clock.advance(1s);
    CHECK_FALSE(f.run().ok());
    CHECK(f.server.breaker() == BreakerState::open);
    f.clock.advance(1s);
    f.connection().expects({{"GET", "a"}}).answers(bulk("1"));
    CHECK(f.run().ok());
    CHECK(f.server.breaker() == BreakerState::closed);
}

TEST_CASE("lanes of a server take turns", "[concurrent]") {
    fake::EchoServer echo(7);
    Server server({.connections = 3}, echo.dial());
    support::Failures wrong;
    support::in_threads(6, [&](std::size_t thread) {
        for (std::size_t i = 0; i < support::ops(500); ++i) {
            const std::string key = std::to_string(thread) + ":" + std::to_string(i);
            Ask ask(key);
            server.run(ask.call);
            wrong.expect(ask.ok() && ask.text() == key);
        }
    });
    CHECK(wrong.count() == 0);
    CHECK(echo.connects == 3);
    CHECK(server.connected());
}

TEST_CASE("threads that share a failing server all come back", "[concurrent]") {
    for (const RedisMode mode : {RedisMode::pipeline, RedisMode::pool}) {
        drey::ManualClock clock;
        fake::EchoServer echo(8, {700, 100, 50, 10, 10});
        Server server({.mode = mode,
                       .connections = 2,
                       .breaker = {.failures = 3, .window = 10s, .open_for = 1s},
                       .clock = clock},
                      echo.dial());
        support::Failures wrong;
        support::in_threads(6, [&](std::size_t thread) {
            for (std::size_t i = 0; i < support::ops(1000); ++i) {
                clock.advance(20ms);
                const std::string key = std::to_string(thread) + ":" + std::to_string(i);
                Ask ask(key, Repeat::yes, i % 5 == 0 ? fake::past : fake::far);
                server.run(ask.call);
                wrong.expect(ask.call.finished() && (!ask.ok() || ask.text() == key));
            }
        });
        CHECK(wrong.count() == 0);
    }
}
