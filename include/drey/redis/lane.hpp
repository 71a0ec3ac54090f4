#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "drey/redis/call.hpp"
#include "drey/redis/channel.hpp"

namespace drey::redis {

/// One connection for any number of threads, by automatic pipelining.
///
/// Who finds the lane free drives: it sends its commands and waits for the replies, with no queue,
/// no other thread and no wake-up involved. Who comes meanwhile queues. When the round is over, the
/// first in the queue drives the next one and sends the commands of the whole queue at once. So the
/// more threads there are, the more commands share a system call, here and at the server.
///
/// Only the driver watches the clock, for everyone in its round; the others sleep until told. That
/// is enough because all calls of a cache have the same time limit: whoever queues during a round
/// began later than everyone in it, and so may wait longer. A driver whose own call is finished
/// before the others' hands the channel to one of them.
///
/// Whom is told what: everyone who was in a round sleeps on the same word, so that one system call
/// wakes them all; rounds alternate between two words, so that it wakes nobody else. The first in
/// the queue sleeps on a word of its own.
class Lane {
public:
    explicit Lane(const Connecting& connecting) : channel_(connecting) {}

    /// Runs the call to its end: outcome and replies are there when this returns.
    void run(Call& call) {
        if (const auto word = begin_or_queue(call)) {
            if (sleep(call, *word) == Call::State::finished) return;
            if (*word == next_driver) begin_next_round();
        }
        drive(call);
    }

    /// Whether it has a connection; a moment's truth.
    bool connected() const noexcept { return connected_.load(std::memory_order_relaxed); }

private:
    static constexpr std::size_t next_driver = 2;  // index of the word

    /// Begins a round with this call alone if nobody drives; else queues it, and returns the word
    /// on which to sleep.
    std::optional<std::size_t> begin_or_queue(Call& call) {
        const std::lock_guard lock(mutex_);
        if (busy_) {
            const std::size_t word = queue_.empty() ? next_driver : (round_ + 1) % 2;
            queue_.push_back(&call);
            return word;
        }
        batch_.push_back(&call);
        busy_ = true;
        return std::nullopt;
    }

    void begin_next_round() {
        const std::lock_guard lock(mutex_);
        batch_.swap(queue_);
        ++round_;
    }

    /// Sleeps until the call is finished or is to drive.
    Call::State sleep(const Call& call, std::size_t word) {
        for (;;) {
            // Read before the state, with acquire: a change after that is not slept through.
            const std::uint32_t seen = words_[word].load(std::memory_order_acquire);
            if (const auto state = call.state(); state != Call::State::waits) return state;
            words_[word].wait(seen, std::memory_order_acquire);
        }
    }

    /// After a change of state. Touches no call: those who saw the change may be gone with theirs.
    void wake(std::size_t word) noexcept {
        words_[word].fetch_add(1, std::memory_order_release);
        words_[word].notify_all();
    }

    /// Drives the channel until the own call is finished, then lets another do it.
    void drive(Call& own) noexcept {
        const std::size_t round_word = round_ % 2;  // stays while this thread drives
        std::size_t before = channel_.under_way() + batch_.size();
        if (!batch_.empty()) channel_.start(batch_);
        for (;;) {
            const std::size_t finished = before - channel_.under_way();
            if (finished > (own.finished() ? 1u : 0u)) wake(round_word);
            if (own.finished()) break;
            before -= finished;
            channel_.advance();
        }
        if (Call* const heir = channel_.any()) {
            heir->drive();
            wake(round_word);
            return;
        }
        connected_.store(channel_.connected(), std::memory_order_relaxed);
        {
            const std::lock_guard lock(mutex_);
            if (queue_.empty()) {
                busy_ = false;
                return;
            }
            queue_.front()->drive();
        }
        wake(next_driver);
    }

    // The driver's: the mutex, or the state of the call that is told to drive, hands them on.
    Channel channel_;
    std::vector<Call*> batch_;  // of the round that begins

    std::mutex mutex_;
    bool busy_ = false;         // somebody drives
    std::vector<Call*> queue_;  // for the next round
    std::uint32_t round_ = 0;   // that is driven; written by the driver

    std::array<std::atomic<std::uint32_t>, 3> words_{};
    std::atomic<bool> connected_{false};
};

}  // namespace drey::redis
