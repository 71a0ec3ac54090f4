#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "drey/redis/channel.hpp"
#include "redis_protocol/fake_transport.hpp"
#include "redis_protocol/shown.hpp"
#include "support/catch.hpp"

// What becomes of calls when their connection fails, stalls, lies or was dead already.

namespace {

using drey::Errc;
using drey::redis::Call;
using drey::redis::Channel;
using drey::redis::Connecting;
using drey::redis::Repeat;
using fake::Ask;
using fake::bulk;
using fake::Commands;

struct Fixture {
    template <class... Asks>
    void start(Asks&... asks) {
        std::vector<Call*> batch{&asks.call...};
        channel.start(batch);
        CHECK(batch.empty());
    }
    void finish() {
        while (channel.any() != nullptr) channel.advance();
    }
    template <class... Asks>
    void run(Asks&... asks) {
        start(asks...);
        finish();
    }

    fake::Server server;
    const Connecting connecting{server.dial(), {}, std::chrono::seconds(1)};
    Channel channel{connecting};
};

/// One that has a connection, idle since a first call went well.
struct Connected : Fixture {
    Connected() {
        Ask first("first");
        script.expects({{"GET", "first"}}).answers("$-1\r\n");
        run(first);
        REQUIRE(first.ok());
    }

    fake::Script& script = server.connection();
};

}  // namespace

TEST_CASE("first call makes the connection, which stays") {
    Fixture f;
    CHECK_FALSE(f.channel.connected());
    f.server.connection()
        .expects({{"GET", "a"}})
        .answers(bulk("1"))
        .expects({{"GET", "b"}})
        .answers(bulk("2"));
    Ask a("a"), b("b");
    f.run(a);
    CHECK(a.text() == "1");
    CHECK(f.channel.connected());
    f.run(b);
    CHECK(b.text() == "2");
    CHECK(f.server.connects == 1);
    CHECK(f.server.is_satisfied());
}

TEST_CASE("batch is sent at once, in order") {
    Fixture f;
    f.server.connection()
        .expects({{"GET", "a"}, {"SET", "b", "x"}, {"GET", "b"}, {"GET", "c"}})
        .answers(bulk("1") + "+OK\r\n")
        .answers(bulk("x") + bulk("3"));
    Ask a("a"), b({{"SET", "b", "x"}, {"GET", "b"}}), c("c");
    f.run(a, b, c);
    CHECK(a.text() == "1");
    CHECK(shown(b.replies) == std::vector<std::string>{"+OK", "'x'"});
    CHECK(c.text() == "3");
    CHECK(f.server.sends == 1);
}

TEST_CASE("error reply is the reply to one call and fails no other") {
    Fixture f;
    f.server.connection()
        .expects({{"GET", "a"}, {"GET", "b"}, {"GET", "c"}})
        .answers(bulk("1") + "-WRONGTYPE no\r\n" + bulk("3"));
    Ask a("a"), b("b"), c("c");
    f.run(a, b, c);
    CHECK(a.text() == "1");
    CHECK((b.ok() && b.replies[0].is_error()));
    CHECK(c.text() == "3");
    CHECK(f.channel.connected());
}

TEST_CASE("connection is logged in before anything is sent") {
    fake::Server server;
    const Connecting connecting{server.dial(), {"", "pw", 2}, std::chrono::seconds(1)};
    Channel channel(connecting);
    server.connection()
        .expects({{"AUTH", "pw"}, {"SELECT", "2"}})
        .answers("+OK\r\n+OK\r\n")
        .expects({{"GET", "a"}})
        .answers(bulk("1"));
    Ask a("a");
    std::vector<Call*> batch{&a.call};
    channel.start(batch);
    while (channel.any() != nullptr) channel.advance();
    CHECK(a.text() == "1");
    CHECK(server.is_satisfied());
}

TEST_CASE("failed login fails all calls and keeps no connection") {
    fake::Server server;
    const Connecting connecting{server.dial(), {"", "pw", 0}, std::chrono::seconds(1)};
    Channel channel(connecting);
    server.connection().expects({{"AUTH", "pw"}}).answers("-WRONGPASS no\r\n");
    Ask a("a"), b("b", Repeat::no);
    std::vector<Call*> batch{&a.call, &b.call};
    channel.start(batch);
    while (channel.any() != nullptr) channel.advance();
    CHECK(a.failed(Errc::denied));
    CHECK(b.failed(Errc::denied));
    CHECK_FALSE(channel.connected());
    CHECK(server.open == 0);
}

