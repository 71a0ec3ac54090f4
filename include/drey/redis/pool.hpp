#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "drey/redis/call.hpp"
#include "drey/redis/channel.hpp"

namespace drey::redis {

/// A bounded number of connections, each for one call at a time. Thread-safe. The one that was used
/// last is used first, so that no more stay busy than are needed.
class Pool {
public:
    Pool(const Connecting& connecting, std::size_t most) : connecting_(connecting), most_(most) {}

    /// Runs the call to its end; fails with `saturated` if no connection comes free in time.
    void run(Call& call) {
        std::vector<Call*> batch{&call};
        Channel* const channel = borrow(call.deadline);
        if (channel == nullptr) return call.finish(Errc::saturated);
        call.drive();
        channel->start(batch);
        while (!call.finished()) channel->advance();
        give_back(*channel);
    }

    /// Whether an idle connection is open; a moment's truth.
    bool connected() const {
        const std::lock_guard lock(mutex_);
        return !idle_.empty() && idle_.back()->connected();
    }

private:
    Channel* borrow(TimePoint deadline) {
        std::unique_lock lock(mutex_);
        const auto available = [&] { return !idle_.empty() || channels_.size() < most_; };
        if (!available() && !came_free_.wait_until(lock, deadline, available)) return nullptr;
        if (idle_.empty()) {
            idle_.reserve(channels_.size() + 1);  // so that giving back cannot fail
            return &channels_.emplace_back(connecting_);
        }
        Channel* const channel = idle_.back();
        idle_.pop_back();
        return channel;
    }

    void give_back(Channel& channel) noexcept {
        {
            const std::lock_guard lock(mutex_);
            idle_.push_back(&channel);
        }
        came_free_.notify_one();
    }

    const Connecting& connecting_;
    const std::size_t most_;
    mutable std::mutex mutex_;
    std::condition_variable came_free_;
    std::deque<Channel> channels_;  // never moves them
    std::vector<Channel*> idle_;
};

}  // namespace drey::redis
