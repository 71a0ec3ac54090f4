#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "drey/redis/lane.hpp"
#include "redis_protocol/echo_server.hpp"
#include "redis_protocol/fake_transport.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// Many threads over one connection: each gets its own replies or a failure, once.

namespace {

using drey::Errc;
using drey::redis::Call;
using drey::redis::Connecting;
using drey::redis::Lane;
using drey::redis::Repeat;
using fake::Ask;
using fake::bulk;
using fake::EchoServer;
using fake::Weather;

Connecting connecting(drey::redis::Dial dial) {
    return {std::move(dial), {}, std::chrono::seconds(1)};
}

/// What became of many calls.
struct Tally {
    std::atomic<std::size_t> ok{0};
    std::atomic<std::size_t> failed{0};
    support::Failures wrong;
};

/// Threads that each run calls of one to three commands with keys of their own. One call of
/// `hurried` has no time left when it begins.
void storm(EchoServer& server, std::size_t threads, std::size_t calls, std::size_t hurried,
           Tally& tally) {
    const Connecting to = connecting(server.dial());
    Lane lane(to);
    support::in_threads(threads, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::size_t i = 0; i < calls; ++i) {
            const std::string key = std::to_string(thread) + ":" + std::to_string(i);
            const std::string large = key + std::string(random.below(200), 'x');
            const auto repeat = random.below(2) == 0 ? Repeat::yes : Repeat::no;
            const auto deadline =
                hurried != 0 && random.below(hurried) == 0 ? fake::past : fake::far;
            std::optional<Ask> ask;
            const std::size_t size = random.below(3);
            if (size == 0) ask.emplace(key, repeat, deadline);
            if (size == 1)
                ask.emplace(fake::Commands{{"GET", key}, {"GET", large}}, repeat, deadline);
            if (size == 2)
                ask.emplace(fake::Commands{{"GET", key}, {"GET", ""}, {"GET", large}}, repeat,
                            deadline);
            lane.run(ask->call);
            tally.wrong.expect(ask->call.finished());
            if (!ask->ok()) {
                ++tally.failed;
                continue;
            }
            ++tally.ok;
            tally.wrong.expect(ask->text() == key);
            if (size > 0) tally.wrong.expect(ask->replies.back().text == large);
            if (size > 1) tally.wrong.expect(ask->replies[1].text.empty());
        }
    });
    CHECK(tally.wrong.count() == 0);
    CHECK(tally.ok + tally.failed == threads * calls);
    CHECK_FALSE(server.was_shared);
    CHECK(server.open <= 1);
}

}  // namespace

TEST_CASE("single thread's calls go one by one over one connection") {
    fake::Server server;
    server.connection()
        .expects({{"GET", "a"}})
        .answers(bulk("1"))
        .expects({{"GET", "b"}})
        .answers(bulk("2"));
    const Connecting to = connecting(server.dial());
    Lane lane(to);
    CHECK_FALSE(lane.connected());
    Ask a("a"), b("b");
    lane.run(a.call);
    CHECK(a.text() == "1");
    CHECK(lane.connected());
    lane.run(b.call);
    CHECK(b.text() == "2");
    CHECK(server.is_satisfied());
}

TEST_CASE("lane goes on after failures of each kind") {
    fake::Server server;
    server.refuses({Errc::unreachable, "refused"});
    server.has_no_memory();
    server.connection().expects({{"GET", "c"}}).is_silent();
    server.connection().expects({{"GET", "d"}}).answers(bulk("4"));
    const Connecting to = connecting(server.dial());
    Lane lane(to);
    Ask a("a"), b("b"), c("c", Repeat::yes, fake::past), d("d");
    lane.run(a.call);
    CHECK(a.failed(Errc::unreachable));
    lane.run(b.call);
    CHECK(b.failed(Errc::unreachable));
    lane.run(c.call);
    CHECK(c.failed(Errc::timed_out));
    CHECK_FALSE(lane.connected());
    lane.run(d.call);
    CHECK(d.text() == "4");
}

TEST_CASE("each of many threads gets its own replies", "[concurrent]") {
    EchoServer server(1);
    Tally tally;
    const std::size_t calls = support::ops(2000);
    storm(server, 8, calls, 0, tally);
    CHECK(tally.failed == 0);
    CHECK(server.connects == 1);
}

TEST_CASE("two threads that take turns at driving lose no call", "[concurrent]") {
    EchoServer server(2);
    Tally tally;
    storm(server, 2, support::ops(20000), 0, tally);
    CHECK(tally.failed == 0);
}

TEST_CASE("concurrent callers share sends", "[concurrent]") {
    EchoServer server(3);
    Tally tally;
    const std::size_t calls = 1000;
    storm(server, 16, calls, 0, tally);
    CHECK(server.sends < 16 * calls);
}

TEST_CASE("in any weather each call finishes once, with its own replies or a failure",
          "[concurrent]") {
    const Weather everything{200, 20, 50, 5, 10};
    const std::vector<Weather> weathers{
        {0, 50, 0, 0, 0},  {500, 50, 0, 0, 0}, {0, 0, 100, 0, 0},
        {0, 0, 0, 100, 0}, {0, 0, 0, 0, 100},  everything,
    };
    std::uint64_t seed = 10;
    for (const Weather& weather : weathers) {
        INFO("seed " << seed);
        EchoServer server(seed++, weather);
        Tally tally;
        storm(server, 8, support::ops(1000), 4, tally);
        CHECK(tally.ok > 0);
    }
}

