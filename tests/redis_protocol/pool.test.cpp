#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "drey/redis/pool.hpp"
#include "redis_protocol/echo_server.hpp"
#include "redis_protocol/fake_transport.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// A bounded number of connections, each for one call at a time.

namespace {

using drey::Errc;
using drey::redis::Connecting;
using drey::redis::Outcome;
using drey::redis::Pool;
using drey::redis::Repeat;
using fake::Ask;
using fake::bulk;
using fake::EchoServer;

Connecting connecting(drey::redis::Dial dial) {
    return {std::move(dial), {}, std::chrono::seconds(1)};
}

/// A server that never answers before it is let; then it echoes.
class Gated {
public:
    drey::redis::Dial dial() {
        return [this](drey::redis::TimePoint deadline, Outcome& outcome) {
            return std::unique_ptr<drey::redis::Transport>(
                std::make_unique<Stream>(*this, echo_.dial()(deadline, outcome)));
        };
    }

    support::Gate gate;
    std::atomic<std::size_t> waiting{0};  ///< threads that wait for an answer, or did
    std::atomic<std::size_t> dialled{0};

private:
    class Stream final : public drey::redis::Transport {
    public:
        Stream(Gated& server, std::unique_ptr<drey::redis::Transport> echo)
            : server_(server), echo_(std::move(echo)) {
            ++server_.dialled;
        }
        Outcome send(std::span<const std::string_view> parts,
                     drey::redis::TimePoint deadline) override {
            return echo_->send(parts, deadline);
        }
        Outcome receive(std::span<char> room, std::size_t& got,
                        drey::redis::TimePoint deadline) override {
            ++server_.waiting;
            server_.gate.wait();
            return echo_->receive(room, got, deadline);
        }
        void abort() noexcept override {}
        bool is_quiet() override { return true; }

    private:
        Gated& server_;
        std::unique_ptr<drey::redis::Transport> echo_;
    };

    EchoServer echo_{1};
};

void wait_for(const std::atomic<std::size_t>& count, std::size_t most) {
    while (count < most) std::this_thread::yield();
}

}  // namespace

TEST_CASE("pool makes connections as they are needed and uses the last one first") {
    fake::Server server;
    server.connection()
        .expects({{"GET", "a"}})
        .answers(bulk("1"))
        .expects({{"GET", "b"}})
        .answers(bulk("2"));
    const Connecting to = connecting(server.dial());
    Pool pool(to, 8);
    CHECK_FALSE(pool.connected());
    CHECK(server.connects == 0);
    Ask a("a"), b("b");
    pool.run(a.call);
    CHECK(pool.connected());
    pool.run(b.call);
    CHECK(a.text() == "1");
    CHECK(b.text() == "2");
    CHECK(server.connects == 1);
}

TEST_CASE("connection is given back after failures of each kind") {
    fake::Server server;
    server.refuses({Errc::unreachable, "refused"});
    server.has_no_memory();
    server.connection().expects({{"GET", "c"}}).is_silent();
    server.connection().expects({{"GET", "d"}}).breaks();
    server.connection().expects({{"GET", "e"}}).answers("nonsense\r\n");
    server.connection().expects({{"GET", "f"}}).answers(bulk("6"));
    const Connecting to = connecting(server.dial());
    Pool pool(to, 1);
    Ask a("a"), b("b"), c("c", Repeat::yes, fake::past), d("d", Repeat::no), e("e", Repeat::no),
        f("f");
    // The deadlines of those that follow are far: were the connection not back, they would hang.
    pool.run(a.call);
    CHECK(a.failed(Errc::unreachable));
    pool.run(b.call);
    CHECK(b.failed(Errc::unreachable));
    pool.run(c.call);
    CHECK(c.failed(Errc::timed_out));
    CHECK_FALSE(pool.connected());
    pool.run(d.call);
    CHECK(d.failed(Errc::disconnected));
    pool.run(e.call);
    CHECK(e.failed(Errc::protocol));
    pool.run(f.call);
    CHECK(f.text() == "6");
    CHECK(server.is_satisfied());
}

TEST_CASE("call times out while all connections are in use", "[concurrent]") {
    Gated server;
    const Connecting to = connecting(server.dial());
    Pool pool(to, 2);
    Ask a("a"), b("b");
    std::thread first([&] { pool.run(a.call); });
    std::thread second([&] { pool.run(b.call); });
    wait_for(server.waiting, 2);

    Ask late("late", Repeat::yes, fake::past);
    pool.run(late.call);
    CHECK(late.failed(Errc::saturated));
    Ask soon("soon", Repeat::yes, std::chrono::steady_clock::now() + std::chrono::milliseconds(20));
    pool.run(soon.call);
    CHECK(soon.failed(Errc::saturated));
    CHECK(std::chrono::steady_clock::now() >= soon.call.deadline);

    server.gate.open();
    first.join();
    second.join();
    CHECK(a.text() == "a");
    CHECK(b.text() == "b");
}

TEST_CASE("who waits for a connection gets the first that comes free", "[concurrent]") {
    Gated server;
    const Connecting to = connecting(server.dial());
    Pool pool(to, 3);
    support::Failures wrong;
    std::vector<std::thread> threads;
    for (int i = 0; i < 20; ++i)
        threads.emplace_back([&, key = std::to_string(i)] {
            Ask ask(key);
            pool.run(ask.call);
            wrong.expect(ask.ok() && ask.text() == key);
        });
    wait_for(server.waiting, 3);
    CHECK(server.dialled == 3);
    server.gate.open();
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong.count() == 0);
    CHECK(server.dialled == 3);
}

TEST_CASE("pool in any weather answers each call with its own or fails it", "[concurrent]") {
    EchoServer server(6, {200, 20, 50, 5, 10});
    {
        const Connecting to = connecting(server.dial());
        Pool pool(to, 3);
        support::Failures wrong;
        std::atomic<std::size_t> ok{0};
        support::in_threads(8, [&](std::size_t thread) {
            support::Random random(thread);
            for (std::size_t i = 0; i < support::ops(1000); ++i) {
                const std::string key = std::to_string(thread) + ":" + std::to_string(i);
                Ask ask({{"GET", key}, {"GET", "second" + key}},
                        i % 2 == 0 ? Repeat::yes : Repeat::no,
                        random.below(4) == 0 ? fake::past : fake::far);
                pool.run(ask.call);
                wrong.expect(ask.call.finished());
                if (!ask.ok()) continue;
                ++ok;
                wrong.expect(ask.text() == key && ask.replies[1].text == "second" + key);
                wrong.expect(server.open <= 3);
            }
        });
        CHECK(wrong.count() == 0);
        CHECK(ok > 0);
        CHECK_FALSE(server.was_shared);
    }
    CHECK(server.open == 0);
}
