/// By how much calls outlast their time limit: `[.timing]`, to be run by hand on a quiet machine.
/// Asserts nothing but a generous bound, since schedulers have moods.
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "redis_faults/faulty.hpp"
#include "redis_faults/flood.hpp"

using namespace faults;

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto limit = 50ms;

class Overrun {
public:
    explicit Overrun(std::string of) : of_(std::move(of)) {}
    ~Overrun() {
        std::ranges::sort(over_);
        const auto ms = [](Clock::duration time) {
            return std::chrono::duration<double, std::milli>(time).count();
        };
        std::printf("%-46s %4zu calls, over by: median %7.3f ms, p99 %7.3f ms, most %7.3f ms\n",
                    of_.c_str(), over_.size(), ms(over_[over_.size() / 2]),
                    ms(over_[over_.size() * 99 / 100]), ms(over_.back()));
        std::fflush(stdout);
        CHECK(over_.back() < 10ms);
    }

    template <class Call>
    void measure(Call&& call, Clock::duration allowed = limit) {
        const auto begin = Clock::now();
        call();
        const auto over = Clock::now() - begin - allowed;
        const std::lock_guard lock(mutex_);
        over_.push_back(over);
    }
    /// A number of calls, of several kinds.
    void measure_calls(Cache& cache, int rounds = 20) {
        for (int i = 0; i < rounds; ++i) {
            measure([&] { cache.get("key"); });
            measure([&] { cache.put("key", "value"); });
            measure([&] { cache.get_or_load("key", [] { return "loaded"s; }); });
            measure([&] { cache.put_if_absent("key", "value"); });
            measure([&] { cache.erase("key"); });
        }
    }

private:
    const std::string of_;
    std::mutex mutex_;
    std::vector<Clock::duration> over_;
};

drey::RedisOptions patient(std::string uri, RedisMode mode = RedisMode::pipeline) {
    return {.uri = std::move(uri),
            .connect_timeout = 10s,
            .timeout = limit,
            .mode = mode,
            .breaker = {.failures = 1'000'000}};
}

std::string in(RedisMode mode) { return mode == RedisMode::pool ? ", pool" : ", pipeline"; }

}  // namespace

TEST_CASE("overrun of the machine itself, for comparison", "[.timing]") {
    Overrun overrun("bare ppoll");
    for (int i = 0; i < 100; ++i)
        overrun.measure([] {
            const timespec time{0, std::chrono::nanoseconds(limit).count()};
            ::ppoll(nullptr, 0, &time, nullptr);
        });
}

