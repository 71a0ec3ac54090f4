#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drey/redis/call.hpp"
#include "drey/redis/command.hpp"
#include "drey/redis/connection.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/transport.hpp"

/// A server that follows a script, and the connections to it. Nothing takes time: what times out
/// does so because the script says so. A call whose deadline is `past` then is over; one whose is
/// `far` goes on.
namespace fake {

using drey::Errc;
using drey::redis::Command;
using drey::redis::Outcome;
using drey::redis::TimePoint;

inline constexpr TimePoint past{};
inline constexpr TimePoint far{TimePoint::max() - std::chrono::hours(1)};

/// Commands, each a list of arguments.
using Commands = std::initializer_list<std::initializer_list<std::string_view>>;

/// The bytes of some commands.
inline std::string wire(Commands commands) {
    std::string bytes;
    for (const auto& command : commands) bytes += Command(command).bytes();
    return bytes;
}

inline std::string bulk(std::string_view text) {
    return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n";
}

/// What one connection lives through, step by step.
class Script {
public:
    /// Takes what is sent next, in one go, and it must be this.
    Script& expects(std::string bytes) { return add({Step::send, {}, std::move(bytes)}); }
    Script& expects(Commands commands) { return expects(wire(commands)); }
    /// What arrives next, in one piece.
    Script& answers(std::string bytes) { return add({Step::receive, {}, std::move(bytes)}); }
    /// What arrives next, byte by byte.
    Script& trickles(std::string_view bytes) {
        for (const char byte : bytes) answers(std::string(1, byte));
        return *this;
    }
    /// The next wait ends without anything.
    Script& is_silent() { return add({Step::receive, {Errc::timed_out}, {}}); }
    Script& breaks(Outcome how = {Errc::disconnected, "cut"}) {
        return add({Step::receive, std::move(how), {}});
    }
    /// The next send fails.
    Script& refuses(Outcome how = {Errc::disconnected, "cut"}) {
        return add({Step::send, std::move(how), {}});
    }
    /// The next call, of whatever, throws std::bad_alloc.
    Script& has_no_memory() { return add({Step::throws, {}, {}}); }
    /// The server went away unnoticed: it can be sent to, and never answers.
    Script& dies_asleep() { return add({Step::dead, {}, {}}); }
    /// From here on the step before is followed by this, at the moment when it is done.
    Script& then(std::function<void()> deed) {
        steps_.back().deed = std::move(deed);
        return *this;
    }

private:
    friend class Server;
    friend class Transport;

    struct Step {
        enum Kind { send, receive, throws, dead } kind;
        Outcome outcome;
        std::string bytes;
        std::function<void()> deed = {};
    };

    Script& add(Step step) {
        steps_.push_back(std::move(step));
        return *this;
    }

    std::deque<Step> steps_;
    bool refused_ = false;  // there is no connection at all
    bool throws_ = false;   // nor even an answer to who dials
    Outcome refusal_;
};

/// For one thread at a time, like the connections.
class Server {
public:
    Server() = default;
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// What the next connection lives through.
    Script& connection() { return scripts_.emplace_back(); }
    /// The next connection cannot be made.
    void refuses(Outcome how) {
        Script& script = connection();
        script.refused_ = true;
        script.refusal_ = std::move(how);
    }
    /// Nor can the next, for lack of memory.
    void has_no_memory() { connection().throws_ = true; }

    drey::redis::Dial dial();

    std::size_t connects = 0;       ///< connections asked for, also in vain
    std::size_t aborts = 0;         ///< connections that were closed with a reset
    std::size_t open = 0;           ///< connections now
    std::size_t sends = 0;          ///< calls of `send`
    std::vector<std::string> sent;  ///< on each connection that was made
    std::string surprise;           ///< the first thing that was not in the script

