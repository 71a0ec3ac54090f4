#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "drey/clock.hpp"

namespace drey {

/// Calls at a time, for all who wait without a thread of their own. One thread, started by the
/// first alarm. Thread-safe, but for destruction.
class Alarms {
public:
    explicit Alarms(const ClockRef& clock) noexcept : clock_(clock) {}
    Alarms(const Alarms&) = delete;
    Alarms& operator=(const Alarms&) = delete;
    ~Alarms() { stop(); }

    /// No alarm goes off any more; the last one has rung.
    void stop() noexcept {
        {
            const std::lock_guard lock(mutex_);
            ends_ = true;
        }
        changed_.notify_all();
        if (thread_.joinable()) thread_.join();
    }

    /// Has `ring` called, on the thread of the alarms, once the clock shows `at`. It must not
    /// throw, nor take long. Throws std::bad_alloc, and std::system_error if there can be no
    /// thread.
    void set(std::int64_t at, std::function<void()> ring) {
        {
            const std::lock_guard lock(mutex_);
            if (ends_) return;
            const auto alarm = alarms_.emplace(at, std::move(ring));
            try {
                if (!thread_.joinable()) thread_ = std::thread([this] { watch(); });
            } catch (...) {
                alarms_.erase(alarm);
                throw;
            }
        }
        changed_.notify_all();
    }

private:
    void watch() {
        std::unique_lock lock(mutex_);
        while (!ends_) {
            if (alarms_.empty()) {
                changed_.wait(lock);
                continue;
            }
            const std::int64_t left = alarms_.begin()->first - clock_.now();
            if (left <= 0) {
                const auto ring = std::move(alarms_.begin()->second);
                alarms_.erase(alarms_.begin());
                lock.unlock();
                ring();
                lock.lock();
            } else {
                changed_.wait_for(lock, clock_.nap(left));
            }
        }
    }

    const ClockRef& clock_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::multimap<std::int64_t, std::function<void()>> alarms_;
    std::thread thread_;
    bool ends_ = false;
};

}  // namespace drey