TEST_CASE("failure to connect fails all calls, and the next tries again") {
    Fixture f;
    f.server.refuses({Errc::unreachable, "refused"});
    Ask a("a"), b("b", Repeat::no);
    f.run(a, b);
    CHECK(a.failed(Errc::unreachable));
    CHECK(a.call.outcome.reason == "refused");
    CHECK(b.failed(Errc::unreachable));
    CHECK(f.server.connects == 1);

    f.server.connection().expects({{"GET", "c"}}).answers(bulk("3"));
    Ask c("c");
    f.run(c);
    CHECK(c.text() == "3");
}

TEST_CASE("call that may be repeated is, once, on a fresh connection") {
    Connected f;
    f.script.expects({{"GET", "a"}}).breaks();
    f.server.connection().expects({{"GET", "a"}}).answers(bulk("1"));
    Ask a("a");
    f.run(a);
    CHECK(a.text() == "1");
    CHECK(f.server.is_satisfied());
    CHECK(f.server.open == 1);
    CHECK(f.server.aborts == 1);
}

TEST_CASE("call that may be repeated is not sent a third time") {
    Connected f;
    f.script.expects({{"GET", "a"}}).breaks();
    f.server.connection().expects({{"GET", "a"}}).breaks({Errc::disconnected, "again"});
    Ask a("a");
    f.run(a);
    CHECK(a.failed(Errc::disconnected));
    CHECK(a.call.outcome.reason == "again");
    CHECK(f.server.is_satisfied());
    CHECK(f.server.open == 0);
}

TEST_CASE("call that must not be repeated is not") {
    Connected f;
    f.script.expects({{"GET", "a"}}).breaks();
    Ask a("a", Repeat::no);
    f.run(a);
    CHECK(a.failed(Errc::disconnected));
    CHECK(f.server.is_satisfied());
    CHECK_FALSE(f.channel.connected());
}

TEST_CASE("call that was not sent to its end was not executed, and is repeated once") {
    Connected f;
    f.script.refuses();
    f.server.connection().expects({{"INCR", "a"}}).answers(":1\r\n");
    Ask a({{"INCR", "a"}}, Repeat::no);
    f.run(a);
    CHECK(a.ok());
    CHECK(f.server.is_satisfied());
}

TEST_CASE("of several that were not sent to the end, the first may have been executed") {
    Connected f;
    f.script.refuses();
    f.server.connection().expects({{"GET", "b"}}).answers(bulk("2"));
    Ask a({{"INCR", "a"}}, Repeat::no), b("b");
    f.run(a, b);
    CHECK(a.failed(Errc::disconnected));
    CHECK(b.text() == "2");
    CHECK(f.server.is_satisfied());
}

TEST_CASE("of a batch whose connection breaks, only what may be repeated is") {
    Connected f;
    f.script.expects({{"GET", "a"}, {"INCR", "b"}, {"GET", "c"}, {"GET", "d"}})
        .answers(bulk("1") + ":")
        .breaks();
    f.server.connection().expects({{"GET", "c"}, {"GET", "d"}}).answers(bulk("3") + bulk("4"));
    Ask a("a"), b({{"INCR", "b"}}, Repeat::no), c("c"), d("d");
    f.run(a, b, c, d);
    CHECK(a.text() == "1");
    CHECK(b.failed(Errc::disconnected));
    CHECK(c.text() == "3");
    CHECK(d.text() == "4");
    CHECK(f.server.is_satisfied());
}

TEST_CASE("call of several commands is repeated as a whole") {
    Connected f;
    f.script.expects({{"SET", "a", "1"}, {"GET", "a"}}).answers("-ERR half\r\n").breaks();
    f.server.connection().expects({{"SET", "a", "1"}, {"GET", "a"}}).answers("+OK\r\n" + bulk("1"));
    Ask a({{"SET", "a", "1"}, {"GET", "a"}});
    f.run(a);
    CHECK(shown(a.replies) == std::vector<std::string>{"+OK", "'1'"});
}

TEST_CASE("connection that died in its sleep is replaced before what must not be repeated") {
    Connected f;
    f.script.dies_asleep();
    f.server.connection().expects({{"INCR", "a"}}).answers(":1\r\n");
    Ask a({{"INCR", "a"}}, Repeat::no);
    f.run(a);
    CHECK(a.ok());
    CHECK(a.replies[0].integer == 1);
    CHECK(f.server.is_satisfied());
    CHECK(f.server.sent[0] == fake::wire({{"GET", "first"}}));
}

TEST_CASE("connection that died in its sleep costs what may be repeated its repetition") {
    Connected f;
    f.script.dies_asleep();
    f.server.connection().expects({{"GET", "a"}}).answers(bulk("1"));
    Ask a("a");
    f.run(a);
    CHECK(a.text() == "1");
    CHECK(f.server.is_satisfied());
}

