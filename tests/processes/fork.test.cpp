#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "drey/cache.hpp"
#include "drey/detail/fence.hpp"
#include "drey/policy/fifo.hpp"
#include "processes/user.hpp"
#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/threads.hpp"

/// What the child of a process with threads, which has only the one that forked, may do with
/// caches.

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool has_asan = true;
#elif defined(__has_feature)
constexpr bool has_asan = __has_feature(address_sanitizer);
#else
constexpr bool has_asan = false;
#endif

/// Runs `body` in a forked child and returns what it returns; -1 if it crashed or hung.
template <class Body>
int in_child(Body&& body) {
    const pid_t child = support::must(::fork(), "fork");
    if (child == 0) {
        ::alarm(60);  // what waits for a lock that nobody will give back is killed
        ::_exit(body());
    }
    int status = 0;
    support::must(::waitpid(child, &status, 0), "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// What is wrong when threads of this process's own use `user`.
int wrong_with(User& user) {
    std::atomic<std::size_t> wrong{0};
    // ThreadSanitizer has no threads in the children of processes with threads.
    if (DREY_THREAD_SANITIZER)
        wrong += user.use(1, 2'000);
    else
        support::in_threads(4, [&](std::size_t thread) { wrong += user.use(thread, 2'000); });
    return wrong == 0 && user.valid() ? 0 : 1;
}

}  // namespace

TEST_CASE("a child can fence its threads, for which its parent registered") {
    support::elsewhere([] { make_user()->use(1, 10); });
    CHECK(in_child([] {
              if (drey::detail::has_process_fence()) drey::detail::process_fence();  // or it aborts
              return 0;
          }) == 0);
}

TEST_CASE("a child uses the caches that no other thread was inside of, and new ones") {
    const auto visited = make_user(), quiet = make_user();
    quiet->use(1, 1'000);
    support::Gate checked;
    std::latch inside(3);
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < 3; ++i)
        threads.emplace_back([&, i] {
            quiet->use(i, 1'000);
            visited->visit([&] {
                inside.count_down();
                checked.wait();
            });
        });
    inside.wait();
    CHECK(in_child([&] { return wrong_with(*quiet); }) == 0);
    CHECK(in_child([] { return wrong_with(*make_user()); }) == 0);
    CHECK(in_child([&] {  // a grandchild is no worse off
              return in_child([&] { return wrong_with(*quiet); });
          }) == 0);
    checked.open();
    for (std::thread& thread : threads) thread.join();
    CHECK(quiet->valid());
    CHECK(visited->valid());
}

TEST_CASE("a child does so wherever the others were in their calls") {
    if (has_asan) {  // its allocator may be locked by a thread that is not in the child
        WARN("SKIPPED: a child forked under AddressSanitizer may hang in its allocator");
        return;
    }
    const auto busy = make_user(), quiet = make_user();
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < 3; ++i)
        threads.emplace_back([&, i] {
            for (std::uint64_t j = 0; !stop; ++j) busy->use(i + 3 * j, 100);
        });
    for (int i = 0; i < 30; ++i) {
        quiet->use(1, 100);
        REQUIRE(in_child([&] { return wrong_with(*quiet) | wrong_with(*make_user()); }) == 0);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(busy->valid());
}

TEST_CASE("in a child, what threads that it does not have were reading is held by nobody") {
    const auto user = make_user();
    support::Gate inside, checked;
    std::thread reader([&] {
        user->visit([&] {
            inside.open();
            checked.wait();
        });
    });
    inside.wait();
    CHECK(user->empty() == 1);
    CHECK(in_child([&] { return static_cast<int>(user->empty()); }) == 0);
    // And what the thread reads that forks stays as it is.
    CHECK(user->visit([&] {
        CHECK(in_child([&] { return user->empty() == 1 ? 0 : 1; }) == 0);
        support::elsewhere(
            [&] { CHECK(in_child([&] { return user->empty() == 0 ? 0 : 1; }) == 0); });
    }));
    checked.open();
    reader.join();
    CHECK(user->empty() == 0);
}

TEST_CASE("in a child, loads that its parent's threads waited for keep nobody from waiting") {
    if (DREY_THREAD_SANITIZER) return;  // see above
    using Numbers = drey::Cache<int, int, drey::Fifo>;
    // `waits` asks for what `leads` is loading, `then` runs meanwhile.
    const auto load_together = [](Numbers& numbers, auto&& then) {
        support::Gate loading, done;
        std::atomic<int> sum{0};
        std::thread leads([&] {
            sum += numbers.get_or_load(1, [&] {
                loading.open();
                done.wait();
                return 1;
            });
        });
        loading.wait();
        std::thread waits([&] { sum += numbers.get_or_load(1, [] { return 100; }); });
        for (int i = 0; i < 1'000; ++i) std::this_thread::yield();  // surely it does now
        then();
        done.open();
        leads.join();
        waits.join();
        return sum.load();
    };
    Numbers numbers{{.capacity = 10}};
    CHECK(load_together(numbers, [&] {
              // The child's threads get the numbers of those that it does not have, in some order.
              for (const bool swapped : {false, true})
                  CHECK(in_child([&] {
                            support::Gate end;
                            std::thread other;
                            if (swapped) other = std::thread([&] { end.wait(); });
                            Numbers fresh{{.capacity = 10}};
                            const int sum = load_together(fresh, [] {});
                            end.open();
                            if (swapped) other.join();
                            return sum == 2 ? 0 : 1;
                        }) == 0);
          }) == 2);
}

TEST_CASE("a child has threads of its own to load in the background") {
    using namespace std::chrono_literals;
    auto cache = std::make_unique<drey::Cache<int, int, drey::Fifo>>(
        drey::MemoryOptions<int, int>{.capacity = 10});
    const auto load = [&](int key) {
        std::atomic<int> got{0};
        cache->async_get_or_load(key, [](int k) { return k + 1; }, {.hard_timeout = 1h})
            .then([&](drey::LoadResult<int> result) {
                got = std::move(result).get();
                got.notify_one();
            });
        got.wait(0);
        return got.load();
    };
    CHECK(load(1) == 2);  // now there are threads
    if (!DREY_THREAD_SANITIZER)
        CHECK(in_child([&] {
                  const bool is_right = load(1) == 2 && load(2) == 3;
                  cache.reset();
                  return is_right ? 0 : 1;
              }) == 0);
    CHECK(load(3) == 4);
}
