#pragma once

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "drey/error.hpp"
#include "drey/terms.hpp"

namespace drey {

/// What an asynchronous load came to.
template <class R>
class LoadResult {
public:
    explicit LoadResult(R value) : value_(std::move(value)) {}
    explicit LoadResult(std::exception_ptr error) : error_(std::move(error)) {}

    /// The value. Throws what the loader threw; LoadTimeout, LoadCancelled, LoadAbandoned.
    R get() && {
        if (error_) std::rethrow_exception(error_);
        return *std::move(value_);
    }
    const R& get() const& {
        if (error_) std::rethrow_exception(error_);
        return *value_;
    }

    /// What `get` throws; null if it returns.
    std::exception_ptr error() const noexcept { return error_; }
    explicit operator bool() const noexcept { return !error_; }

private:
    std::optional<R> value_;
    std::exception_ptr error_;
};

namespace detail {

/// What a load and who awaits it share. Completed once: the first who does so wins.
template <class V>
class Promise {
public:
    explicit Promise(Executor executor) : executor_(std::move(executor)) {}

    /// Whether this call was the one.
    bool complete(std::optional<V> value, std::exception_ptr error) noexcept {
        std::function<void()> then;
        {
            const std::lock_guard lock(mutex_);
            if (is_done_) return false;
            is_done_ = true;
            value_ = std::move(value);
            error_ = std::move(error);
            then = std::move(then_);
        }
        if (then) go_on(std::move(then));
        return true;
    }

    bool is_done() const {
        const std::lock_guard lock(mutex_);
        return is_done_;
    }

    /// Has `then` called once it is done. False if it is: then it is not called.
    bool when_done(std::function<void()> then) {
        const std::lock_guard lock(mutex_);
        if (is_done_) return false;
        then_ = std::move(then);
        return true;
    }

    /// Nobody waits any more. What follows may be on its way already, in an executor's queue: so it
    /// asks.
    void forget() noexcept {
        std::function<void()> then;
        const std::lock_guard lock(mutex_);
        is_forgotten_ = true;
        then.swap(then_);
    }
    bool is_forgotten() const {
        const std::lock_guard lock(mutex_);
        return is_forgotten_;
    }

    template <class R>
    LoadResult<R> result() {
        const std::lock_guard lock(mutex_);
        if (error_) return LoadResult<R>(error_);
        if constexpr (std::same_as<R, V>) {
            return LoadResult<R>(*std::move(value_));
        } else {
            return LoadResult<R>(std::move(value_));
        }
    }

private:
    /// What follows, to be run once: at the latest when an executor drops it.
    struct Follow {
        explicit Follow(std::function<void()> what) : then(std::move(what)) {}
        Follow(const Follow&) = delete;
        Follow& operator=(const Follow&) = delete;
        ~Follow() { run(); }
        void run() {
            if (const auto once = std::exchange(then, nullptr)) once();
        }

        std::function<void()> then;
    };

    /// Not on the thread that happened to load, which has other things to do, unless the executor
    /// leaves no other.
    void go_on(std::function<void()> then) noexcept {
        std::shared_ptr<Follow> follow;
        try {
            follow = std::make_shared<Follow>(then);
            executor_([follow] { follow->run(); });
        } catch (...) {
            if (follow) return follow->run();
            then();
        }
    }

    const Executor executor_;
    mutable std::mutex mutex_;
    bool is_done_ = false;
    bool is_forgotten_ = false;
    std::optional<V> value_;
    std::exception_ptr error_;
    std::function<void()> then_;
};

}  // namespace detail

/// A value that is there or on its way: what `async_get_or_load` returns. R is V, or optional<V> if
/// the loader may say that there is no such row.
///
/// Take the result once, in one of two ways:
///
///     const User user = co_await users.async_get_or_load(id, load_user);
///     users.async_get_or_load(id, load_user).then([](drey::LoadResult<User> result) { ... });
///
/// What comes after runs at once if the value is there, else on the executor of the load, or on a
/// thread of the cache's. No thread waits. Dropping this, or a coroutine that awaits it, changes
/// nothing for the load or for others who wait for it. May outlive the cache.
template <class V, class R>
class [[nodiscard]] Async {
public:
    explicit Async(std::shared_ptr<detail::Promise<V>> promise) : promise_(std::move(promise)) {}
    Async(Async&&) noexcept = default;
    Async& operator=(Async&&) noexcept = default;

    bool is_done() const { return promise_->is_done(); }

    /// Calls `f(LoadResult<R>)` once the load has ended. f must not throw.
    template <class F>
    void then(F f) && {
        static_assert(std::invocable<F&, LoadResult<R>>,
                      "drey: then needs a function that takes a drey::LoadResult");
        const auto call = std::make_shared<F>(std::move(f));
        const auto on_done = [promise = promise_, call]() {
            (*call)(promise->template result<R>());
        };
        if (!promise_->when_done(on_done)) on_done();
    }

    /// Who waits gets LoadCancelled; the load goes on, and is stored.
    void cancel() { promise_->complete(std::nullopt, std::make_exception_ptr(LoadCancelled())); }

    /// What can cancel it while it is awaited.
    std::function<void()> canceller() const {
        return [promise = promise_] {
            promise->complete(std::nullopt, std::make_exception_ptr(LoadCancelled()));
        };
    }

    /// For co_await. Any kind of handle, so that this needs no header of coroutines.
    class Awaiter {
    public:
        explicit Awaiter(std::shared_ptr<detail::Promise<V>> promise)
            : promise_(std::move(promise)) {}
        Awaiter(const Awaiter&) = delete;
        Awaiter& operator=(const Awaiter&) = delete;
        ~Awaiter() {
            if (is_suspended_) promise_->forget();  // the coroutine was destroyed
        }

        bool await_ready() const { return promise_->is_done(); }
        template <class Handle>
        bool await_suspend(Handle handle) {
            is_suspended_ = true;  // before: it may be resumed, and gone, at once
            // By value: this object is gone when the other thread has been faster.
            const auto promise = promise_;
            const auto resume = [promise, handle]() mutable {
                if (!promise->is_forgotten()) handle.resume();
            };
            if (promise->when_done(resume)) return true;
            is_suspended_ = false;
            return false;
        }
        R await_resume() {
            is_suspended_ = false;
            return promise_->template result<R>().get();
        }

    private:
        std::shared_ptr<detail::Promise<V>> promise_;
        bool is_suspended_ = false;
    };

    Awaiter operator co_await() && { return Awaiter(std::move(promise_)); }

private:
    std::shared_ptr<detail::Promise<V>> promise_;
};

}  // namespace drey