TEST_CASE("bytes that nobody asked for replace the connection before what must not be repeated") {
    Connected f;
    f.script.answers(bulk("another's"));
    f.server.connection().expects({{"INCR", "a"}}).answers(":1\r\n");
    Ask a({{"INCR", "a"}}, Repeat::no);
    f.run(a);
    CHECK((a.ok() && a.replies[0].integer == 1));
    CHECK(f.server.connects == 2);
}

TEST_CASE("beginning of a reply that nobody asked for is not completed by the next call's") {
    Connected f;
    Ask a("a"), b({{"INCR", "b"}}, Repeat::no);
    f.script.expects({{"GET", "a"}})
        .answers(bulk("1") + "$9\r\nanother's")
        .expects({{"INCR", "b"}})
        .answers("\r\n:1\r\n");
    f.server.connection().expects({{"INCR", "b"}}).answers(":1\r\n");
    f.run(a);
    f.run(b);
    CHECK(a.text() == "1");
    CHECK((b.ok() && b.replies[0].integer == 1));
}

TEST_CASE("READONLY and NOAUTH end the connection once its calls are finished") {
    for (const std::string error : {"-READONLY replica\r\n", "-NOAUTH log in\r\n"}) {
        Connected f;
        f.script.expects({{"SET", "a", "1"}, {"GET", "b"}}).answers(error).answers(bulk("2"));
        f.server.connection().expects({{"GET", "c"}}).answers(bulk("3"));
        Ask a({{"SET", "a", "1"}}), b("b"), c("c");
        f.run(a, b);
        CHECK((a.ok() && a.replies[0].is_error()));
        CHECK(b.text() == "2");
        CHECK_FALSE(f.channel.connected());
        CHECK(f.server.aborts == 0);
        f.run(c);
        CHECK(c.text() == "3");
        CHECK(f.channel.connected());
    }
}

TEST_CASE("other errors keep the connection, as does data that looks like one") {
    Connected f;
    f.script.expects({{"GET", "a"}, {"GET", "b"}})
        .answers("-OOM no\r\n" + bulk("READONLY is a fine value"));
    Ask a("a"), b("b");
    f.run(a, b);
    CHECK(f.channel.connected());
}

TEST_CASE("call whose time is up leaves, and the others go on") {
    Connected f;
    f.script.expects({{"GET", "a"}, {"GET", "b"}, {"GET", "c"}})
        .answers(bulk("1"))
        .is_silent()
        .answers(bulk("2") + bulk("3"));
    Ask a("a"), b("b", Repeat::yes, fake::past), c("c");
    f.start(a, b, c);
    f.channel.advance();
    CHECK(a.text() == "1");
    f.channel.advance();
    CHECK(b.failed(Errc::timed_out));
    CHECK(f.channel.under_way() == 1);
    f.finish();
    CHECK(c.text() == "3");
    CHECK(b.replies[0].is_nil());
    CHECK(f.channel.connected());
}

TEST_CASE("late replies are never given to another call") {
    Connected f;
    f.script.expects({{"GET", "a"}}).is_silent();
    f.server.connection().expects({{"GET", "b"}}).answers(bulk("2"));
    Ask a("a", Repeat::yes, fake::past), b("b");
    f.run(a);
    CHECK(a.failed(Errc::timed_out));
    // What it owes may come at any time, so the connection is given up.
    CHECK_FALSE(f.channel.connected());
    CHECK(f.server.aborts == 1);
    f.run(b);
    CHECK(b.text() == "2");
}

TEST_CASE("connection that owes a part of a reply is given up") {
    Connected f;
    f.script.expects({{"GET", "a"}}).answers("$5\r\nhel").is_silent();
    Ask a("a", Repeat::no, fake::past);
    f.run(a);
    CHECK(a.failed(Errc::timed_out));
    CHECK_FALSE(f.channel.connected());
    CHECK(f.server.aborts == 1);
}

TEST_CASE("wait that ends early changes nothing") {
    Connected f;
    f.script.expects({{"GET", "a"}}).is_silent().is_silent().answers(bulk("1"));
    Ask a("a");
    f.run(a);
    CHECK(a.text() == "1");
}

TEST_CASE("nonsense ends the connection; what may be repeated is") {
    Connected f;
    f.script.expects({{"GET", "a"}, {"INCR", "b"}, {"GET", "c"}})
        .answers(bulk("1") + "HTTP/1.1 400 Bad Request\r\n");
    f.server.connection().expects({{"GET", "c"}}).answers("HTTP/1.1 400 Bad Request\r\n");
    Ask a("a"), b({{"INCR", "b"}}, Repeat::no), c("c");
    f.run(a, b, c);
    CHECK(a.text() == "1");
    CHECK(b.failed(Errc::protocol));
    CHECK(c.failed(Errc::protocol));
    CHECK_FALSE(f.channel.connected());
    CHECK(f.server.is_satisfied());
}

