#include <hiredis/hiredis.h>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "support/catch.hpp"
#include "support/redis_server.hpp"

namespace {

using namespace std::string_literals;
using support::no_redis_server;
using support::RedisClient;
using support::RedisServer;

/// Says what one would read at a prompt.
std::string text(const support::RedisReply& reply) {
    switch (reply.type) {
        case '_':
            return "(nil)";
        case ':':
            return std::to_string(reply.integer);
        case '*': {
            std::string all;
            for (const auto& element : reply.elements) all += "[" + text(element) + "]";
            return all;
        }
        default:
            return reply.type + reply.text;
    }
}

}  // namespace

TEST_CASE("server answers commands with every type of reply", "[harness][redis]") {
    if (no_redis_server()) return;
    RedisServer server;
    CHECK(text(server.command({"SET", "a", "b\0c"s})) == "+OK");
    CHECK(text(server.command({"GET", "a"})) == "$b\0c"s);
    CHECK(text(server.command({"GET", "none"})) == "(nil)");
    CHECK(text(server.command({"INCR", "n"})) == "1");
    CHECK(text(server.command({"MGET", "n", "none"})) == "[$1][(nil)]");
    CHECK(server.command({"INCR", "a"}).is_error());
    const std::string large(8 << 20, 'x');
    server.command({"SET", "large", large});
    CHECK(server.command({"GET", "large"}).text == large);
}

TEST_CASE("server is reached by port and by unix socket, with hiredis too", "[harness][redis]") {
    if (no_redis_server()) return;
    RedisServer server;
    CHECK(server.uri() == "redis://127.0.0.1:" + std::to_string(server.port()));
    CHECK(server.socket_uri() == "unix://" + server.socket_path());
    for (const bool over_tcp : {true, false}) {
        const std::unique_ptr<redisContext, void (*)(redisContext*)> context(
            over_tcp ? redisConnect("127.0.0.1", server.port())
                     : redisConnectUnix(server.socket_path().c_str()),
            redisFree);
        REQUIRE(context->err == 0);
        const std::unique_ptr<void, void (*)(void*)> reply(redisCommand(context.get(), "PING"),
                                                           freeReplyObject);
        REQUIRE(reply != nullptr);
        CHECK(static_cast<redisReply*>(reply.get())->str == "PONG"s);
    }
}

TEST_CASE("restart keeps the port and loses the data", "[harness][redis]") {
    if (no_redis_server()) return;
    RedisServer server;
    const auto port = server.port();
    server.command({"SET", "a", "b"});
    SECTION("by itself") { server.restart(); }
    SECTION("after it was killed") {
        server.kill();
        CHECK_THROWS_AS(RedisClient("", port), std::system_error);
        CHECK_THROWS_AS(server.command({"PING"}), std::system_error);
        server.start();
    }
    SECTION("after it was stopped") {
        server.stop();
        CHECK_THROWS_AS(RedisClient("", port), std::system_error);
        server.start();
    }
    CHECK(server.port() == port);
    CHECK(RedisClient("", port).command({"GET", "a"}).is_nil());
    CHECK(server.command({"GET", "a"}).is_nil());
}

TEST_CASE("paused server accepts, answers nothing, and answers once resumed", "[harness][redis]") {
    if (no_redis_server()) return;
    RedisServer server;
    server.pause();
    RedisClient client("", server.port());
    client.send({"PING"});
    CHECK(client.wait(std::chrono::milliseconds(20)) == false);
    server.resume();
    CHECK(client.receive().text == "PONG");
}

TEST_CASE("paused server can be stopped", "[harness][redis]") {
    if (no_redis_server()) return;
    RedisServer server;
    server.pause();
    server.stop();
    CHECK_THROWS_AS(RedisClient("", server.port()), std::system_error);
}

TEST_CASE("server takes arguments: a password, users, a memory limit", "[harness][redis]") {
    if (no_redis_server()) return;
    RedisServer server({.arguments = {"--maxmemory", "100kb", "--maxmemory-policy", "noeviction",
                                      "--user", "reader", "on", ">word", "~*", "+get"},
                        .password = "secret"});
    CHECK(server.uri_at(7) == "redis://:secret@127.0.0.1:7");
    RedisClient client("", server.port());
    CHECK_THAT(client.command({"GET", "a"}).text, Catch::Matchers::StartsWith("NOAUTH"));
    CHECK_THAT(client.command({"AUTH", "reader", "word"}).text, Catch::Matchers::Equals("OK"));
    CHECK(client.command({"GET", "a"}).is_nil());
    CHECK_THAT(client.command({"SET", "a", "b"}).text, Catch::Matchers::StartsWith("NOPERM"));
    CHECK_THAT(server.command({"SET", "a", "b"}).text, Catch::Matchers::StartsWith("OOM"));
}

TEST_CASE("replica refuses writes", "[harness][redis]") {
    if (no_redis_server()) return;
    RedisServer master;
    master.command({"SET", "a", "b"});
    RedisServer replica({.arguments = {"--replicaof", "127.0.0.1", std::to_string(master.port())}});
    CHECK_THAT(replica.command({"SET", "a", "c"}).text, Catch::Matchers::StartsWith("READONLY"));
    CHECK(support::eventually([&] { return replica.command({"GET", "a"}).text == "b"; }));
}

TEST_CASE("server that does not start says why", "[harness][redis]") {
    if (no_redis_server()) return;
    CHECK_THROWS_WITH(RedisServer({.arguments = {"--no-such-option", "1"}}),
                      Catch::Matchers::ContainsSubstring("no-such-option"));
}

TEST_CASE("server leaves nothing behind", "[harness][redis]") {
    if (no_redis_server()) return;
    const auto descriptors = support::open_descriptors();
    std::string path;
    {
        RedisServer server;
        server.command({"PING"});
        path = server.socket_path();
        CHECK(std::filesystem::exists(path));
    }
    CHECK_FALSE(std::filesystem::exists(std::filesystem::path(path).parent_path()));
    CHECK(support::open_descriptors() == descriptors);
}

TEST_CASE("server with TLS has a certificate that its authority vouches for",
          "[harness][redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    const support::TlsFiles files, others;
    RedisServer server({.tls = &files});
    CHECK(server.tls_uri() == "rediss://localhost:" + std::to_string(server.tls_port()));

    const auto code = [&](const std::string& ca_file, const std::string& name) {
        const support::TemporaryFolder folder;
        support::Process client(
            {"openssl", "s_client", "-connect", "127.0.0.1:" + std::to_string(server.tls_port()),
             "-CAfile", ca_file, "-cert", files.client_cert(), "-key", files.client_key(),
             "-verify_hostname", name, "-verify_return_error", "-no-CApath", "-no-CAstore"},
            folder / "said");
        return client.wait();
    };
    CHECK(code(files.ca_file(), "localhost") == 0);
    CHECK(code(files.ca_file(), "elsewhere") != 0);
    CHECK(code(others.ca_file(), "localhost") != 0);
}
