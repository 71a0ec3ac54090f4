#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drey/error.hpp"
#include "drey/hash.hpp"
#include "drey/redis/call.hpp"
#include "drey/redis/command.hpp"
#include "drey/redis/keyspace.hpp"
#include "drey/redis/options.hpp"
#include "drey/redis/patience.hpp"
#include "drey/redis/reply.hpp"
#include "drey/redis/router.hpp"
#include "drey/redis/unconfirmed.hpp"
#include "drey/stats.hpp"

namespace drey {

/// How a remote cache is doing; what `status()` returns. Holds no credentials.
struct RedisStatus {
    bool connected = false;                 ///< whether the server answered just now
    std::string address;                    ///< "host:port" or "unix:/path"
    std::string server_version;             ///< "7.0.15", "valkey 8.1.0"; empty if it does not say
    std::chrono::nanoseconds round_trip{};  ///< of a PING just now; 0 if not connected
    BreakerState breaker = BreakerState::closed;
    std::optional<Error> last_error;
    std::size_t unconfirmed = 0;  ///< keys invalidated here that the server may still hold
    std::uint64_t forgotten = 0;  ///< such keys of which there were too many to remember
};

namespace redis {

/// What the typed store needs of the servers: commands go out, replies come back, errors are
/// counted and told. Knows no types of keys and values. Thread-safe.
class Client {
public:
    explicit Client(const RedisOptions& options, Dial dial = {})
        : router_(options, std::move(dial)), on_error_(options.on_error),
          throws_(options.on_failure == OnFailure::throws),
          timeout_(detail::limit_of(options.timeout)) {}

    Patience patience() const { return Patience(timeout_); }

    // ---- asking. Unconfirmed invalidations go first. -------------------------------------------

    /// Sends the commands in one round trip. Failures of single commands are in their replies.
    Outcome ask(std::string_view key, std::span<const Command> commands, std::span<Reply> replies,
                Repeat repeat, TimePoint deadline) {
        if (unconfirmed_.any()) {
            if (Outcome confirmed = confirm(deadline); !confirmed.ok()) return confirmed;
        }
        return ask_server(router_.server_of(key), commands, replies, repeat, deadline);
    }

    /// Sends one command; an error reply is a failure.
    Outcome ask(std::string_view key, const Command& command, Reply& reply, Repeat repeat,
                TimePoint deadline) {
        Outcome outcome = ask(key, {&command, 1}, {&reply, 1}, repeat, deadline);
        return outcome.ok() ? verdict(reply) : outcome;
    }

    /// What a reply says of its command.
    static Outcome verdict(const Reply& reply) {
        if (!reply.is_error()) return {};
        // From there on the server quotes the arguments, which may be values.
        const std::string_view text = reply.text;
        return {meaning_of(text), std::string(text.substr(0, text.find(", with args")))};
    }

    // ---- keys that the server may still hold though they were invalidated ----------------------

    bool is_unconfirmed(std::string_view key) const { return unconfirmed_.contains(key); }
    void add_unconfirmed(std::string_view key) { unconfirmed_.add(key); }

    // ---- errors --------------------------------------------------------------------------------

