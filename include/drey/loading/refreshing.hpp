#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/loading/loader.hpp"
#include "drey/options.hpp"

namespace drey {

/// How many keys one `refresh_all` has loading, or waiting in an executor, at a time.
inline constexpr std::size_t most_refreshes = 32;

namespace detail {

/// What ends when the cache does.
class Endable {
public:
    virtual ~Endable() = default;
    virtual void end() noexcept = 0;
};

/// One `refresh_all`: the keys that are still to come, and the loader for all of them.
///
/// Whoever finishes a load starts the next, so that no thread need wait. An executor may run what
/// it is given at once, in the call: then that load ends while another call of `go_on`, further up
/// on the stack, is about to start the next anyway; so only one at a time starts any.
template <class K, class Loading, class Loader>
class RefreshAll final : public Endable,
                         public std::enable_shared_from_this<RefreshAll<K, Loading, Loader>> {
public:
    template <class L>
    RefreshAll(Loading& loading, std::vector<K>&& keys, L&& loader, const LoadOptions& options)
        : loading_(loading), loader_(std::forward<L>(loader)), options_(options),
          keys_(std::move(keys)) {}

    /// Starts as many as may be. A key that cannot be started is left out.
    void go_on() noexcept {
        std::unique_lock lock(mutex_);
        if (starting_) return;
        starting_ = true;
        while (next_ < keys_.size() && running_ < most_refreshes) {
            const K& key = keys_[next_++];
            ++running_;
            lock.unlock();
            start(key);
            lock.lock();
        }
        starting_ = false;
        changed_.notify_all();
    }

    void end() noexcept override {
        std::unique_lock lock(mutex_);
        next_ = keys_.size();
        changed_.wait(lock, [&] { return !starting_; });
    }

private:
    /// The loader of one key: calls the user's. When it is destroyed, the load is done, or there
    /// will be none: the executor dropped it, or the key was being loaded already.
    class LoadOne {
    public:
        explicit LoadOne(std::shared_ptr<RefreshAll> all) noexcept : all_(std::move(all)) {}
        LoadOne(LoadOne&&) noexcept = default;
        LoadOne& operator=(LoadOne&&) = delete;
        ~LoadOne() {
            if (all_) all_->one_less();
        }

        decltype(auto) operator()(const K& key) const { return call_loader(all_->loader_, key); }

    private:
        std::shared_ptr<RefreshAll> all_;  // null once it has been moved on
    };

    void start(const K& key) noexcept {
        LoadOne load_one(this->shared_from_this());
        try {
            loading_.refresh(K(key), std::move(load_one), options_);
        } catch (...) {
        }
    }

    void one_less() noexcept {
        {
            const std::lock_guard lock(mutex_);
            --running_;
        }
        go_on();
    }

    Loading& loading_;
    Loader loader_;
    const LoadOptions options_;
    std::mutex mutex_;
    std::condition_variable changed_;
    const std::vector<K> keys_;
    std::size_t next_ = 0;
    std::size_t running_ = 0;
    bool starting_ = false;
};

}  // namespace detail

/// The calls of `refresh_all` of one cache that have not come to their end. To be destroyed before
/// what loads.
template <class K, class Loading>
class Refreshing {
public:
    explicit Refreshing(Loading& loading) : loading_(loading) {}
    Refreshing(const Refreshing&) = delete;
    Refreshing& operator=(const Refreshing&) = delete;
    ~Refreshing() {
        for (const auto& one : all_)
            if (const auto still_there = one.lock()) still_there->end();
    }

    template <class Loader>
    void start(std::vector<K>&& keys, Loader&& loader, const LoadOptions& options) {
        using One = detail::RefreshAll<K, Loading, std::decay_t<Loader>>;
        const auto one =
            std::make_shared<One>(loading_, std::move(keys), std::forward<Loader>(loader), options);
        {
            const std::lock_guard lock(mutex_);
            all_.erase(std::remove_if(all_.begin(), all_.end(),
                                      [](const auto& other) { return other.expired(); }),
                       all_.end());
            all_.push_back(one);
        }
        one->go_on();
    }

private:
    Loading& loading_;
    std::mutex mutex_;
    std::vector<std::weak_ptr<detail::Endable>> all_;
};

}  // namespace drey
