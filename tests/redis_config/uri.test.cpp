#include <cstddef>
#include <cstdint>
#include <ostream>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "drey/redis/endpoint.hpp"
#include "support/catch.hpp"

namespace drey {

std::ostream& operator<<(std::ostream& out, const RedisEndpoint& endpoint) {
    return out << endpoint.address() << " tls " << endpoint.tls << " user '" << endpoint.user
               << "' password '" << endpoint.password << "' database " << endpoint.database;
}

}  // namespace drey

namespace {

using namespace std::string_literals;
using Catch::Matchers::ContainsSubstring;
using drey::parse_redis_uri;
using drey::RedisEndpoint;

/// What a refusal says; empty if there is none.
std::string refusal(const std::string& uri) {
    try {
        parse_redis_uri(uri);
        return {};
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
}

}  // namespace

TEST_CASE("uri says where the server is and who we are", "[redis][uri]") {
    struct Case {
        std::string uri;
        RedisEndpoint endpoint;
    };
    const std::vector<Case> cases{
        {"redis://", {}},
        {"redis:///", {}},
        {"redis://localhost:6379/0", {}},
        {"redis://cache.example.com", {.host = "cache.example.com"}},
        {"redis://my_cache-1:1", {.host = "my_cache-1", .port = 1}},
        {"redis://10.0.0.1:65535", {.host = "10.0.0.1", .port = 65535}},
        {"redis://h/", {.host = "h"}},
        {"redis://h/7", {.host = "h", .database = 7}},
        {"redis://h?db=7", {.host = "h", .database = 7}},
        {"redis://h/?db=7", {.host = "h", .database = 7}},
        {"redis://h/7?", {.host = "h", .database = 7}},
        {"redis:///7", {.database = 7}},
        {"redis://h/2147483647", {.host = "h", .database = 2147483647}},
        {"redis://:6380", {.port = 6380}},
        {"rediss://h:1/2", {.host = "h", .port = 1, .tls = true, .database = 2}},
        {"REDIS://h", {.host = "h"}},
        {"Rediss://h", {.host = "h", .tls = true}},
        // who
        {"redis://@h", {.host = "h"}},
        {"redis://:@h", {.host = "h"}},
        {"redis://user@h", {.host = "h", .user = "user"}},
        {"redis://user:@h", {.host = "h", .user = "user"}},
        {"redis://:word@h", {.host = "h", .password = "word"}},
        {"redis://user:word@h:1/2",
         {.host = "h", .port = 1, .user = "user", .password = "word", .database = 2}},
        {"redis://user:word@", {.user = "user", .password = "word"}},
        {"redis://user:word@/3", {.user = "user", .password = "word", .database = 3}},
        // which '@' and which ':'
        {"redis://user:w@rd@h", {.host = "h", .user = "user", .password = "w@rd"}},
        {"redis://user:w:rd@h", {.host = "h", .user = "user", .password = "w:rd"}},
        {"redis://user:w@r:d@h:1", {.host = "h", .port = 1, .user = "user", .password = "w@r:d"}},
        {"redis://u@v:word@h", {.host = "h", .user = "u@v", .password = "word"}},
        {"redis://::@h", {.host = "h", .password = ":"}},
        // percent escapes
        {"redis://us%3aer:%2F%3f%23%40%25@h", {.host = "h", .user = "us:er", .password = "/?#@%"}},
        {"redis://:%00%0d%0A@h", {.host = "h", .password = "\0\r\n"s}},
        {"redis://:a+b c&d=e\xc3\xa4@h", {.host = "h", .password = "a+b c&d=e\xc3\xa4"}},
        // IPv6
        {"redis://[::1]", {.host = "::1"}},
        {"redis://[::1]:6380/1", {.host = "::1", .port = 6380, .database = 1}},
        {"redis://u:w@[2001:db8::7]:1",
         {.host = "2001:db8::7", .port = 1, .user = "u", .password = "w"}},
        {"redis://[fe80::1%25eth0]", {.host = "fe80::1%eth0"}},
        {"redis://[::ffff:10.0.0.1]", {.host = "::ffff:10.0.0.1"}},
        // unix sockets
        {"unix:///run/redis.sock", {.path = "/run/redis.sock"}},
        {"unix:///run/redis.sock?db=3", {.path = "/run/redis.sock", .database = 3}},
        {"UNIX:///a", {.path = "/a"}},
        {"unix://:word@/a", {.path = "/a", .password = "word"}},
        {"unix://user:w@rd@/a?db=0", {.path = "/a", .user = "user", .password = "w@rd"}},
        {"unix:///with%20space%3F/%40", {.path = "/with space?/@"}},
        {"unix:///a:b", {.path = "/a:b"}},
        {"unix://" + std::string(107, '/'), {.path = std::string(107, '/')}},
    };
    for (const Case& each : cases) {
        CAPTURE(each.uri);
        CHECK(refusal(each.uri) == "");
        if (refusal(each.uri).empty()) CHECK(parse_redis_uri(each.uri) == each.endpoint);
    }
}

TEST_CASE("wrong uri is refused by the part that is wrong", "[redis][uri]") {
    struct Case {
        std::string uri, part;
    };
    const std::vector<Case> cases{
        {"", "scheme"},
        {"localhost", "scheme"},
        {"localhost:6379", "scheme"},
        {"://h", "scheme"},
        {"redis:h", "scheme"},
        {"redis:/h", "scheme"},
        {"http://h", "scheme"},
        {"redissss://h", "scheme"},
        {" redis://h", "scheme"},
        {"redis\n://h", "scheme"},
        {"redis\0://h"s, "scheme"},
        // host
        {"redis://a b", "host"},
        {"redis://h%20", "host"},
        {"redis://h\r\nFLUSHALL", "host"},
        {"redis://h\0.evil"s, "host"},
        {"redis://h\x7f", "host"},
        {"redis://h\xc3\xa4", "host"},
        {"redis://a,b", "host"},
        {"redis://[::1", "host"},
        {"redis://[]", "host"},
        {"redis://[10.0.0.1]", "host"},
        {"redis://[::g]", "host"},
        {"redis://[::1%25]", "host"},
        {"redis://[::1%25e%20]", "host"},
        {"redis://[::1%2]", "host"},
        {"redis://[::1%00]", "host"},
        {"redis://[::1\0]"s, "host"},
        {"redis://::1", "IPv6"},
        {"redis://2001:db8::7:6379", "IPv6"},
        {"redis://" + std::string(254, 'a'), "host"},
        // port
        {"redis://h:", "port"},
        {"redis://h:0", "port"},
        {"redis://h:65536", "port"},
        {"redis://h:99999999999999999999", "port"},
        {"redis://h:-1", "port"},
        {"redis://h:+1", "port"},
        {"redis://h: 1", "port"},
        {"redis://h:1 ", "port"},
        {"redis://h:0x50", "port"},
        {"redis://h:63%379", "port"},
        {"redis://h:6379\n", "port"},
        {"redis://[::1]6379", "port"},
        {"redis://[::1]:", "port"},
        // database
        {"redis://h/a", "database"},
        {"redis://h/-1", "database"},
        {"redis://h/0/", "database"},
        {"redis://h//0", "database"},
        {"redis://h/2147483648", "database"},
        {"redis://h/%30", "database"},
        {"redis://h?db=", "database"},
        {"redis://h?db=x", "database"},
        {"redis://h/1?db=1", "database"},
        {"redis://h?db=1&db=2", "database"},
        {"unix:///a?db=-1", "database"},
        // query and fragment
        {"redis://h?timeout=1", "query"},
        {"redis://h?db=1&ssl=1", "query"},
        {"redis://h?DB=1", "query"},
        {"redis://h?&db=1", "query"},
        {"unix:///a?password=word", "query"},
        {"redis://h#", "fragment"},
        {"redis://h/0#f", "fragment"},
        {"unix:///a#b", "fragment"},
        // user and password
        {"redis://%zz@h", "user"},
        {"redis://%4:word@h", "user"},
        {"redis://:%@h", "password"},
        {"redis://:%4@h", "password"},
        {"redis://:wo%rd@h", "password"},
        {"redis://:w\n@h", "password"},
        {"redis://:w\0@h"s, "password"},
        // a password that should have been escaped
        {"redis://user:w/rd@h", "password"},
        {"redis://user:w?rd@h", "password"},
        {"redis://user:w#rd@h", "password"},
        {"redis://:6379/1@h", "password"},
        {"redis://w/rd@h", "password"},
        {"unix://:w/rd@/a", "password"},
        {"unix://:/rd@/a", "password"},
        // path
        {"unix://", "path"},
        {"unix://:word@", "path"},
        {"unix://?db=1", "path"},
        {"unix://run/redis.sock", "host"},
        {"unix://user@host/a", "host"},
        {"unix:///a%0", "path"},
        {"unix:///a%00b", "path"},
        {"unix:///a%0d%0a", "path"},
        {"unix:///a\nb", "path"},
        {"unix:///a\0b"s, "path"},
        {"unix:///a@b", "path"},
        {"unix://" + std::string(200, '/'), "path"},
    };
    for (const Case& each : cases) {
        CAPTURE(each.uri);
        CHECK_THROWS_AS(parse_redis_uri(each.uri), std::invalid_argument);
        CHECK_THAT(refusal(each.uri), ContainsSubstring("drey: uri: "));
        CHECK_THAT(refusal(each.uri), ContainsSubstring(each.part));
    }
}

TEST_CASE("address is for logs", "[redis][uri]") {
    CHECK(RedisEndpoint{}.address() == "localhost:6379");
    CHECK(parse_redis_uri("rediss://user:word@h:1/2").address() == "h:1");
    CHECK(parse_redis_uri("redis://:word@[::1]").address() == "[::1]:6379");
    CHECK(parse_redis_uri("unix://user:word@/run/redis.sock?db=2").address() ==
          "unix:/run/redis.sock");
}

TEST_CASE("endpoint survives being written as a uri", "[redis][uri]") {
    std::string every_byte;
    for (int byte = 0; byte < 256; ++byte) every_byte += static_cast<char>(byte);
    for (const std::string& word : {""s, "word"s, "a:b@c/d?e#f%41 g+h"s, "%"s, "@"s, every_byte}) {
        for (const std::string& user : {""s, "user"s, "us:er"s, every_byte}) {
            for (RedisEndpoint endpoint : {RedisEndpoint{},
                                           {.host = "a_b.c", .port = 1, .tls = true, .database = 3},
                                           {.host = "::1"},
                                           {.host = "fe80::1%eth0"},
                                           {.path = "/a/b c?#@%2F", .database = 2}}) {
                endpoint.user = user;
                endpoint.password = word;
                CHECK(parse_redis_uri(drey::detail::uri::compose(endpoint)) == endpoint);
            }
        }
    }
}

TEST_CASE("no refusal shows the secret, whatever is wrong with the uri", "[redis][uri]") {
    const std::uint64_t seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };

