#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "drey/redis/options.hpp"
#include "support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using drey::RedisMode;
using drey::RedisOptions;

void check(const RedisOptions& options) { drey::detail::check(options); }

}  // namespace

#define CHECK_REFUSED(field, ...)                                            \
    CHECK_THROWS_AS(check(RedisOptions __VA_ARGS__), std::invalid_argument); \
    CHECK_THROWS_WITH(check(RedisOptions __VA_ARGS__), ContainsSubstring("drey: " field))

TEST_CASE("wrong redis option is refused by its name", "[redis][options]") {
    CHECK_REFUSED("uri: scheme", {.uri = ""});
    CHECK_REFUSED("uri: port", {.uri = "redis://h:x"});
    CHECK_REFUSED("prefix", {.prefix = ""});
    CHECK_REFUSED("ttl", {.ttl = -1ns});
    CHECK_REFUSED("jitter", {.jitter = -0.1});
    CHECK_REFUSED("jitter", {.jitter = 1.0});
    CHECK_REFUSED("jitter", {.jitter = std::nan("")});
    CHECK_REFUSED("connect_timeout", {.connect_timeout = 0s});
    CHECK_REFUSED("connect_timeout", {.connect_timeout = -1s});
    CHECK_REFUSED("timeout", {.timeout = 0s});
    CHECK_REFUSED("timeout", {.timeout = std::chrono::duration<double>(std::nan(""))});
    CHECK_REFUSED("connections", {.connections = 1025});
    CHECK_REFUSED("breaker.failures", {.breaker = {.failures = 0}});
    CHECK_REFUSED("breaker.window", {.breaker = {.window = 0s}});
    CHECK_REFUSED("breaker.open_for", {.breaker = {.open_for = 0s}});
    CHECK_REFUSED("tls.cert_file and tls.key_file",
                  {.uri = "rediss://h", .tls = {.cert_file = "c"}});
    CHECK_REFUSED("tls.cert_file and tls.key_file",
                  {.uri = "rediss://h", .tls = {.key_file = "k"}});
    CHECK_REFUSED("lease ", {.lease = -1ns});
    CHECK_REFUSED("lease_wait", {.lease_wait = -1ns});
}

TEST_CASE("tls options of a connection in the clear are refused, not ignored", "[redis][options]") {
    CHECK_REFUSED("tls", {.uri = "redis://h", .tls = {.ca_file = "ca"}});
    CHECK_REFUSED("tls", {.uri = "unix:///a", .tls = {.verify = false}});
    CHECK_NOTHROW(check({.uri = "rediss://h", .tls = {.ca_file = "ca", .server_name = "n"}}));
}

TEST_CASE("redis options at the edge of what is allowed are accepted", "[redis][options]") {
    CHECK_NOTHROW(check({}));
    CHECK_NOTHROW(check({.prefix = "p", .schema = std::numeric_limits<std::uint32_t>::max()}));
    CHECK_NOTHROW(check({.ttl = 0s, .jitter = 0.999}));
    CHECK_NOTHROW(check({.connect_timeout = 1ns, .timeout = std::chrono::hours::max()}));
    CHECK_NOTHROW(check({.connections = 1024}));
    CHECK_NOTHROW(check({.breaker = {.failures = 1, .window = 1ns, .open_for = 1ns}}));
    CHECK_NOTHROW(check({.lease = 0s, .lease_wait = 0s}));
}

TEST_CASE("refused options never show the uri", "[redis][options]") {
    for (const char* uri : {"redis://u:S3cr3t@h", "redis://u:S3cr3t@h:x", "redis://u:S3cr3t/@h"}) {
        CHECK_THROWS_WITH(check({.uri = uri, .prefix = ""}), !ContainsSubstring("S3cr3t"));
    }
}

TEST_CASE("mode chooses the number of connections unless it is given", "[redis][options]") {
    CHECK(drey::detail::connection_count(RedisMode::pipeline, 0) == 1);
    CHECK(drey::detail::connection_count(RedisMode::pool, 0) == 8);
    CHECK(drey::detail::connection_count(RedisMode::pipeline, 3) == 3);
    CHECK(drey::detail::connection_count(RedisMode::pool, 1) == 1);
}
