#include "drey/memory/spin_mutex.hpp"

#include <mutex>
#include <thread>
#include <vector>

#include "support/catch.hpp"

TEST_CASE("spin mutex is held by one at a time", "[spin_mutex]") {
    drey::SpinMutex mutex;
    REQUIRE(mutex.try_lock());
    CHECK_FALSE(mutex.try_lock());
    mutex.unlock();
    {
        const std::lock_guard lock(mutex);
        CHECK_FALSE(mutex.try_lock());
    }
    CHECK(mutex.try_lock());
    mutex.unlock();
    CHECK(sizeof(drey::SpinMutex) == 4);
}

TEST_CASE("spin mutex guards what threads change and wakes those that sleep on it",
          "[spin_mutex][concurrent]") {
    drey::SpinMutex mutex;
    long count = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 5000; ++i) {
                const std::lock_guard lock(mutex);
                ++count;
                if (i % 500 == 0) std::this_thread::yield();  // let the others fall asleep
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(count == 20'000);
}
