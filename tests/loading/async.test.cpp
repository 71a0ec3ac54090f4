#include <version>
#ifdef __cpp_impl_coroutine
#include <coroutine>
#endif

#include <exception>
#include <latch>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "drey/cache.hpp"
#include "drey/error.hpp"
#include "loading/fixture.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// Loads that nobody waits for on a thread.

using namespace loading;
using drey::LoadResult;
using drey::ServeStale;

namespace {

/// What came of asynchronous calls, in the order in which they ended.
struct Ended {
    auto take() {
        return [this](LoadResult<int> result) { note(std::move(result)); };
    }
    auto take_optional() {
        return [this](LoadResult<std::optional<int>> result) { note(std::move(result)); };
    }

    template <class R>
    void note(LoadResult<R> result) {
        try {
            const std::optional<int> value = std::move(result).get();
            all.push_back(value ? std::to_string(*value) : "absent");
        } catch (const drey::LoadTimeout&) {
            all.push_back("timeout");
        } catch (const drey::LoadCancelled&) {
            all.push_back("cancelled");
        } catch (const drey::LoadAbandoned&) {
            all.push_back("abandoned");
        } catch (const Broken&) {
            all.push_back("broken");
        }
    }

    std::vector<std::string> all;
};

using Texts = std::vector<std::string>;

struct Async : Fixture {
    using Fixture::Fixture;

    void ask(const drey::LoadOptions& options = {}) {
        cache->async_get_or_load(the_key, surely(), options).then(ended.take());
    }

    Ended ended;
};

}  // namespace

TEST_CASE("async: what is there is there at once, without the executor") {
    Async one;
    one.cache->put(the_key, 7);
    CHECK(one.cache->async_get_or_load(the_key, one.surely()).is_done());
    one.ask();
    CHECK(one.ended.all == Texts{"7"});
    CHECK(one.background.size() == 0);
    CHECK(one.loads == 0);
}

TEST_CASE("async: a miss is loaded on the executor, once for all who wait, and stored") {
    Async one;
    one.ask();
    one.ask();
    one.ask();
    CHECK(one.background.size() == 1);
    CHECK(one.loads == 0);
    CHECK(one.ended.all.empty());
    one.background.run();
    CHECK(one.loads == 1);
    CHECK(one.ended.all == Texts{"2", "2", "2"});
    CHECK(one.cache->get(the_key) == 2);
}

TEST_CASE("async: what follows a load runs on the executor, not on the thread that loaded") {
    Async one;
    one.ask();
    CHECK(one.get() == 2);  // does not wait for the executor
    CHECK(one.ended.all.empty());
    one.background.run();
    CHECK(one.ended.all == Texts{"2"});
    CHECK(one.loads == 1);
}

TEST_CASE("async: an executor that refuses what follows leaves it to the thread that loaded") {
    Async one;
    one.ask();
    one.during = [&] { one.background.does = Background::refuses; };
    one.background.run();
    CHECK(one.ended.all == Texts{"2"});
}

TEST_CASE("async: what the loader throws is everybody's, and leaves no trace") {
    Async one;
    one.is_broken = true;
    one.ask();
    one.ask();
    one.background.run();
    CHECK(one.ended.all == Texts{"broken", "broken"});
    CHECK(one.cache->size() == 0);
    one.is_broken = false;
    one.ask();
    one.background.run();
    CHECK(one.ended.all.back() == "2");
}

TEST_CASE("async: no such row is nothing, and may be remembered") {
    Async one({.negative_ttl = 5s});
    one.row.reset();
    one.cache->async_get_or_load(the_key, one.perhaps()).then(one.ended.take_optional());
    one.background.run();
    one.cache->async_get_or_load(the_key, one.perhaps()).then(one.ended.take_optional());
    CHECK(one.ended.all == Texts{"absent", "absent"});
    CHECK(one.loads == 1);

    one.row = 4;  // a loader that knows no absence does not believe in one
    one.ask();
    one.background.run();
    CHECK(one.ended.all.back() == "4");
}

TEST_CASE("async: a loader that knows no absence goes on where another's load found none") {
    Async one;
    one.row.reset();
    one.cache->async_get_or_load(the_key, one.perhaps()).then(one.ended.take_optional());
    one.ask();
    one.during = [&] { one.row = 3; };
    one.background.run();
    CHECK(one.ended.all == Texts{"absent", "3"});
    CHECK(one.loads == 2);
}