TEST_CASE("reply too many ends the connection and fails nobody") {
    Connected f;
    f.script.expects({{"GET", "a"}}).answers(bulk("1") + bulk("2"));
    Ask a("a");
    f.run(a);
    CHECK(a.text() == "1");
    CHECK_FALSE(f.channel.connected());
}

TEST_CASE("failed send is repeated as a failed wait is") {
    Connected f;
    f.script.refuses();
    f.server.connection().expects({{"GET", "a"}}).answers(bulk("1"));
    Ask a("a"), b({{"INCR", "b"}}, Repeat::no);
    f.run(b, a);
    CHECK(b.failed(Errc::disconnected));
    CHECK(a.text() == "1");
    CHECK(f.server.is_satisfied());
}

TEST_CASE("send that takes too long is not repeated") {
    Connected f;
    f.script.refuses({Errc::timed_out, ""});
    Ask a("a", Repeat::yes, fake::past);
    f.run(a);
    CHECK(a.failed(Errc::timed_out));
    CHECK(f.server.connects == 1);
    CHECK_FALSE(f.channel.connected());
}

TEST_CASE("call without time left does not take the others' when sending takes long") {
    Connected f;
    f.script.refuses({Errc::timed_out, ""});
    f.server.connection().expects({{"GET", "b"}}).answers(bulk("2"));
    Ask a("a", Repeat::yes, fake::past), b("b");
    f.run(a, b);
    CHECK(a.failed(Errc::timed_out));
    CHECK(b.ok());
    CHECK(f.server.is_satisfied());
}

TEST_CASE("call without time left does not take the others' when connecting takes long") {
    Fixture f;
    f.server.refuses({Errc::unreachable, "no connection in time"});
    f.server.connection().expects({{"GET", "b"}}).answers(bulk("2"));
    Ask a("a", Repeat::yes, fake::past), b("b");
    f.run(a, b);
    CHECK(a.call.finished());
    CHECK_FALSE(a.ok());
    CHECK(b.ok());
    CHECK(f.server.is_satisfied());
}

TEST_CASE("lack of memory finishes all calls, and the next go on with a fresh connection") {
    for (const int where : {0, 1, 2, 3}) {
        Fixture f;
        Ask a("a"), b("b", Repeat::no), c("c");
        switch (where) {
            case 0:
                f.server.has_no_memory();
                break;
            case 1:
                f.server.connection().has_no_memory();
                break;
            case 2:
                f.server.connection().expects({{"GET", "a"}, {"GET", "b"}}).has_no_memory();
                break;
            default:
                f.server.connection()
                    .expects({{"GET", "a"}, {"GET", "b"}})
                    .answers(bulk("1"))
                    .has_no_memory();
        }
        f.run(a, b);
        CHECK(a.ok() == (where == 3));
        CHECK(a.call.finished());
        CHECK(b.call.finished());
        CHECK_FALSE(b.ok());
        CHECK_FALSE(f.channel.connected());
        CHECK(f.server.open == 0);

        f.server.connection().expects({{"GET", "c"}}).answers(bulk("3"));
        f.run(c);
        CHECK(c.text() == "3");
    }
}

TEST_CASE("no connection outlives its channel, and one that owes replies is reset") {
    fake::Server server;
    Ask a("a");
    {
        const Connecting connecting{server.dial(), {}, std::chrono::seconds(1)};
        Channel channel(connecting);
        server.connection().expects({{"GET", "a"}});
        std::vector<Call*> batch{&a.call};
        channel.start(batch);
        channel.advance();
        CHECK(server.open == 1);
    }
    CHECK(server.open == 0);
    CHECK(server.aborts == 1);
}

TEST_CASE("large batch goes through in pieces of any size") {
    std::deque<Ask> asks;
    std::string sent, answer;
    std::vector<Call*> batch;
    for (int i = 0; i < 300; ++i) {
        const std::string key = std::to_string(i);
        batch.push_back(&asks.emplace_back(key).call);
        sent += fake::wire({{"GET", key}});
        answer += bulk(std::string(static_cast<std::size_t>(i) * 7, 'x') + key);
    }
    Fixture f;
    auto& script = f.server.connection().expects(sent);
    for (std::size_t at = 0; at < answer.size(); at += 997) script.answers(answer.substr(at, 997));
    f.channel.start(batch);
    f.finish();
    bool right = true;
    for (std::size_t i = 0; i < asks.size(); ++i)
        right = right && asks[i].ok() && asks[i].text().size() > 7 * i &&
                asks[i].text().substr(7 * i) == std::to_string(i);
    CHECK(right);
    CHECK(f.server.is_satisfied());
}
