#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drey/redis/connection.hpp"
#include "redis_protocol/fake_transport.hpp"
#include "support/catch.hpp"

// How a connection introduces itself, and that nothing it says afterwards holds the password.

namespace {

using drey::Errc;
using drey::redis::Connection;
using drey::redis::Login;
using drey::redis::Outcome;
using fake::Commands;

const Login everything{"alice", "s3cr3t", 7};

Outcome log_in(fake::Server& server, const Login& login) {
    Outcome outcome;
    Connection connection(server.dial()(fake::far, outcome));
    REQUIRE(outcome.ok());
    return connection.log_in(login, fake::far);
}

/// How it goes if the server answers AUTH and SELECT with this.
Outcome log_in(const std::string& answer, bool breaks = false) {
    fake::Server server;
    auto& script = server.connection();
    script.expects({{"AUTH", "alice", "s3cr3t"}, {"SELECT", "7"}}).answers(answer);
    if (breaks) script.breaks();
    const Outcome outcome = log_in(server, everything);
    CHECK(server.is_satisfied());
    return outcome;
}

}  // namespace

TEST_CASE("AUTH and SELECT go in one round trip") {
    fake::Server server;
    server.connection()
        .expects({{"AUTH", "alice", "s3cr3t"}, {"SELECT", "7"}})
        .trickles("+OK\r\n+OK\r\n");
    CHECK(log_in(server, everything).ok());
    CHECK(server.is_satisfied());
    CHECK(server.sends == 1);
    CHECK(server.aborts == 0);
}

TEST_CASE("only what is needed is said") {
    const std::vector<std::pair<Login, std::string>> logins{
        {{"", "s3cr3t", 0}, fake::wire({{"AUTH", "s3cr3t"}})},
        {{"alice", "s3cr3t", 0}, fake::wire({{"AUTH", "alice", "s3cr3t"}})},
        {{"", "", 3}, fake::wire({{"SELECT", "3"}})},
    };
    for (const auto& [login, bytes] : logins) {
        fake::Server server;
        server.connection().expects(bytes).answers("+OK\r\n");
        CHECK(log_in(server, login).ok());
        CHECK(server.is_satisfied());
    }
    fake::Server server;
    server.connection();
    CHECK(log_in(server, {}).ok());
    CHECK(server.sends == 0);
}

TEST_CASE("user without a password is that user and not the default one") {
    fake::Server server;
    server.connection().expects({{"AUTH", "alice", ""}}).answers("+OK\r\n");
    CHECK(log_in(server, {"alice", "", 0}).ok());
    CHECK(server.is_satisfied());
}

TEST_CASE("refused password or database is denied, with the step and the code") {
    const Outcome wrong = log_in("-WRONGPASS invalid username-password pair\r\n-NOAUTH no\r\n");
    CHECK(wrong.error == Errc::denied);
    CHECK(wrong.reason == "AUTH failed: WRONGPASS");

    const Outcome range = log_in("+OK\r\n-ERR DB index is out of range\r\n");
    CHECK(range.error == Errc::denied);
    CHECK(range.reason == "SELECT failed: ERR");
}

TEST_CASE("server that does not serve yet is unavailable, not a denial") {
    CHECK(log_in("-LOADING dataset\r\n-LOADING dataset\r\n").error == Errc::unavailable);
    CHECK(log_in("-ERR max number of clients reached\r\n", true).error == Errc::disconnected);
    CHECK(log_in("+OK\r\n-LOADING dataset\r\n").error == Errc::unavailable);
}

TEST_CASE("answers that are no status are nonsense") {
    for (const std::string answer :
         {":1\r\n", "$2\r\nOK\r\n", "$-1\r\n", "*0\r\n", "*1\r\n+OK\r\n"}) {
        INFO(answer);
        CHECK(log_in(answer + "+OK\r\n").error == Errc::protocol);
        CHECK(log_in("+OK\r\n" + answer).error == Errc::protocol);
    }
    CHECK(log_in("what?\r\n").error == Errc::protocol);
    CHECK(log_in("+OK\r\n+OK\r\n+OK\r\n").error == Errc::protocol);
}

TEST_CASE("whatever a server says, no reason quotes the password") {
    for (const std::string answer :
         {"-ERR unknown command 'AUTH', with args beginning with: 'alice' 's3cr3t'\r\n+OK\r\n",
          "-s3cr3t\r\n+OK\r\n", "-s3cr3t is wrong\r\n+OK\r\n", "-ERR s3cr3t\r\n+OK\r\n",
          "+s3cr3t\r\n-ERR s3cr3t\r\n", "$6\r\ns3cr3t\r\n+OK\r\n", "+OK\r\n$6\r\ns3cr3t\r\n",
          "*2\r\n$4\r\nAUTH\r\n$6\r\ns3cr3t\r\n+OK\r\n", "s3cr3t\r\n",
          "+OK\r\n+OK\r\n$6\r\ns3cr3t\r\n"}) {
        INFO(answer);
        const Outcome outcome = log_in(answer);
        CHECK_FALSE(outcome.ok());
        CHECK(outcome.reason.find("s3cr3t") == std::string::npos);
        CHECK(outcome.reason.find("alice") == std::string::npos);
    }
}

TEST_CASE("password that looks like an error's code is not quoted either") {
    fake::Server server;
    server.connection().expects({{"AUTH", "SECRET"}}).answers("-SECRET is no password\r\n");
    const Outcome outcome = log_in(server, {"", "SECRET", 0});
    CHECK(outcome.error == Errc::denied);
    CHECK(outcome.reason.find("SECRET") == std::string::npos);
}

TEST_CASE("login that is not answered leaves nothing behind") {
    for (const Errc how : {Errc::timed_out, Errc::disconnected}) {
        fake::Server server;
        server.connection()
            .expects({{"AUTH", "alice", "s3cr3t"}, {"SELECT", "7"}})
            .answers("+OK\r\n+O")
            .breaks({how, "so"});
        CHECK(log_in(server, everything).error == how);
        CHECK(server.is_satisfied());
        CHECK(server.aborts == 1);
        CHECK(server.open == 0);
    }
    fake::Server server;
    server.connection().refuses({Errc::disconnected, "so"});
    CHECK(log_in(server, everything).error == Errc::disconnected);
    CHECK(server.open == 0);
}
