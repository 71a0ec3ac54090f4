#pragma once

#include <cstddef>
#include <deque>
#include <string_view>
#include <utility>

#include "drey/redis/call.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/reply.hpp"

namespace drey::redis {

/// Which call each reply of a connection belongs to. Replies come in the order of the commands and
/// carry no names, so the order is all there is: one reply too many or too few and every later
/// caller would get another's value. Pure: knows no sockets and no time.
///
/// Invariant: `expected_` lists the calls whose replies have not all come, in the order in which
/// they were sent; null where the caller has left.
class Pipeline {
public:
    /// The call's commands go out now, after all that were expected before.
    void expect(Call& call) {
        if (!call.commands.empty()) expected_.push_back({&call, call.commands.size()});
    }

    /// The caller does not wait any longer; its replies are dropped when they come.
    void abandon(const Call& call) noexcept {
        for (Expected& expected : expected_)
            if (expected.call == &call) expected.call = nullptr;
    }

    /// Whether no reply is outstanding.
    bool idle() const noexcept { return expected_.empty(); }

    /// Hands out the replies in these bytes and calls `finished(Call&)` for each call that has all
    /// of its. Fails for good if the bytes are no replies, or if nobody had asked for one.
    template <class Finished>
    Outcome feed(std::string_view bytes, Finished&& finished) {
        if (bytes.empty()) return {};
        if (expected_.empty()) return unasked();
        if (!reader_.feed(bytes)) return garbage();
        while (!expected_.empty()) {
            auto reply = reader_.next();
            if (!reply) return reader_.failed() ? garbage() : Outcome();
            Expected& next = expected_.front();
            if (next.call != nullptr)
                next.call->replies[next.call->commands.size() - next.left] = *std::move(reply);
            if (--next.left > 0) continue;
            Call* const call = next.call;
            expected_.pop_front();
            if (call != nullptr) finished(*call);
        }
        // Its beginning would be taken for the next call's reply.
        return reader_.has_more() ? unasked() : Outcome();
    }

private:
    struct Expected {
        Call* call;
        std::size_t left;
    };

    static Outcome unasked() { return {Errc::protocol, "a reply to no command"}; }
    static Outcome garbage() { return {Errc::protocol, "not the protocol of Redis"}; }

    ReplyReader reader_;
    std::deque<Expected> expected_;
};

}  // namespace drey::redis