TEST_CASE("overrun where nothing answers", "[.timing]") {
    const RedisMode mode = both_modes();
    Faulty f;
    {
        Cache& cache = f.make(patient(f.server.uri_at(f.proxy.port()), mode));
        REQUIRE(f.works());
        REQUIRE(cache.put("key", std::string(20'000, 'x')));
        f.proxy.trickle(20ms);
        {
            Overrun overrun("trickle, a byte each 20 ms" + in(mode));
            overrun.measure_calls(cache);
        }
        f.proxy.heal();
        f.proxy.delay(40ms);
        {
            Overrun overrun("each way takes 40 ms" + in(mode));
            overrun.measure_calls(cache);
        }
        f.proxy.heal();
        f.proxy.blackhole();
        Overrun overrun("black hole" + in(mode));
        overrun.measure_calls(cache);
    }
    f.proxy.heal();
    f.server.pause();
    {
        Cache& cache = f.make(patient(f.server.uri(), mode));
        Overrun overrun("SIGSTOP" + in(mode));
        overrun.measure_calls(cache);
    }
    {
        Cache& cache = f.make(patient(f.server.uri(), mode));
        Overrun overrun("SIGSTOP, 8 MB to write" + in(mode));
        for (int i = 0; i < 100; ++i) {
            std::string value = large;
            overrun.measure([&] { cache.put("key", std::move(value)); });
        }
    }
    {
        Cache& cache = f.make(patient(f.server.uri(), mode));
        Overrun overrun("SIGSTOP, 16 threads" + in(mode));
        support::in_threads(16, [&](std::size_t) { overrun.measure_calls(cache, 2); });
    }
    f.server.resume();
    {
        Cache& cache = f.make(patient(f.server.uri(), mode));
        f.server.command({"CLIENT", "PAUSE", "100000", "ALL"});
        Overrun overrun("CLIENT PAUSE" + in(mode));
        overrun.measure_calls(cache);
    }
}

TEST_CASE("overrun where nobody can be connected to", "[.timing]") {
    {
        const FullBacklog full(false);
        Cache cache(patient(full.uri()));
        Overrun overrun("full backlog, TCP");
        overrun.measure_calls(cache);
    }
    {
        const FullBacklog full(true);
        Cache cache(patient(full.uri()));
        Overrun overrun("full backlog, unix socket");
        overrun.measure_calls(cache);
    }
    {
        Cache cache(patient("redis://10.255.255.1:6379"));
        Overrun overrun("no route (10.255.255.1)");
        overrun.measure_calls(cache);
    }
    {
        auto options = patient("redis://10.255.255.1:6379");
        options.connect_timeout = 20ms;
        Cache cache(options);
        Overrun overrun("no route, connect_timeout 20 ms");
        for (int i = 0; i < 100; ++i) overrun.measure([&] { cache.get("key"); }, 20ms);
    }
}

TEST_CASE("overrun where a pool is exhausted", "[.timing]") {
    Faulty f;
    auto options = patient(f.server.uri(), RedisMode::pool);
    options.connections = 2;
    f.server.pause();
    Cache& cache = f.make(options);
    Overrun overrun("pool of 2 connections, 8 threads, SIGSTOP");
    support::in_threads(8, [&](std::size_t) { overrun.measure_calls(cache, 3); });
}

TEST_CASE("overrun in a flood", "[.timing]") {
    const std::string more = GENERATE("xxxxxxxx"s, "$9\r\n123456789\r\n"s);
    const Flood flood(more[0] == '$' ? "*500000000\r\n" : "$500000000\r\n", more, 100'000'000);
    Cache cache(patient(flood.uri()));
    Overrun overrun(more[0] == '$' ? "flood of elements, 100 MB" : "flood of bytes, 100 MB");
    overrun.measure([&] { cache.get("key"); });
}

TEST_CASE("overrun of a call that has used up half of its time when it has to queue", "[.timing]") {
    // Its second round trip waits behind the first of another call, which may take longer.
    Faulty f;
    Cache& cache = f.make(patient(f.server.uri_at(f.proxy.port())));
    REQUIRE(f.works());
    Overrun overrun("second round trip behind another's first");
    for (int i = 0; i < 20; ++i) {
        f.proxy.delay(20ms);  // 40 ms there and back
        support::Gate looks;
        bool opened = false;
        f.proxy.corrupt([&](std::string&) {
            if (!std::exchange(opened, true)) looks.open();
        });
        std::thread updater([&] {
            overrun.measure([&] {
                cache.update("key", [&](auto) {
                    f.proxy.blackhole();
                    return std::optional("value"s);
                });
            });
        });
        // Queues in the middle of the look, and is the next to go.
        looks.wait();
        overrun.measure([&] { cache.get("other"); });
        updater.join();
        f.proxy.heal();
        f.proxy.reset();
    }
}

TEST_CASE("overrun of loads that share a flight", "[.timing]") {
    Faulty f;
    f.server.pause();
    Cache& cache = f.make(patient(f.server.uri()));
    Overrun overrun("16 threads load one key, SIGSTOP");
    support::in_threads(16, [&](std::size_t) {
        for (int i = 0; i < 6; ++i)
            overrun.measure([&] { cache.get_or_load("key", [] { return "loaded"s; }); });
    });
}
