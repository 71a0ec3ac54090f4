#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace drey {

/// While it lives, the calling thread runs a load in the background. What that load needs it must
/// not have run there too, and wait: all the threads that could might be waiting so.
class InBackground {
public:
    InBackground() noexcept : outer_(std::exchange(here_, true)) {}
    InBackground(const InBackground&) = delete;
    InBackground& operator=(const InBackground&) = delete;
    ~InBackground() { here_ = outer_; }

    static bool here() noexcept { return here_; }

private:
    static inline thread_local bool here_ = false;
    const bool outer_;
};

/// Threads that run tasks, in the order in which they came: one is started for a task that finds
/// none idle, up to a limit, and stays. Loads wait for databases, so more threads than processors
/// make sense. Thread-safe, but for destruction.
class Workers {
public:
    static constexpr std::size_t most_threads = 16;

    Workers() = default;
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    /// Runs what was given, and ends. Not from a task.
    ~Workers() {
        {
            const std::lock_guard lock(mutex_);
            ends_ = true;
        }
        changed_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    /// Throws std::system_error if there is no thread and none can be started, and std::bad_alloc;
    /// then the task is not run. Tasks must not throw.
    void run(std::function<void()> task) {
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(task));
            if (tasks_.size() > idle_ && threads_.size() < most_threads) {
                try {
                    threads_.emplace_back([this] { work(); });
                } catch (const std::system_error&) {
                    if (threads_.empty()) {
                        tasks_.pop_back();
                        throw;
                    }
                } catch (...) {
                    tasks_.pop_back();
                    throw;
                }
            }
        }
        changed_.notify_one();
    }

private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            ++idle_;
            changed_.wait(lock, [&] { return ends_ || !tasks_.empty(); });
            --idle_;
            if (tasks_.empty()) return;
            {
                const std::function<void()> task = std::move(tasks_.front());
                tasks_.pop_front();
                lock.unlock();
                task();
            }
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> tasks_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool ends_ = false;
};

}  // namespace drey
