#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "drey/redis/reply.hpp"
#include "drey/redis/subscription.hpp"
#include "redis_protocol/fake_transport.hpp"
#include "support/catch.hpp"

// A subscriber's connection, as Redis 7 was seen to speak on it.

namespace {

using drey::Errc;
using drey::redis::Outcome;
using drey::redis::Reply;
using drey::redis::ReplyReader;
using drey::redis::Subscription;
using fake::bulk;

const std::string keys_channel(Subscription::invalidations);

std::string confirmation(std::string_view channel, int count) {
    return "*3\r\n" + bulk("subscribe") + bulk(channel) + ":" + std::to_string(count) + "\r\n";
}
std::string message(std::string_view channel, std::string_view payload_bytes) {
    return "*3\r\n" + bulk("message") + bulk(channel) + std::string(payload_bytes);
}
std::string invalidation(std::string_view payload_bytes) {
    return message(keys_channel, payload_bytes);
}

std::vector<Subscription::Event> events(Subscription& subscription, std::string_view bytes) {
    ReplyReader reader;
    REQUIRE(reader.feed(bytes));
    std::vector<Subscription::Event> all;
    while (auto reply = reader.next()) all.push_back(subscription.on(*std::move(reply)));
    REQUIRE_FALSE(reader.failed());
    return all;
}

/// The one event that these bytes are.
template <class Kind>
Kind event(Subscription& subscription, std::string_view bytes) {
    const auto all = events(subscription, bytes);
    REQUIRE(all.size() == 1);
    REQUIRE(std::holds_alternative<Kind>(all[0]));
    return std::get<Kind>(all[0]);
}

/// One that is ready.
Subscription subscribed() {
    Subscription subscription({keys_channel, "news"});
    (void)events(subscription, confirmation(keys_channel, 1) + confirmation("news", 2));
    REQUIRE(subscription.ready());
    return subscription;
}

}  // namespace

TEST_CASE("subscription asks for all its channels at once") {
    CHECK(Subscription({keys_channel, "news"}).command().bytes() ==
          fake::wire({{"SUBSCRIBE", keys_channel, "news"}}));
}

TEST_CASE("subscription is ready once each channel is confirmed") {
    Subscription subscription({keys_channel, "news"});
    CHECK_FALSE(subscription.ready());
    const auto first = event<Subscription::Confirmed>(subscription, confirmation(keys_channel, 1));
    CHECK(first.channel == keys_channel);
    CHECK(first.count == 1);
    CHECK_FALSE(subscription.ready());
    (void)event<Subscription::Confirmed>(subscription, confirmation(keys_channel, 1));
    CHECK_FALSE(subscription.ready());
    CHECK(event<Subscription::Confirmed>(subscription, confirmation("news", 2)).count == 2);
    CHECK(subscription.ready());
}

TEST_CASE("message has a channel and a payload of any bytes") {
    using namespace std::string_literals;
    Subscription subscription = subscribed();
    const std::string payload = "a\r\n\0b"s;
    const auto heard = event<Subscription::Message>(subscription, message("news", bulk(payload)));
    CHECK(heard.channel == "news");
    CHECK(heard.payload == payload);
    CHECK(event<Subscription::Message>(subscription, message("news", bulk(""))).payload.empty());
}

TEST_CASE("invalidation names keys") {
    Subscription subscription = subscribed();
    CHECK(event<Subscription::Invalidated>(subscription,
                                           invalidation("*2\r\n" + bulk("app:1") + bulk("app:2")))
              .keys == std::vector<std::string>{"app:1", "app:2"});
    CHECK(event<Subscription::Invalidated>(subscription, invalidation("*1\r\n" + bulk(""))).keys ==
          std::vector<std::string>{""});
}

TEST_CASE("invalidation without keys means all of them") {
    Subscription subscription = subscribed();
    (void)event<Subscription::AllInvalidated>(subscription, invalidation("*-1\r\n"));
    (void)event<Subscription::AllInvalidated>(subscription, invalidation("$-1\r\n"));
    CHECK(subscription.ready());
}

TEST_CASE("invalidation counts even before its channel is confirmed") {
    Subscription subscription({"news", keys_channel});
    (void)event<Subscription::Confirmed>(subscription, confirmation("news", 1));
    CHECK(event<Subscription::Invalidated>(subscription, invalidation("*1\r\n" + bulk("a")))
              .keys.size() == 1);
    CHECK_FALSE(subscription.ready());
}

