#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "drey/options.hpp"

namespace drey {

/// How a cache is warmed up.
struct WarmOptions {
    /// How many threads load, the calling one among them; 0: as many as there are processors, at
    /// most 8. A Local cache has one.
    std::size_t threads = 0;

    /// Told how many keys are done, of how many: 0 if the range does not know its size. Called by
    /// one thread at a time, with rising numbers, after each percent of the keys (each 100 of an
    /// unknown number) and in the end. May call the cache. What it throws ends the warm-up and
    /// comes out of it.
    std::function<void(std::size_t done, std::size_t total)> on_progress = {};

    /// As for `get_or_load`.
    LoadOptions load = {};
};

/// What a warm-up came to: of each key of the range, one.
struct [[nodiscard]] WarmUp {
    std::size_t loaded = 0;  ///< have a value now, be it that they had one before
    std::size_t absent = 0;  ///< have no row
    std::size_t failed = 0;  ///< the loader threw

    /// What it threw first; null if it never did.
    std::exception_ptr first_error = nullptr;
};

namespace detail {

/// Threads that take keys from one range, each when it is done with the one before, so that slow
/// loads hold up nobody else. What the caller's code throws that is no loader ends it for all.
template <class K, class Keys, class Load>
class WarmingUp {
public:
    /// `load(key)`: whether there is such a row; may throw.
    WarmingUp(Keys& keys, Load& load, const WarmOptions& options)
        : next_(std::ranges::begin(keys)), end_(std::ranges::end(keys)), load_(load),
          on_progress_(options.on_progress) {
        if constexpr (std::ranges::sized_range<Keys>)
            total_ = static_cast<std::size_t>(std::ranges::size(keys));
        step_ = std::ranges::sized_range<Keys> ? std::max<std::size_t>(1, total_ / 100) : 100;
        next_report_ = step_;
    }

    std::size_t total() const noexcept { return total_; }

    WarmUp run(std::size_t threads) {
        {
            Others others;
            try {
                while (others.threads.size() + 1 < threads)
                    others.threads.emplace_back([this] { work(); });
            } catch (const std::system_error&) {  // then by fewer
            }
            work();
        }
        if (fatal_) std::rethrow_exception(fatal_);
        if (on_progress_ && reported_ != done_) on_progress_(done_, total_);
        return std::move(result_);
    }

private:
    struct Others {
        std::vector<std::thread> threads;
        ~Others() {
            for (std::thread& thread : threads) thread.join();
        }
    };

    void work() noexcept {
        try {
            while (const std::optional<K> key = take()) load_one(*key);
        } catch (...) {
            const std::lock_guard lock(mutex_);
            if (!fatal_) fatal_ = std::current_exception();
        }
    }

    std::optional<K> take() {
        const std::lock_guard lock(range_mutex_);
        if (ended() || next_ == end_) return std::nullopt;
        std::optional<K> key(std::in_place, *next_);
        ++next_;
        return key;
    }

    bool ended() {
        const std::lock_guard lock(mutex_);
        return fatal_ != nullptr;
    }

    void load_one(const K& key) {
        std::exception_ptr error;
        bool found = false;
        try {
            found = load_(key);
        } catch (...) {
            error = std::current_exception();
        }
        {
            const std::lock_guard lock(mutex_);
            ++done_;
            ++(error ? result_.failed : found ? result_.loaded : result_.absent);
            if (error && !result_.first_error) result_.first_error = error;
        }
        if (on_progress_) report();
    }

    /// Who comes while another thread is reporting goes on; a later one says more.
    void report() {
        const std::unique_lock reporting(report_mutex_, std::try_to_lock);
        if (!reporting) return;
        {
            const std::lock_guard lock(mutex_);
            if (done_ < next_report_) return;
            reported_ = done_;
            next_report_ = done_ + step_;
        }
        on_progress_(reported_, total_);
    }

    std::mutex range_mutex_, report_mutex_, mutex_;
    std::ranges::iterator_t<Keys> next_;  // with range_mutex_
    std::ranges::sentinel_t<Keys> end_;
    Load& load_;
    const std::function<void(std::size_t, std::size_t)>& on_progress_;
    std::size_t total_ = 0;
    std::size_t step_;

    std::size_t reported_ = 0;  // with report_mutex_

    WarmUp result_;  // this and the rest: with mutex_
    std::size_t done_ = 0;
    std::size_t next_report_;
    std::exception_ptr fatal_;
};

template <class K, class Keys, class Load>
WarmUp warm(Keys& keys, Load& load, const WarmOptions& options, bool is_local) {
    if (is_local && options.threads > 1)
        throw std::invalid_argument("drey: threads must be 1 for a Local cache");
    check(options.load);
    WarmingUp<K, Keys, Load> warming_up(keys, load, options);
    std::size_t threads = options.threads;
    if (threads == 0) threads = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 8);
    if (is_local) threads = 1;
    if constexpr (std::ranges::sized_range<Keys>) threads = std::min(threads, warming_up.total());
    return warming_up.run(threads);
}

}  // namespace detail
}  // namespace drey
