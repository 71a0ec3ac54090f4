#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "drey/redis/call.hpp"
#include "drey/redis/connection.hpp"
#include "drey/redis/outcome.hpp"

namespace drey::redis {

/// How a channel comes to a connection.
struct Connecting {
    Dial dial;
    Login login;
    std::chrono::nanoseconds timeout;
};

/// One connection, remade when it breaks, and the calls that are under way on it. For one thread at
/// a time, which drives the calls of all.
///
/// A call whose deadline passes leaves; the others go on. If the connection breaks, calls that may
/// be repeated, or cannot have been executed, are sent once more on a fresh one; the others fail. A
/// connection that still owes replies at the end is given up, as is one whose server said that it
/// is the wrong one by now (READONLY after a failover) or no longer knows us (NOAUTH).
class Channel {
public:
    explicit Channel(const Connecting& connecting) : connecting_(connecting) {}

    bool connected() const noexcept { return connection_ != nullptr; }

    /// Whether no call is under way.
    bool idle() const noexcept { return calls_.empty(); }

    /// How many calls are under way.
    std::size_t under_way() const noexcept { return calls_.size(); }

    /// Puts a batch under way, and takes it. Requires: idle.
    void start(std::vector<Call*>& batch) noexcept {
        calls_.swap(batch);
        if (connection_ == nullptr) return;
        // What may not be repeated should not be lost to a connection that has died in its sleep.
        const bool all_repeat = std::ranges::all_of(
            calls_, [](const Call* call) { return call->repeat == Repeat::yes; });
        if (!all_repeat && !connection_->is_quiet()) connection_.reset();
        if (connection_ != nullptr) guarded([&] { send(); });
    }

    /// Does one step of what is to be done, and may wait for that: when this returns, a call more
    /// is finished or nearer to its end. Requires: not idle.
    void advance() noexcept {
        guarded([&] {
            if (connection_ == nullptr) {
                if (connect()) send();
            } else {
                receive();
            }
        });
        if (calls_.empty() && connection_ != nullptr && (misplaced_ || !connection_->idle()))
            connection_.reset();
    }

    /// A call that is under way, to be told to drive; null if idle.
    Call* any() const noexcept { return calls_.empty() ? nullptr : calls_.front(); }

private:
    using Clock = std::chrono::steady_clock;
    enum class Executed { no, maybe };

    static bool is_misplaced(const Reply& error) {
        return error.text.starts_with("READONLY") || error.text.starts_with("NOAUTH");
    }

    TimePoint nearest_deadline() const {
        TimePoint nearest = calls_.front()->deadline;
        for (const Call* call : calls_) nearest = std::min(nearest, call->deadline);
        return nearest;
    }

    /// Others wait for what happens here, so nothing may escape.
    template <class Step>
    void guarded(Step&& step) noexcept {
        try {
            step();
        } catch (const std::exception&) {  // no memory, or no thread to resolve the name
            connection_.reset();
            for (Call* const call : calls_) call->finish(Errc::unreachable);
            calls_.clear();
        }
    }

    void receive() {
        Outcome came = connection_->receive(nearest_deadline(), [&](Call& call) {
            for (const Reply& reply : call.replies)
                if (reply.is_error()) misplaced_ |= is_misplaced(reply);
            remove(call);
            call.finish();
        });
        if (came.ok() && calls_.empty()) return;
        if (came.ok() || came.error == Errc::timed_out) {
            expire();  // even while bytes come: they may come for ever
        } else {
            lose(came, Executed::maybe);
        }
    }

    bool connect() {
        const TimePoint nearest = nearest_deadline();
        const TimePoint deadline = std::min(Clock::now() + connecting_.timeout, nearest);
        Outcome outcome;
        misplaced_ = false;
        if (auto transport = connecting_.dial(deadline, outcome)) {
            auto connection = std::make_unique<Connection>(std::move(transport));
            outcome = connection->log_in(connecting_.login, deadline);
            if (outcome.ok()) {
                connection_ = std::move(connection);
                return true;
            }
        }
        // If only the most pressing had no time for it, the others may try again.
        const TimePoint now = Clock::now();
        finish_if([&](const Call& call) { return nearest > now || call.deadline <= now; }, outcome);
        return false;
    }

    void send() {
        Outcome sent = connection_->send(calls_, nearest_deadline());
        // What was not sent to the end was not executed. Of several that is known of the last only.
        if (!sent.ok()) lose(sent, calls_.size() == 1 ? Executed::no : Executed::maybe);
    }

    /// Finishes the calls whose time is up.
    void expire() {
        const TimePoint now = Clock::now();
        for (const Call* call : calls_)
            if (call->deadline <= now) connection_->abandon(*call);
        finish_if([&](const Call& call) { return call.deadline <= now; }, Errc::timed_out);
    }

    /// The connection broke: one more try for the calls that may have one and have the time.
    void lose(const Outcome& how, Executed executed) {
        for (const Call* call : calls_) connection_->abandon(*call);
        connection_.reset();
        const TimePoint now = Clock::now();
        finish_if(
            [&](Call& call) {
                const bool may_repeat = call.repeat == Repeat::yes || executed == Executed::no;
                if (!may_repeat || call.was_repeated || call.deadline <= now) return true;
                call.was_repeated = true;
                return false;
            },
            how);
    }

    /// A finished call is its owner's: it is not touched after that.
    template <class Condition>
    void finish_if(Condition&& condition, const Outcome& how) {
        std::erase_if(calls_, [&](Call* call) {
            if (!condition(*call)) return false;
            call->finish(how);
            return true;
        });
    }

    void remove(const Call& call) noexcept { std::erase(calls_, &call); }

    const Connecting& connecting_;
    std::unique_ptr<Connection> connection_;
    std::vector<Call*> calls_;  // under way, in the order in which they were sent
    bool misplaced_ = false;
};

}  // namespace drey::redis