    /// Counts and tells.
    void report(const char* operation, std::string_view key, const Outcome& outcome) {
        const auto kind = static_cast<std::size_t>(outcome.error.value());
        errors_[kind < error_kinds ? kind : 0].fetch_add(1, std::memory_order_relaxed);
        const Error error = error_of(operation, key, outcome);
        {
            const std::lock_guard lock(last_error_mutex_);
            last_error_ = error;
        }
        if (!on_error_) return;
        try {
            on_error_(error);
        } catch (...) {
            listener_failures_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    /// As `report`, then throws RemoteError if the cache is to.
    void fail(const char* operation, std::string_view key, const Outcome& outcome) {
        report(operation, key, outcome);
        if (throws_) throw RemoteError(error_of(operation, key, outcome));
    }

    void add_to(Stats& stats) const noexcept {
        for (std::size_t kind = 0; kind < error_kinds; ++kind)
            stats.errors[kind] += errors_[kind].load(std::memory_order_relaxed);
        stats.listener_failures += listener_failures_.load(std::memory_order_relaxed);
    }

    // ---- the servers ---------------------------------------------------------------------------

    RedisStatus status() {
        using Clock = std::chrono::steady_clock;
        RedisStatus status;
        router_.each_server([&](Server& server) {
            status.address = server.endpoint().address();
            Reply reply;
            const TimePoint begin = Clock::now();
            const Command ping{"PING"};
            Outcome outcome =
                ask_server(server, {&ping, 1}, {&reply, 1}, Repeat::yes, begin + timeout_);
            status.connected = outcome.ok() && !reply.is_error();
            if (status.connected) {
                status.round_trip = Clock::now() - begin;
                const Command info{"INFO", "server"};
                outcome =
                    ask_server(server, {&info, 1}, {&reply, 1}, Repeat::yes, begin + timeout_);
                if (outcome.ok() && reply.is_text()) status.server_version = version_in(reply.text);
            } else {
                report("status", {}, outcome.ok() ? verdict(reply) : outcome);
            }
            status.breaker = server.breaker();
            return true;
        });
        status.unconfirmed = unconfirmed_.size();
        status.forgotten = unconfirmed_.lost();
        const std::lock_guard lock(last_error_mutex_);
        status.last_error = last_error_;
        return status;
    }

    /// Calls `f(span of names) → Outcome` with the names that match the pattern, some at a time;
    /// one may come twice. Each round trip has the call's whole time limit, since their number is
    /// the size of the database.
    template <class F>
    Outcome scan(std::string_view pattern, F&& f) {
        Outcome outcome;
        router_.each_server([&](Server& server) {
            std::string cursor = "0";
            std::string before;
            std::size_t rounds = 0;
            do {
                // A cursor goes on and on, and comes back to 0. One that stands still is a lie.
                if (cursor == before || ++rounds == most_scan_rounds) {
                    outcome = {Errc::protocol, "SCAN does not end"};
                    return false;
                }
                before = cursor;
                Reply reply;
                const Command scan{"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"};
                outcome =
                    ask_server(server, {&scan, 1}, {&reply, 1}, Repeat::yes, patience().deadline());
                if (outcome.ok()) outcome = verdict(reply);
                if (!outcome.ok()) return false;
                if (!reply.is_array() || reply.elements.size() != 2 ||
                    !reply.elements[0].is_text() || !reply.elements[1].is_array()) {
                    outcome = {Errc::protocol, "an unexpected reply to SCAN"};
                    return false;
                }
                cursor = reply.elements[0].text;
                std::vector<std::string_view> names;
                for (const Reply& name : reply.elements[1].elements) names.push_back(name.text);
                if (!names.empty()) outcome = f(std::span<const std::string_view>(names));
            } while (outcome.ok() && cursor != "0");
            return outcome.ok();
        });
        return outcome;
    }

private:
    static constexpr std::chrono::milliseconds refused_pause{100};
    static constexpr std::size_t most_scan_rounds = std::size_t{1} << 24;  // of some 1000 keys

    static Outcome ask_server(Server& server, std::span<const Command> commands,
                              std::span<Reply> replies, Repeat repeat, TimePoint deadline) {
        Call call(commands, replies, repeat, deadline);
        server.run(call);
        return std::move(call.outcome);
    }

    /// Has the server forget what it should have forgotten. Fails if it cannot be asked at all. One
    /// command a key: a user may not be allowed to remove every one.
    Outcome confirm(TimePoint deadline) {
        const std::unique_lock lock(confirming_, std::try_to_lock);
        if (!lock) return {};  // somebody is at it; until then those keys read as misses
        if (std::chrono::steady_clock::now() < confirm_at_) return {};
        const auto entries = unconfirmed_.some(512);
        if (entries.empty()) return {};
        std::vector<Command> commands;
        for (const auto& entry : entries) {
            // What tags a load in flight will have is not known: none may pass that began before.
            const std::string_view log = Keyspace::tag_log_of(entry.key);
            commands.push_back(log.empty() ? Command{"UNLINK", entry.key}
                                           : Command{"UNLINK", entry.key, log});
        }
        std::vector<Reply> replies(commands.size());
        Outcome outcome = ask_server(router_.server_of(entries.front().key), commands, replies,
                                     Repeat::yes, deadline);
        if (!outcome.ok()) return outcome;
        for (std::size_t i = 0; i < entries.size(); ++i) {
            if (replies[i].is_integer()) {
                unconfirmed_.confirm(entries[i]);
            } else {  // a read-only replica, or not allowed: that will not change in a moment
                confirm_at_ = std::chrono::steady_clock::now() + refused_pause;
            }
        }
        return {};
    }

    Error error_of(const char* operation, std::string_view key, const Outcome& outcome) {
        return {outcome.error, operation, std::string(key), shown(outcome.reason)};
    }

    /// Without the credentials, which a server may repeat.
    std::string shown(const std::string& reason) {
        std::string text = reason;
        router_.each_server([&](Server& server) {
            for (const std::string& secret : {server.endpoint().password, server.endpoint().user}) {
                if (secret.empty()) continue;
                for (std::size_t at = 0; (at = text.find(secret, at)) != text.npos; at += 3)
                    text.replace(at, secret.size(), "***");
            }
            return true;
        });
        return text;
    }

    static std::string version_in(std::string_view info) {
        const auto value_of = [&](std::string_view name) -> std::string_view {
            const std::size_t at = info.find(name);
            if (at == info.npos || (at > 0 && info[at - 1] != '\n')) return {};
            const std::string_view rest = info.substr(at + name.size());
            return rest.substr(0, rest.find_first_of("\r\n"));
        };
        if (const auto valkey = value_of("valkey_version:"); !valkey.empty())
            return "valkey " + std::string(valkey);
        return std::string(value_of("redis_version:"));
    }

    Router router_;
    const std::function<void(const Error&)> on_error_;
    const bool throws_;
    const std::chrono::nanoseconds timeout_;

    Unconfirmed unconfirmed_;
    std::mutex confirming_;
    TimePoint confirm_at_{};  // not before; under the mutex

    std::array<std::atomic<std::uint64_t>, error_kinds> errors_{};
    std::atomic<std::uint64_t> listener_failures_{0};
    mutable std::mutex last_error_mutex_;
    std::optional<Error> last_error_;
};

}  // namespace redis
}  // namespace drey
