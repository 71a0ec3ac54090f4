#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "drey/types.hpp"

namespace drey {

/// The keys whose loader has thrown while a stale value was at hand, and until when it is left
/// alone. By hash: two keys with one rest together. A value that was stored since needs no rest.
/// Thread-safe.
class Rests {
public:
    /// Has the key rest until then. Forgets the rests that are over, and at worst some others, when
    /// there are too many. Throws std::bad_alloc.
    void begin(Hash h, std::int64_t now, std::int64_t until) {
        if (until <= now) return;
        const std::lock_guard lock(mutex_);
        if (rests_.size() >= most) {
            // Looks through all of them once in as many calls as there may be.
            if (to_next_look_ == 0) {
                std::erase_if(rests_, [&](const auto& rest) { return rest.second.until <= now; });
                to_next_look_ = most;
            }
            if (rests_.size() >= most) rests_.erase(rests_.begin());
        }
        if (to_next_look_ > 0) --to_next_look_;
        rests_.insert_or_assign(h, Rest{now, until});
        any_.store(true, std::memory_order_relaxed);
    }

    /// Whether the key rests at this moment, by `clock()`, if its value is fresh for `left` more
    /// nanoseconds: one that was so when the rest began is another. Relaxed: a thread that has not
    /// heard of a rest has asked before it began.
    template <class Clock>
    bool contains(Hash h, std::int64_t left, Clock&& clock) {
        if (!any_.load(std::memory_order_relaxed)) return false;
        const std::lock_guard lock(mutex_);
        const auto rest = rests_.find(h);
        if (rest == rests_.end()) return false;
        const std::int64_t now = clock();
        if (rest->second.until <= now) {
            end(rest);
            return false;
        }
        return left > 0 || now + left <= rest->second.began;
    }

    /// The key was loaded after all.
    void end(Hash h) noexcept {
        if (!any_.load(std::memory_order_relaxed)) return;
        const std::lock_guard lock(mutex_);
        if (const auto rest = rests_.find(h); rest != rests_.end()) end(rest);
    }

private:
    static constexpr std::size_t most = 1 << 16;

    struct Rest {
        std::int64_t began;
        std::int64_t until;
    };

    void end(std::unordered_map<Hash, Rest>::iterator rest) noexcept {
        rests_.erase(rest);
        if (rests_.empty()) any_.store(false, std::memory_order_relaxed);
    }

    std::mutex mutex_;
    std::unordered_map<Hash, Rest> rests_;
    std::size_t to_next_look_ = 0;
    std::atomic<bool> any_{false};
};

}  // namespace drey