TEST_CASE("async: an invalidation during the load wins") {
    Async one;
    one.during = [&] { one.cache->erase(the_key); };
    one.ask();
    one.background.run();
    CHECK(one.ended.all == Texts{"2"});
    CHECK_FALSE(one.cache->contains(the_key));
}

TEST_CASE("async: a stale value is there at once, and a load in the background") {
    Async one(stale());
    one.be_stale();
    one.ask();
    CHECK(one.ended.all == Texts{"1"});
    one.background.run();
    CHECK(one.cache->get(the_key) == 2);
    CHECK(one.stats().stale_serves == 1);
    CHECK(one.stats().refreshes == 1);
}

TEST_CASE("async: a stale value is served if the load throws, unless the key was invalidated") {
    Async one(stale(ServeStale::on_error));
    one.be_stale();
    one.is_broken = true;
    one.ask();
    CHECK(one.ended.all.empty());
    one.background.run();
    CHECK(one.ended.all == Texts{"1"});
    one.ask();  // the loader is left alone
    CHECK(one.ended.all == Texts{"1", "1"});
    CHECK(one.loads == 1);

    one.clock.advance(2s);
    one.during = [&] { one.cache->erase(the_key); };
    one.ask();
    one.background.run();
    CHECK(one.ended.all.back() == "broken");
}

TEST_CASE("async: who cancels is told, and the load and the others go on") {
    Async one;
    auto first = one.cache->async_get_or_load(the_key, one.surely());
    const auto cancel = first.canceller();
    std::move(first).then(one.ended.take());
    one.ask();
    cancel();
    cancel();
    one.background.run();
    CHECK(one.ended.all == Texts{"cancelled", "2"});
    CHECK(one.loads == 1);
    CHECK(one.cache->get(the_key) == 2);
}

TEST_CASE("async: what nobody asks for any more is loaded and stored all the same") {
    Async one;
    { const auto dropped = one.cache->async_get_or_load(the_key, one.surely()); }
    one.background.run();
    CHECK(one.cache->get(the_key) == 2);
}

TEST_CASE("async: an executor that drops or refuses a load is an error, and the next call loads") {
    Async one;
    one.ask();
    one.background.drop();
    one.background.does = Background::refuses;
    one.ask();
    CHECK(one.ended.all == Texts{"abandoned", "abandoned"});
    one.background.does = Background::runs;
    one.ask();
    CHECK(one.ended.all.back() == "2");
}

TEST_CASE("async: a cache that is destroyed abandons what has not begun") {
    Async one;
    one.ask();
    one.cache.reset();
    one.background.run();
    CHECK(one.ended.all == Texts{"abandoned"});
    CHECK(one.loads == 0);
}

TEST_CASE("async: nor is there a load after those that a destroyed cache waits for",
          "[concurrent]") {
    Async one;
    one.row.reset();
    std::latch begun(1), going(1);
    one.during = [&] {
        begun.count_down();
        going.wait();
    };
    one.cache->async_get_or_load(the_key, one.perhaps()).then(one.ended.take_optional());
    one.ask();  // does not put up with that there is no row
    one.cache->async_get_or_load("other", one.surely()).then(one.ended.take());
    support::in_threads(2, [&](std::size_t thread) {
        if (thread == 0) {
            one.background.run();
        } else {
            begun.wait();
            // When "other" is told that it is abandoned, the load goes on.
            one.background.after_taking = [&] {
                one.background.after_taking = nullptr;
                going.count_down();
            };
            one.cache.reset();
        }
    });
    CHECK(one.ended.all == Texts{"abandoned", "absent", "abandoned"});
    CHECK(one.loads == 1);
}

TEST_CASE("async: a Local cache without executor loads in the call") {
    drey::Cache<int, int, drey::Local<drey::Lru>> cache({.capacity = 10});
    auto loading = cache.async_get_or_load(1, [](int key) { return key + 1; });
    CHECK(loading.is_done());
    int got = 0;
    std::move(loading).then([&](LoadResult<int> result) { got = std::move(result).get(); });
    CHECK(got == 2);
}