TEST_CASE("pong says which ping it answers") {
    Subscription subscription = subscribed();
    CHECK(event<Subscription::Pong>(subscription, "*2\r\n" + bulk("pong") + bulk("17")).text ==
          "17");
    CHECK(event<Subscription::Pong>(subscription, "*2\r\n" + bulk("pong") + bulk("")).text == "");
}

TEST_CASE("channel named like a kind of message is only a channel") {
    Subscription subscription({"pong", "message"});
    (void)event<Subscription::Confirmed>(subscription, confirmation("pong", 1));
    (void)event<Subscription::Confirmed>(subscription, confirmation("message", 2));
    CHECK(event<Subscription::Message>(subscription, message("pong", bulk("x"))).payload == "x");
}

TEST_CASE("error of the server is told by its meaning, without what it may quote") {
    Subscription subscription({"secret"});
    const auto refusal =
        event<Outcome>(subscription, "-NOPERM No permissions to access the 'secret' channel\r\n");
    CHECK(refusal.error == Errc::denied);
    CHECK(refusal.reason == "NOPERM");
    CHECK_FALSE(subscription.ready());
}

TEST_CASE("nonsense fails a subscription for good") {
    const std::string valid = message("news", bulk("x"));
    for (const std::string& bytes :
         {std::string("+OK\r\n"),
          std::string("+PONG\r\n"),
          std::string(":1\r\n"),
          std::string("$-1\r\n"),
          bulk("message"),
          std::string("*0\r\n"),
          "*1\r\n" + bulk("pong"),
          "*2\r\n" + bulk("pong") + ":1\r\n",
          "*2\r\n" + bulk("message") + bulk("news"),
          "*2\r\n:1\r\n" + bulk("news"),
          "*3\r\n" + bulk("pong") + bulk("a") + bulk("b"),
          "*3\r\n" + bulk("shout") + bulk("news") + bulk("x"),
          "*3\r\n" + bulk("unsubscribe") + bulk("news") + ":0\r\n",
          "*3\r\n" + bulk("subscribe") + bulk("news") + bulk("1"),
          "*3\r\n" + bulk("subscribe") + "$-1\r\n:1\r\n",
          confirmation("olds", 3),
          message("olds", bulk("x")),
          message("news", "$-1\r\n"),
          message("news", ":1\r\n"),
          message("news", "*1\r\n" + bulk("x")),
          invalidation(bulk("app:1")),
          invalidation(":1\r\n"),
          invalidation("*1\r\n:1\r\n"),
          invalidation("*1\r\n$-1\r\n"),
          "*4\r\n" + bulk("pmessage") + bulk("n*") + bulk("news") + bulk("x")}) {
        INFO(bytes);
        Subscription subscription = subscribed();
        CHECK(event<Outcome>(subscription, bytes).error == Errc::protocol);
        CHECK_FALSE(subscription.ready());
        CHECK(event<Outcome>(subscription, valid).error == Errc::protocol);
        CHECK_FALSE(subscription.ready());
    }
}

TEST_CASE("message of a channel that nobody asked for is nonsense, invalidations too") {
    Subscription subscription({"news"});
    CHECK(event<Outcome>(subscription, invalidation("*1\r\n" + bulk("a"))).error == Errc::protocol);
}

TEST_CASE("events come in order, however the bytes are split") {
    std::string bytes = confirmation(keys_channel, 1) + confirmation("news", 2) +
                        invalidation("*1\r\n" + bulk("app:1")) + message("news", bulk("hello")) +
                        invalidation("*-1\r\n") + "*2\r\n" + bulk("pong") + bulk("");
    const std::vector<std::size_t> kinds{0, 0, 2, 1, 3, 4};
    for (std::size_t split = 0; split <= bytes.size(); ++split) {
        Subscription subscription({keys_channel, "news"});
        ReplyReader reader;
        std::vector<std::size_t> seen;
        for (const auto piece :
             {std::string_view(bytes).substr(0, split), std::string_view(bytes).substr(split)}) {
            REQUIRE(reader.feed(piece));
            while (auto reply = reader.next())
                seen.push_back(subscription.on(*std::move(reply)).index());
        }
        REQUIRE(seen == kinds);
        REQUIRE(subscription.ready());
    }
}