TEST_CASE("two lanes to one server do not mix their replies", "[concurrent]") {
    EchoServer server(4, {100, 10, 10, 1, 1});
    const Connecting to = connecting(server.dial());
    Lane lanes[2] = {Lane(to), Lane(to)};
    support::Failures wrong;
    support::in_threads(6, [&](std::size_t thread) {
        for (std::size_t i = 0; i < support::ops(1000); ++i) {
            const std::string key = std::to_string(thread) + ":" + std::to_string(i);
            Ask ask(key);
            lanes[(thread + i) % 2].run(ask.call);
            wrong.expect(ask.call.finished());
            wrong.expect(!ask.ok() || ask.text() == key);
        }
    });
    CHECK(wrong.count() == 0);
}

namespace {

/// A server whose script runs on while other threads are at certain points.
struct Held {
    /// Runs a call on a thread of its own.
    std::thread run(Ask& ask) {
        return std::thread([&] { lane.run(ask.call); });
    }

    fake::Server server;
    const Connecting to = connecting(server.dial());
    Lane lane{to};
};

/// Opens a door for a while at most: what takes longer has hung.
bool comes(const std::atomic<bool>& event) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!event) {
        if (std::chrono::steady_clock::now() > limit) return false;
        std::this_thread::yield();
    }
    return true;
}

}  // namespace

TEST_CASE("driver whose time is up first hands over and goes", "[concurrent]") {
    // The round of b, c and d has b as its driver or as a passenger, as the threads arrive; each of
    // the three is tried as the one that leaves.
    for (const std::size_t leaver : {0u, 1u, 2u}) {
        EchoServer server(5, {0, 0, 400, 0, 0});
        const Connecting to = connecting(server.dial());
        Lane lane(to);
        support::Failures wrong;
        for (std::size_t round = 0; round < support::ops(300); ++round) {
            support::in_threads(3, [&](std::size_t thread) {
                const std::string key = std::to_string(thread) + ":" + std::to_string(round);
                Ask ask(key, Repeat::yes, thread == leaver ? fake::past : fake::far);
                lane.run(ask.call);
                wrong.expect(ask.ok() ? ask.text() == key
                                      : thread == leaver && ask.failed(Errc::timed_out));
            });
        }
        CHECK(wrong.count() == 0);
    }
}

TEST_CASE("heir of a driver whose time is up is answered", "[concurrent]") {
    // Whether two calls share a round is up to the threads, so it is tried until they have, with
    // the one out of time as the driver.
    bool shared = false;
    for (int attempt = 0; attempt < 100000 && !shared; ++attempt) {
        std::atomic<std::size_t> waiting{0};
        fake::Server server;
        server.connection()
            .expects({{"GET", "a"}})
            .then([&] {
                ++waiting;
                while (waiting < 3) std::this_thread::yield();
                for (int i = 0; i < 20; ++i) std::this_thread::yield();
            })
            .answers(bulk("1"))
            .expects({{"GET", "b"}, {"GET", "c"}})
            .is_silent()
            .answers(bulk("2"))
            .answers(bulk("3"));
        const Connecting to = connecting(server.dial());
        Lane lane(to);
        Ask a("a"), b("b", Repeat::no, fake::past), c("c", Repeat::no);
        std::vector<std::thread> threads;
        for (Ask* const ask : {&a, &b, &c}) {
            const std::size_t turn = threads.size();
            threads.emplace_back([&, ask, turn] {
                while (waiting < turn) std::this_thread::yield();
                if (turn > 0) ++waiting;
                lane.run(ask->call);
            });
        }
        for (std::thread& thread : threads) thread.join();
        REQUIRE(a.text() == "1");
        REQUIRE(b.call.finished());
        REQUIRE(c.call.finished());
        // Anything but the script means that they had rounds of their own, or c drove.
        shared = server.is_satisfied();
        if (shared) {
            CHECK(b.failed(Errc::timed_out));
            CHECK(c.text() == "3");
        }
    }
    CHECK(shared);
}

TEST_CASE("call that queues does not wait longer than its own time", "[concurrent]") {
    Held held;
    support::Gate answered;
    std::atomic<bool> sent{false};
    held.server.connection()
        .expects({{"GET", "slow"}})
        .then([&] {
            sent = true;
            answered.wait();
        })
        .answers(bulk("1"));
    Ask slow("slow");
    std::thread driver = held.run(slow);
    const bool was_sent = comes(sent);

    // As in the last round trip of a call that had several, of which most of the time is gone.
    std::atomic<bool> left{false};
    Ask late("late", Repeat::yes, std::chrono::steady_clock::now());
    std::thread passenger([&] {
        held.lane.run(late.call);
        left = true;
    });
    const bool left_in_time = was_sent && comes(left);
    answered.open();
    driver.join();
    passenger.join();
    CHECK(was_sent);
    CHECK(left_in_time);
    CHECK(late.failed(Errc::timed_out));
    CHECK(slow.text() == "1");
}