TEST_CASE("async: timeouts hold on the first load of a key, and the late load is stored",
          "[concurrent]") {
    Async one;
    std::latch told(1);
    std::string got;
    one.cache->async_get_or_load(the_key, one.surely(), {.hard_timeout = 1s})
        .then([&](LoadResult<int> result) {
            Ended ended;
            ended.note(std::move(result));
            got = ended.all.back();
            told.count_down();
        });
    one.background.after_taking = nullptr;
    one.clock.advance(1s);
    // What follows a timeout goes to the executor, on the thread of the alarms.
    while (one.background.size() < 2) std::this_thread::yield();
    one.background.run();
    told.wait();
    CHECK(got == "timeout");
    CHECK(one.cache->get(the_key) == 2);
    CHECK(one.stats().load_timeouts == 1);
}

TEST_CASE("async: a soft timeout serves the stale value, unless the key was invalidated",
          "[concurrent]") {
    const bool is_erased = GENERATE(false, true);
    Async one(stale());
    one.be_stale();
    one.ask({.soft_timeout = 1s, .hard_timeout = 5s});
    if (is_erased) one.cache->erase(the_key);
    one.clock.advance(1s);
    // The executor has the load already; to it comes what follows, or the load of who looks again.
    while (one.background.size() < 2) std::this_thread::yield();
    one.background.run();
    CHECK(one.ended.all == Texts{is_erased ? "2" : "1"});
    CHECK(one.cache->get(the_key) == 2);
}

TEST_CASE("async: who went on to another load is not answered by the end of the one before",
          "[concurrent]") {
    Async one(stale());
    one.be_stale();
    one.cache->async_get_or_load(the_key, one.perhaps(), {.soft_timeout = 1s, .hard_timeout = 5s})
        .then(one.ended.take_optional());
    one.during = [&] {
        one.cache->erase(the_key);
        one.row = 3;
        one.clock.advance(1s);
        while (one.background.size() < 1) std::this_thread::yield();
    };
    one.background.run();
    CHECK(one.ended.all == Texts{"3"});
    CHECK(one.loads == 2);
    CHECK(one.cache->get(the_key) == 3);
}

TEST_CASE("async: threads of the cache's own load, and run what follows", "[concurrent]") {
    drey::Cache<int, int, drey::Lru> cache({.capacity = 1000});
    constexpr int keys = 200, askers = 4;
    std::latch all(keys * askers);
    std::atomic<int> loads{0}, wrong{0};
    support::in_threads(askers, [&](std::size_t) {
        for (int key = 0; key < keys; ++key)
            cache
                .async_get_or_load(key,
                                   [&](int k) {
                                       ++loads;
                                       return k * 2;
                                   })
                .then([&, key](LoadResult<int> result) {
                    if (std::move(result).get() != key * 2) ++wrong;
                    all.count_down();
                });
    });
    all.wait();
    CHECK(loads == keys);
    CHECK(wrong == 0);
}

#ifdef __cpp_impl_coroutine

namespace {

/// A coroutine that starts at once and belongs to who called it.
struct Task {
    struct promise_type {
        Task get_return_object() {
            return {std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_never initial_suspend() { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };

    std::coroutine_handle<promise_type> handle;
};

Task await(Async& one) {
    try {
        const int value = co_await one.cache->async_get_or_load(the_key, one.surely());
        one.ended.all.push_back("awaited " + std::to_string(value));
    } catch (const Broken&) {
        one.ended.all.push_back("awaited broken");
    }
}

}  // namespace

TEST_CASE("async: coroutines await values that are there, values to come, and errors") {
    Async one;
    one.is_broken = true;
    const Task broken = await(one);
    one.background.run();
    one.is_broken = false;
    const Task to_come = await(one);
    CHECK_FALSE(to_come.handle.done());
    one.background.run();
    const Task there = await(one);
    CHECK(one.ended.all == Texts{"awaited broken", "awaited 2", "awaited 2"});
    for (const Task& task : {broken, to_come, there}) {
        CHECK(task.handle.done());
        task.handle.destroy();
    }
}

TEST_CASE("async: a coroutine that is destroyed while it awaits is not resumed") {
    Async one;
    const Task task = await(one);
    task.handle.destroy();
    one.background.run();
    CHECK(one.ended.all.empty());
    CHECK(one.cache->get(the_key) == 2);
}

TEST_CASE("async: nor is one that is destroyed when it is about to be resumed") {
    Async one;
    const Task task = await(one);
    one.background.after_taking = [&] { task.handle.destroy(); };  // with what follows the load
    one.background.run();
    CHECK(one.ended.all.empty());
    CHECK(one.cache->get(the_key) == 2);
}

#endif
