#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "drey/redis/command.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/reply.hpp"

namespace drey::redis {

/// What a subscriber's connection says, in RESP2, from its SUBSCRIBE on. Pure: knows no sockets and
/// no time. Belongs to the thread that reads the connection; each event is complete in itself and
/// can be passed on.
///
/// With `CLIENT TRACKING ON REDIRECT <own id> BCAST` before SUBSCRIBE, one connection carries both
/// messages and invalidations. Redis tells a client that has subscribed to nothing about no
/// invalidation and does not make up for it later, so whoever keeps copies may begin to once this
/// is `ready()`, and no earlier.
///
/// A connection that has once said what made no sense says nothing any more: what it meant may have
/// been an invalidation.
class Subscription {
public:
    /// The channel on which Redis tells of changed keys.
    static constexpr std::string_view invalidations = "__redis__:invalidate";

    /// From now on messages of this channel come.
    struct Confirmed {
        std::string channel;
        long long count;  ///< of all subscriptions of the connection
    };
    struct Message {
        std::string channel;
        std::string payload;
    };
    /// Copies of these are stale.
    struct Invalidated {
        std::vector<std::string> keys;
    };
    /// All copies are stale, as after a FLUSHALL.
    struct AllInvalidated {};
    /// The answer to a PING with this text.
    struct Pong {
        std::string text;
    };
    /// An Outcome is a failure, after which the connection is of no use.
    using Event = std::variant<Confirmed, Message, Invalidated, AllInvalidated, Pong, Outcome>;

    explicit Subscription(const std::vector<std::string>& channels) {
        for (const std::string& channel : channels) channels_.push_back({channel, false});
    }

    /// What to send to begin.
    Command command() const {
        std::vector<std::string_view> arguments{"SUBSCRIBE"};
        for (const Channel& channel : channels_) arguments.push_back(channel.name);
        return Command(arguments);
    }

    /// Whether all channels are confirmed and nothing went wrong.
    bool ready() const noexcept { return failure_.ok() && unconfirmed() == 0; }

    /// What the next thing that came means.
    Event on(Reply reply) {
        if (!failure_.ok()) return failure_;
        Event event = meaning(reply);
        if (const auto* const failure = std::get_if<Outcome>(&event)) failure_ = *failure;
        return event;
    }

private:
    struct Channel {
        std::string name;
        bool confirmed;
    };

    std::ptrdiff_t unconfirmed() const noexcept {
        return std::ranges::count(channels_, false, &Channel::confirmed);
    }

    Channel* find(std::string_view name) noexcept {
        const auto at = std::ranges::find(channels_, name, &Channel::name);
        return at == channels_.end() ? nullptr : &*at;
    }

    /// May take the reply apart.
    Event meaning(Reply& reply) {
        // The rest of an error may quote what we sent.
        if (reply.is_error())
            return Outcome(meaning_of(reply.text), reply.text.substr(0, reply.text.find(' ')));
        std::vector<Reply>& parts = reply.elements;
        if (!reply.is_array() || parts.size() < 2 || !parts[0].is_text() || !parts[1].is_text())
            return nonsense("neither a message nor a confirmation");
        const std::string_view kind = parts[0].text;
        if (kind == "pong" && parts.size() == 2) return Pong{std::move(parts[1].text)};
        if (parts.size() != 3) return nonsense("a message of the wrong size");

        Channel* const channel = find(parts[1].text);
        if (channel == nullptr) return nonsense("a channel that nobody asked for");
        if (kind == "subscribe") {
            if (!parts[2].is_integer()) return nonsense("a confirmation without a count");
            channel->confirmed = true;
            return Confirmed{channel->name, parts[2].integer};
        }
        if (kind != "message") return nonsense("an unknown kind of message");
        if (channel->name == invalidations) return invalidated(parts[2]);
        if (!parts[2].is_text()) return nonsense("a message that is no text");
        return Message{channel->name, std::move(parts[2].text)};
    }

    static Event invalidated(Reply& payload) {
        if (payload.is_nil()) return AllInvalidated{};
        if (!payload.is_array()) return nonsense("an invalidation without keys");
        Invalidated event;
        event.keys.reserve(payload.elements.size());
        for (Reply& key : payload.elements) {
            if (!key.is_text()) return nonsense("an invalidated key that is no text");
            event.keys.push_back(std::move(key.text));
        }
        return event;
    }

    static Outcome nonsense(const char* what) { return {Errc::protocol, what}; }

    std::vector<Channel> channels_;  // those asked for: a few
    Outcome failure_;
};

}  // namespace drey::redis
