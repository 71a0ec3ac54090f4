#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include "drey/redis/command.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/reply.hpp"

namespace drey::redis {

/// Whether a command may be sent again when nobody knows if the first was executed.
enum class Repeat { yes, no };

/// What one caller wants of a server in one round trip: commands, and room for a reply to each.
/// Lives on the caller's stack until it is finished.
///
/// Threads: whoever drives the connection owns it until `finish`; then the caller does, and the
/// other must not touch it any more.
struct Call {
    Call(std::span<const Command> the_commands, std::span<Reply> the_replies, Repeat may_repeat,
         TimePoint the_deadline)
        : commands(the_commands), replies(the_replies), repeat(may_repeat), deadline(the_deadline) {
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    const std::span<const Command> commands;
    const std::span<Reply> replies;  // as many
    const Repeat repeat;
    bool was_repeated = false;
    const TimePoint deadline;
    Outcome outcome;
    std::size_t bed = 0;  // for the lane: where its caller sleeps

    enum class State : std::uint32_t {
        waits,     // for the one who drives the connection
        drives,    // is that one, or has been told to be
        finished,  // outcome and replies are there
    };

    /// Acquire, paired with the releases below: who sees the state sees what led to it.
    State state() const noexcept { return state_.load(std::memory_order_acquire); }
    bool finished() const noexcept { return state() == State::finished; }

    void drive() noexcept { state_.store(State::drives, std::memory_order_release); }

    void finish() noexcept { state_.store(State::finished, std::memory_order_release); }
    void finish(const Outcome& how) noexcept {
        try {
            outcome = how;
        } catch (const std::bad_alloc&) {
            outcome.error = how.error;  // it is for the reason that there is no room
        }
        finish();
    }

private:
    std::atomic<State> state_{State::waits};
};

}  // namespace drey::redis
