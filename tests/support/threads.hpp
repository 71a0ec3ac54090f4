#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <latch>
#include <string>
#include <thread>
#include <vector>

namespace support {

/// How many operations a stress test should do where `usual` is the usual number: more or fewer if
/// DREY_TEST_OPS is set, a factor such as 0.1 or 100.
inline std::size_t ops(std::size_t usual) {
    static const double factor = [] {
        const char* set = std::getenv("DREY_TEST_OPS");
        return set != nullptr ? std::atof(set) : 1.0;
    }();
    const double wanted = static_cast<double>(usual) * factor;
    return wanted < 1.0 ? 1 : static_cast<std::size_t>(wanted);
}

/// Runs `body(i)` on `count` threads that start together, and joins them.
template <class Body>
void in_threads(std::size_t count, Body&& body) {
    std::latch start(static_cast<std::ptrdiff_t>(count));
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < count; ++i)
        threads.emplace_back([&, i] {
            start.arrive_and_wait();
            body(i);
        });
    for (std::thread& thread : threads) thread.join();
}

/// Runs `body` on a thread of its own, to the end: "another thread does this now".
template <class Body>
void elsewhere(Body&& body) {
    std::thread(std::forward<Body>(body)).join();
}

/// Opens once; who waits before is let through then.
class Gate {
public:
    void open() { latch_.count_down(); }
    void wait() { latch_.wait(); }

private:
    std::latch latch_{1};
};

/// A small generator of random numbers, one a thread.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t operator()() {
        std::uint64_t x = state_ += 0x9e3779b97f4a7c15;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
        x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
        return x ^ (x >> 31);
    }
    std::uint64_t below(std::uint64_t n) { return operator()() % n; }

private:
    std::uint64_t state_;
};

/// Catch2's assertions are for one thread; others count what is wrong here.
class Failures {
public:
    void expect(bool condition) {
        if (!condition) count_.fetch_add(1, std::memory_order_relaxed);
    }
    std::size_t count() const { return count_.load(); }

private:
    std::atomic<std::size_t> count_{0};
};

}  // namespace support
