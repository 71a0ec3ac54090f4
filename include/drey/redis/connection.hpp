#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drey/redis/call.hpp"
#include "drey/redis/command.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/pipeline.hpp"
#include "drey/redis/reply.hpp"
#include "drey/redis/transport.hpp"

namespace drey::redis {

/// Makes a stream to the server by the deadline, or says why not.
using Dial = std::function<std::unique_ptr<Transport>(TimePoint deadline, Outcome& outcome)>;

/// Who we are to the server.
struct Login {
    std::string user;
    std::string password;
    int database = 0;
};

/// A stream to the server that is ready for commands, and the calls whose replies are on their way.
/// For one thread at a time.
class Connection {
public:
    explicit Connection(std::unique_ptr<Transport> transport)
        : transport_(std::move(transport)), room_(new std::array<char, room_size>) {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    ~Connection() {
        if (!pipeline_.idle()) transport_->abort();
    }

    /// Introduces us. The reasons it gives quote nothing that the server said but an error's code:
    /// a server that does not know AUTH quotes its arguments.
    Outcome log_in(const Login& login, TimePoint deadline) {
        std::vector<Command> commands;
        if (!login.password.empty() || !login.user.empty()) {
            commands.push_back(login.user.empty() ? Command{"AUTH", login.password}
                                                  : Command{"AUTH", login.user, login.password});
        }
        const bool authenticates = !commands.empty();
        if (login.database != 0) commands.push_back({"SELECT", std::to_string(login.database)});
        if (commands.empty()) return {};

        std::array<Reply, 2> replies;
        Call call(commands, std::span(replies).first(commands.size()), Repeat::no, deadline);
        Call* const calls[] = {&call};
        if (Outcome sent = send(calls, deadline); !sent.ok()) return sent;
        bool complete = false;
        while (!complete) {
            Outcome came = receive(deadline, [&](Call&) { complete = true; });
            if (came.ok() && !complete && std::chrono::steady_clock::now() >= deadline)
                came = Errc::timed_out;  // bytes may come for ever
            if (!came.ok()) {
                pipeline_.abandon(call);
                return came;
            }
        }
        for (std::size_t i = 0; i < commands.size(); ++i) {
            const char* const step = i == 0 && authenticates ? "AUTH" : "SELECT";
            if (replies[i].is_status()) continue;
            if (!replies[i].is_error())
                return {Errc::protocol, std::string("an unexpected reply to ") + step};
            const Errc meaning = meaning_of(replies[i].text);
            return {meaning == Errc::unavailable ? meaning : Errc::denied,
                    std::string(step) + " failed: " + code_of(replies[i].text)};
        }
        return {};
    }

    /// Sends the calls' commands, in order, in as few packets as they fit.
    Outcome send(std::span<Call* const> calls, TimePoint deadline) {
        parts_.clear();
        for (Call* const call : calls) {
            for (const Command& command : call->commands) parts_.push_back(command.bytes());
            pipeline_.expect(*call);
        }
        return transport_->send(parts_, deadline);
    }

    /// Waits for some bytes, and calls `finished(Call&)` for the calls that have all replies then.
    template <class Finished>
    Outcome receive(TimePoint deadline, Finished&& finished) {
        std::size_t got = 0;
        if (Outcome came = transport_->receive(*room_, got, deadline); !came.ok()) return came;
        return pipeline_.feed({room_->data(), got}, finished);
    }

    /// The caller has left; its replies are dropped.
    void abandon(const Call& call) noexcept { pipeline_.abandon(call); }

    /// Whether every command has its reply.
    bool idle() const noexcept { return pipeline_.idle(); }

    /// Whether it is idle, open as far as is known here, and silent.
    bool is_quiet() { return pipeline_.idle() && transport_->is_quiet(); }

private:
    static constexpr std::size_t room_size = std::size_t{32} << 10;

    /// The error's code if it is one that we know: anything else may quote what we sent.
    static std::string code_of(std::string_view error) {
        for (const char* const code : {"ERR", "WRONGPASS", "NOAUTH", "NOPERM", "LOADING", "BUSY",
                                       "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"})
            if (error.substr(0, error.find(' ')) == code) return code;
        return "an unknown error";
    }

    std::unique_ptr<Transport> transport_;
    Pipeline pipeline_;
    std::vector<std::string_view> parts_;  // of what is being sent
    std::unique_ptr<std::array<char, room_size>> room_;
};

}  // namespace drey::redis
