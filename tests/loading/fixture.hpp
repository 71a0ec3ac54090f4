#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"

namespace loading {

using namespace std::chrono_literals;

/// What a loader throws.
struct Broken : std::runtime_error {
    Broken() : std::runtime_error("broken") {}
};

/// An executor that does what the test says. Thread-safe, but for `does`.
class Background {
public:
    enum { queues, runs, drops, refuses } does = queues;
    std::function<void()> after_taking = {};  // called with each task that was queued

    drey::Executor executor() {
        return [this](std::function<void()> task) { take(std::move(task)); };
    }

    std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return tasks_.size();
    }

    /// Runs what is queued, and what that queues; how many there were.
    std::size_t run() {
        std::size_t count = 0;
        while (const auto task = next()) {
            task();
            ++count;
        }
        return count;
    }

    void drop() {
        while (next()) {
        }
    }

private:
    void take(std::function<void()> task) {
        if (does == refuses) throw std::runtime_error("refused");
        if (does == runs) task();
        if (does != queues) return;
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(task));
        }
        if (const auto hook = after_taking) hook();  // a copy: it may replace itself
    }

    std::function<void()> next() {
        const std::lock_guard lock(mutex_);
        if (tasks_.empty()) return {};
        auto task = std::move(tasks_.front());
        tasks_.pop_front();
        return task;
    }

    mutable std::mutex mutex_;
    std::deque<std::function<void()>> tasks_;
};

/// A key whose text is on the heap, so that one that was moved from is seen to be another.
inline const std::string the_key(64, 'k');

/// The key as text that does something when a key is made of it: after the first look at the cache,
/// before the load. To be asked for once.
struct Text {
    std::function<void()>* when_made;
    int* asked;
    operator std::string_view() const {
        if (++*asked == 2) (*when_made)();
        return the_key;
    }
};

/// A cache before a database of one row, for one thread: what others do meanwhile, `during` does.
struct Fixture {
    using Cache = drey::Cache<std::string, int, drey::Lru>;

    explicit Fixture(drey::LoadOptions loading = {}, drey::Ttl ttl = 10s) {
        loading.executor = background.executor();
        cache.emplace(Cache::Options{
            .capacity = 1000, .ttl = ttl, .loading = loading, .clock = clock, .seed = 1});
    }
    Fixture(const Fixture&) = delete;
    ~Fixture() {
        if (cache && !cache->validate()) std::abort();
    }

    /// Has the key hold a stale value, which may be used for an hour.
    void be_stale(int value = 1) {
        cache->put(the_key, value, {.ttl = 1s, .stale_for = 1h});
        clock.advance(1s);
    }

    /// What the loaders do.
    std::optional<int> load() {
        ++loads;
        const std::optional<int> read = row;
        if (during) std::exchange(during, nullptr)();
        if (is_broken) throw Broken();
        return read;
    }
    auto perhaps() {
        return [this] { return load(); };
    }
    auto surely() {
        return [this] { return load().value(); };
    }

    /// The row or nothing, and the row.
    std::optional<int> find(const drey::LoadOptions& options = {}) {
        return cache->get_or_load(the_key, perhaps(), options);
    }
    int get(const drey::LoadOptions& options = {}) {
        return cache->get_or_load(the_key, surely(), options);
    }

    drey::Found state() { return cache->find(the_key).state(); }
    drey::Stats stats() const { return cache->stats(); }

    drey::ManualClock clock;
    Background background;
    std::optional<int> row = 2;
    bool is_broken = false;
    int loads = 0;
    std::function<void()> during;  // by the next loader, after it has read the row
    std::optional<Cache> cache;
};

/// What a stale value may be used for.
inline drey::LoadOptions stale(drey::ServeStale how = drey::ServeStale::both) {
    return {.stale_for = 1h, .serve_stale = how};
}

}  // namespace loading