    /// Whether all went by the script, to its end.
    bool is_satisfied() const {
        return surprise.empty() &&
               std::ranges::all_of(scripts_,
                                   [](const Script& script) {
                                       return script.steps_.empty() ||
                                              script.steps_.front().kind == Script::Step::dead;
                                   }) &&
               connects == scripts_.size();
    }

private:
    friend class Transport;
    std::deque<Script> scripts_;  // never moves them
};

class Transport final : public drey::redis::Transport {
public:
    Transport(Server& server, Script& script) : server_(server), script_(script) {
        ++server_.open;
        number_ = server_.sent.size();
        server_.sent.emplace_back();
    }
    ~Transport() override { --server_.open; }

    Outcome send(std::span<const std::string_view> parts, TimePoint) override {
        ++server_.sends;
        std::string bytes;
        for (const auto part : parts) bytes += part;
        server_.sent[number_] += bytes;
        if (is(Step::dead)) return {};
        if (!is(Step::send)) return surprised("sent " + bytes);
        const Step step = take();
        if (step.outcome.ok() && bytes != step.bytes)
            return surprised("sent " + bytes + " instead of " + step.bytes);
        return step.outcome;
    }

    Outcome receive(std::span<char> room, std::size_t& got, TimePoint) override {
        if (is(Step::dead)) return {Errc::disconnected, "closed by the server"};
        if (!is(Step::receive)) return surprised("waited");
        Step& step = script_.steps_.front();
        if (step.outcome.ok() && step.bytes.size() > room.size()) {
            got = step.bytes.copy(room.data(), room.size());
            step.bytes.erase(0, got);
            return {};
        }
        const Step last = take();
        got = last.bytes.copy(room.data(), room.size());
        return last.outcome;
    }

    void abort() noexcept override { ++server_.aborts; }

    bool is_quiet() override { return !is(Step::dead) && !is(Step::receive); }

private:
    using Step = Script::Step;

    bool is(Step::Kind kind) {
        if (script_.steps_.empty()) return false;
        if (script_.steps_.front().kind == Step::throws) {
            script_.steps_.pop_front();
            throw std::bad_alloc();
        }
        return script_.steps_.front().kind == kind;
    }

    Step take() {
        Step step = std::move(script_.steps_.front());
        script_.steps_.pop_front();
        if (step.deed) step.deed();
        return step;
    }

    Outcome surprised(std::string what) {
        if (server_.surprise.empty()) server_.surprise = std::move(what);
        return {Errc::disconnected, "this is not in the script"};
    }

    Server& server_;
    Script& script_;
    std::size_t number_ = 0;
};

inline drey::redis::Dial Server::dial() {
    return [this](TimePoint, Outcome& outcome) -> std::unique_ptr<drey::redis::Transport> {
        if (connects++ >= scripts_.size()) {
            if (surprise.empty()) surprise = "dialled";
            outcome = {Errc::unreachable, "this is not in the script"};
            return nullptr;
        }
        Script& script = scripts_[connects - 1];
        if (script.throws_) throw std::bad_alloc();
        outcome = script.refusal_;
        if (script.refused_) return nullptr;
        return std::make_unique<Transport>(*this, script);
    };
}

/// A call with what it owns.
class Ask {
public:
    Ask(Commands commands, drey::redis::Repeat repeat = drey::redis::Repeat::yes,
        TimePoint deadline = far)
        : commands_(commands.begin(), commands.end()), replies(commands_.size()),
          call(commands_, replies, repeat, deadline) {}

    /// GET of one key.
    explicit Ask(std::string_view key, drey::redis::Repeat repeat = drey::redis::Repeat::yes,
                 TimePoint deadline = far)
        : Ask({{"GET", key}}, repeat, deadline) {}

    bool ok() const { return call.finished() && call.outcome.ok(); }
    bool failed(Errc with) const { return call.finished() && call.outcome.error == with; }
    const std::string& text() const { return replies.at(0).text; }

private:
    std::vector<Command> commands_;

public:
    std::vector<drey::redis::Reply> replies;
    drey::redis::Call call;
};

}  // namespace fake