    // No three characters of it may be shown in a row. None of what messages say is in it.
    constexpr std::string_view secret = "Zx7Qj9Vk3Wy5";
    const std::vector<std::string> seeds{
        "redis://user:" + std::string(secret) + "@host:6379/1",
        "rediss://" + std::string(secret) + "@host",
        "redis://:" + std::string(secret) + "@[::1]:6379?db=1",
        "unix://user:" + std::string(secret) + "@/run/redis.sock?db=1",
        "unix:///run/" + std::string(secret),
    };
    constexpr std::string_view noise = ":/?#@%[]&=+ .-_\n\r\0azAF019~\x7f\xff";

    std::size_t refused = 0;
    for (int round = 0; round < 50'000; ++round) {
        std::string uri = seeds[below(seeds.size())];
        for (std::size_t edits = 1 + below(4); edits > 0; --edits) {
            const std::size_t at = below(uri.size() + 1);
            switch (below(4)) {
                case 0:
                    uri.insert(at, 1, noise[below(noise.size())]);
                    break;
                case 1:
                    uri.insert(at, secret);
                    break;
                case 2:
                    uri.erase(at, 1 + below(3));
                    break;
                default:
                    if (at < uri.size()) uri[at] = noise[below(noise.size())];
            }
        }
        const std::string said = refusal(uri);
        if (said.empty()) continue;
        ++refused;
        bool leaks = false;
        for (std::size_t i = 0; i + 3 <= secret.size(); ++i)
            leaks |= said.find(secret.substr(i, 3)) != said.npos;
        if (leaks) FAIL("'" << said << "' leaks from " << uri);
    }
    CHECK(refused > 10'000);
}
