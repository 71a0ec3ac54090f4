#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "drey/redis/call.hpp"
#include "drey/redis/channel.hpp"
#include "drey/redis/wait_word.hpp"

namespace drey::redis {

/// One connection for any number of threads, by automatic pipelining.
///
/// Who finds the lane free drives: it sends its commands and waits for the replies, with no queue,
/// no other thread and no wake-up involved. Who comes meanwhile queues. When the round is over, the
/// first in the queue drives the next one and sends the commands of the whole queue at once. So the
/// more threads there are, the more commands share a system call, here and at the server.
///
/// The driver watches the clock for everyone in its round; the others sleep until told. Who queues
/// does so too if its own time ends after that of everyone in the round, and that is the rule: it
/// began later. Who has less, having spent its time on earlier round trips, sets itself an alarm. A
/// driver whose own call is finished before the others' hands the channel to one of them.
///
/// Whom is told what: everyone who was in a round sleeps on the same word, so that one system call
/// wakes them all; rounds alternate between two words, so that it wakes nobody else. The first in
/// the queue sleeps on a word of its own.
class Lane {
public:
    explicit Lane(const Connecting& connecting) : channel_(connecting) {}

    /// Runs the call to its end: outcome and replies are there when this returns.
    void run(Call& call) {
        if (const auto bed = begin_or_queue(call)) {
            auto state = sleep(call, *bed);
            if (state == Call::State::waits) {
                if (leave_queue(call)) return call.finish(Errc::timed_out);
                state = sleep(call, {bed->word});  // in a round by now, whose driver sees to it
            }
            if (state == Call::State::finished) return;
        }
        begin_next_round_if_first(call);
        drive(call);
    }

    /// Whether it has a connection; a moment's truth.
    bool connected() const noexcept { return connected_.load(std::memory_order_relaxed); }

private:
    static constexpr std::size_t next_driver = 2;  // index of the word

    /// Where and for how long a call sleeps.
    struct Bed {
        std::size_t word;
        TimePoint alarm = TimePoint::max();
    };

    /// Begins a round with this call alone if nobody drives; else queues it.
    std::optional<Bed> begin_or_queue(Call& call) {
        const std::lock_guard lock(mutex_);
        if (busy_) {
            Bed bed{queue_.empty() ? next_driver : (round_ + 1) % 2};
            if (call.deadline < round_ends_) bed.alarm = call.deadline;
            call.bed = bed.word;
            queue_.push_back(&call);
            return bed;
        }
        batch_.push_back(&call);
        round_ends_ = call.deadline;
        busy_ = true;
        return std::nullopt;
    }

    /// Whether it was still there.
    bool leave_queue(const Call& call) {
        const std::lock_guard lock(mutex_);
        // Promoted already, it is the one whom all in the queue rely on.
        if (call.state() != Call::State::waits) return false;
        return std::erase(queue_, &call) > 0;
    }

    /// If the call was told to drive from within the queue: all of it is the next round.
    void begin_next_round_if_first(const Call& call) {
        if (!channel_.idle() || !batch_.empty()) return;
        // Those whose replies have just come are about to ask again: they should be in it too.
        std::this_thread::yield();
        const std::lock_guard lock(mutex_);
        ++round_;
        round_ends_ = call.deadline;
        for (const Call* const queued : queue_)
            round_ends_ = std::max(round_ends_, queued->deadline);
        batch_.swap(queue_);
    }

    /// Sleeps until the call is finished or is to drive, or until the alarm: then it still waits.
    Call::State sleep(const Call& call, const Bed& bed) noexcept {
        for (;;) {
            // Read before the state: a change after that is not slept through.
            const std::uint32_t seen = words_[bed.word].value();
            const auto state = call.state();
            if (state != Call::State::waits) return state;
            const bool has_alarm = bed.alarm != TimePoint::max();
            if (has_alarm && bed.alarm <= std::chrono::steady_clock::now()) return state;
            words_[bed.word].wait(seen, bed.alarm);
        }
    }

    /// Drives the channel until the own call is finished, then lets another do it.
    void drive(Call& own) noexcept {
        const std::size_t round_word = round_ % 2;  // stays while this thread drives
        std::size_t before = channel_.under_way() + batch_.size();
        if (!batch_.empty()) channel_.start(batch_);
        for (;;) {
            const std::size_t finished = before - channel_.under_way();
            if (finished > (own.finished() ? 1u : 0u)) words_[round_word].wake_all();
            if (own.finished()) break;
            before -= finished;
            channel_.advance();
        }
        if (Call* const heir = channel_.any()) {
            heir->drive();
            words_[round_word].wake_all();
            return;
        }
        connected_.store(channel_.connected(), std::memory_order_relaxed);
        std::size_t word = 0;
        {
            const std::lock_guard lock(mutex_);
            if (queue_.empty()) {
                busy_ = false;
                return;
            }
            word = queue_.front()->bed;
            queue_.front()->drive();
        }
        words_[word].wake_all();
    }

    // The driver's: the mutex, or the state of the call that is told to drive, hands them on.
    Channel channel_;
    std::vector<Call*> batch_;  // of the round that begins

    std::mutex mutex_;
    bool busy_ = false;         // somebody drives
    std::vector<Call*> queue_;  // for the next round
    std::uint32_t round_ = 0;   // that is driven; written by the driver
    TimePoint round_ends_;      // when the last of it runs out of time

    // Changed after the state of a call; whoever saw that may be gone by then, and its call too.
    std::array<WaitWord, 3> words_;
    std::atomic<bool> connected_{false};
};

}  // namespace drey::redis
