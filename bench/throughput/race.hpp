#pragma once

#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "throughput/keys.hpp"
#include "throughput/peers.hpp"

namespace throughput {

enum class Workload { hits, readthrough, mixed, churn, hotkey, scan };

constexpr const char* name(Workload workload) noexcept {
    constexpr const char* names[] = {"hits", "readthrough", "mixed", "churn", "hotkey", "scan"};
    return names[static_cast<std::size_t>(workload)];
}

constexpr bool writes(Workload workload) noexcept {
    return workload != Workload::hits && workload != Workload::hotkey;
}

/// Whether it writes what it has not missed.
constexpr bool puts(Workload workload) noexcept {
    return workload == Workload::mixed || workload == Workload::churn;
}

/// What a contender that writes may hold of the keys.
inline constexpr std::size_t bounded_capacity = key_count / 10;

/// The keys each of `threads` threads asks for, `operations` in all.
template <class Types>
class Streams {
    using Stream = std::vector<typename Types::Item>;

public:
    Streams(Workload workload, unsigned threads, std::size_t operations) : streams_(threads) {
        for (unsigned t = 0; t < threads; ++t) fill(workload, t, operations / threads);
    }
    const Stream& operator[](unsigned thread) const noexcept { return streams_[thread]; }

private:
    void fill(Workload workload, unsigned t, std::size_t count) {
        static const Zipf zipf(key_count, 0.99);
        constexpr std::size_t scanned = 4 * bounded_capacity;
        Rng rng(t + 1);
        Stream& stream = streams_[t];
        stream.reserve(count);
        std::size_t at = scanned / streams_.size() * t;
        for (std::size_t i = 0; i < count; ++i) {
            switch (workload) {
                case Workload::hotkey:
                    stream.push_back(Types::item(0));
                    break;
                case Workload::scan:
                    stream.push_back(Types::item(at));
                    at = (at + 1) % scanned;
                    break;
                default:
                    stream.push_back(Types::item(zipf(rng)));
            }
        }
    }

    std::vector<Stream> streams_;
};

/// What one thread does. Returns its hits.
template <Workload workload, class Types, class Contender>
[[gnu::noinline]] std::uint64_t work(Own<Contender>& contender,
                                     const std::vector<typename Types::Item>& stream,
                                     std::uint64_t& wrong_values) {
    std::uint64_t hits = 0, wrong = 0, turn = 0;
    const auto put = [&](typename Types::View view) {
        if constexpr (writable<Contender>) contender.put(view);
    };
    for (const auto& item : stream) {
        const auto view = Types::view(item);
        if (workload == Workload::churn || (workload == Workload::mixed && ++turn % 4 == 0)) {
            put(view);
        } else if (contender.read(view, wrong)) {
            ++hits;
        } else if (workload == Workload::readthrough || workload == Workload::scan) {
            put(view);
        }
    }
    wrong_values |= wrong;
    return hits;
}

/// How long threads ran.
struct Timing {
    double wall = 0;  // seconds from their start until the last had finished
    double cpu = 0;   // seconds that the busiest had a processor
};

inline double thread_cpu_seconds() noexcept {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Calls `body(thread)` on as many threads at once.
template <class Body>
Timing time_threads(unsigned count, Body&& body) {
    using Clock = std::chrono::steady_clock;
    std::latch ready(count);
    std::atomic<bool> go = false;
    std::vector<Clock::time_point> finished(count);
    std::vector<double> cpu(count);
    Clock::time_point began;
    {
        std::vector<std::jthread> threads;
        for (unsigned t = 0; t < count; ++t) {
            threads.emplace_back([&, t] {
                ready.count_down();
                go.wait(false);
                const double cpu_began = thread_cpu_seconds();
                body(t);
                finished[t] = Clock::now();
                cpu[t] = thread_cpu_seconds() - cpu_began;
            });
        }
        ready.wait();
        began = Clock::now();
        go = true;
        go.notify_all();
    }
    const auto last = *std::max_element(finished.begin(), finished.end());
    return {std::chrono::duration<double>(last - began).count(),
            *std::max_element(cpu.begin(), cpu.end())};
}

struct Outcome {
    Timing time;
    std::uint64_t operations = 0;
    std::uint64_t reads = 0;
    std::uint64_t hits = 0;
};

/// The key's rank of turn i when all keys are stored: no order of popularity, which would lay the
/// popular entries side by side.
constexpr std::size_t shuffled(std::size_t i) noexcept { return i * 0x9e3779b1 % key_count; }

/// One run of a new contender. Before time is taken it gets all keys if the workload only reads, or
/// if it is no cache; else it serves the streams once, and is full then.
template <Workload workload, class Types, class Contender>
Outcome race(const Streams<Types>& streams, unsigned threads) {
    constexpr bool read_only = !writes(workload);
    constexpr bool has_all_keys = read_only || is_no_cache<Contender>;
    constexpr std::size_t capacity = !read_only                      ? bounded_capacity
                                     : holds_its_capacity<Contender> ? key_count
                                                                     : key_count + key_count / 4;
    Contender contender(Setup{.capacity = capacity, .threads = threads, .puts = puts(workload)});
    const auto loads = [&]() -> std::uint64_t {
        if constexpr (requires { contender.loads(); }) {
            return contender.loads();
        } else {
            return 0;
        }
    };
    std::atomic<std::uint64_t> wrong = 0, hits = 0;
    const auto fill = [&](unsigned t) {
        std::uint64_t my_wrong = 0;
        for (std::size_t i = 0; i < key_count; ++i) {
            const auto item = Types::item(shuffled(i));
            if constexpr (writable<Contender>) {
                contender.at(t).put(Types::view(item));
            } else {
                contender.read(Types::view(item), my_wrong);
            }
        }
        wrong |= my_wrong;
    };
    const auto serve = [&](unsigned t) {
        std::uint64_t my_wrong = 0;
        hits += work<workload, Types, Contender>(contender.at(t), streams[t], my_wrong);
        wrong |= my_wrong;
    };
    if constexpr (!has_all_keys) {
        time_threads(threads, serve);
    } else if (&contender.at(0) == &contender.at(threads - 1)) {
        fill(0);
    } else {
        time_threads(threads, fill);
    }

    const std::uint64_t loads_before = loads();
    hits = 0;
    Outcome outcome;
    outcome.time = time_threads(threads, serve);
    for (unsigned t = 0; t < threads; ++t) outcome.operations += streams[t].size();
    outcome.reads = workload == Workload::churn   ? 0
                    : workload == Workload::mixed ? outcome.operations / 4 * 3
                                                  : outcome.operations;
    outcome.hits = hits - (loads() - loads_before);

    if (wrong != 0) throw std::runtime_error("a value does not belong to its key");
    if (has_all_keys && outcome.hits != outcome.reads) throw std::runtime_error("a key is missing");
    if (!has_all_keys &&
        contender.size() < std::min<std::size_t>(capacity / 10 * 9, outcome.operations / 20))
        throw std::runtime_error("what was put is not there");
    if (workload == Workload::readthrough || workload == Workload::mixed) {
        const double ratio = static_cast<double>(outcome.hits) / static_cast<double>(outcome.reads);
        if (ratio < 0.3 || (!has_all_keys && ratio > 0.95))
            throw std::runtime_error("its hit ratio is not credible");
    }
    return outcome;
}

}  // namespace throughput
