#pragma once

#include <drey/redis.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "process_judge.hpp"
#include "report.hpp"

/// What the processes of the cache_aside_redis example tell each other, and how it is shown.
namespace example {

using Counter = std::atomic<std::uint64_t>;

/// What one process has done so far.
struct ProcessTally {
    Counter reads, late, updates, database_reads, hits, outstanding;
    Counter slowest;  // answer, in nanoseconds
    std::atomic<drey::BreakerState> breaker;
    std::array<Counter, drey::error_kinds> errors;
};

/// What all processes see.
struct Board {
    std::atomic<bool> stop;
    std::array<ProcessTally, process_count> tallies;
    // Why a process ended early; to be read once it has.
    std::array<std::array<char, 256>, process_count> complaints;
};

inline const char* name_of(drey::Errc kind) {
    using enum drey::Errc;
    switch (kind) {  // no default: compilers tell when a kind is missing
        case unreachable:
            return "unreachable";
        case timed_out:
            return "timed out";
        case disconnected:
            return "disconnected";
        case tls:
            return "TLS";
        case protocol:
            return "protocol";
        case denied:
            return "denied";
        case unavailable:
            return "unavailable";
        case read_only:
            return "read-only";
        case out_of_memory:
            return "out of memory";
        case wrong_type:
            return "wrong type";
        case command_failed:
            return "refused";
        case saturated:
            return "saturated";
        case breaker_open:
            return "not asked";
        case contended:
            return "contended";
        case unencodable:
            return "not encodable";
        case undecodable:
            return "undecodable";
        case too_large:
            return "too large";
    }
    return "?";
}

inline const char* name_of(drey::BreakerState state) {
    switch (state) {
        case drey::BreakerState::closed:
            return "closed";
        case drey::BreakerState::open:
            return "OPEN";
        case drey::BreakerState::half_open:
            return "probing";
    }
    return "?";
}

/// A line now and then with what both processes did since the last.
class Timeline {
    using Clock = std::chrono::steady_clock;

public:
    explicit Timeline(const Board& board) : board_(board) {
        std::printf("        process A                           process B\n");
        std::printf(
            "   time   reads  hits  db reads breaker       reads  hits  db reads breaker   ");
        std::printf("errors, A+B\n");
    }

    void line(Clock::duration time) {
        std::string text = at(time);
        std::array<Moment, process_count> now;
        for (std::size_t p = 0; p < process_count; ++p) {
            now[p] = Moment(board_.tallies[p]);
            const Moment& was = last_[p];
            const std::uint64_t reads = now[p].reads - was.reads;
            const double share = reads == 0 ? 0
                                            : 100.0 * static_cast<double>(now[p].hits - was.hits) /
                                                  static_cast<double>(reads);
            text += formatted("  %7s %3.0f %%  %8s %-7s  ", grouped(reads).c_str(),
                              std::min(share, 100.0), grouped(now[p].loads - was.loads).c_str(),
                              name_of(board_.tallies[p].breaker));
        }
        for (std::size_t kind = 1; kind < drey::error_kinds; ++kind) {
            const std::uint64_t a = now[0].errors[kind] - last_[0].errors[kind];
            const std::uint64_t b = now[1].errors[kind] - last_[1].errors[kind];
            if (a + b > 0)
                text += formatted(" %s %s+%s", name_of(drey::Errc(kind)), grouped(a).c_str(),
                                  grouped(b).c_str());
        }
        text.resize(text.find_last_not_of(' ') + 1);
        std::puts(text.c_str());
        std::fflush(stdout);
        last_ = now;
    }

    static void event(Clock::duration time, const char* what) {
        std::printf("%s  ---- %s\n", at(time).c_str(), what);
        std::fflush(stdout);
    }

private:
    struct Moment {
        Moment() = default;
        explicit Moment(const ProcessTally& tally)
            : reads(tally.reads), hits(tally.hits), loads(tally.database_reads) {
            for (std::size_t kind = 0; kind < drey::error_kinds; ++kind)
                errors[kind] = tally.errors[kind];
        }

        std::uint64_t reads = 0, hits = 0, loads = 0;
        std::array<std::uint64_t, drey::error_kinds> errors{};
    };

    static std::string at(Clock::duration time) {
        return formatted("%5.2f s", std::chrono::duration<double>(time).count());
    }

    const Board& board_;
    std::array<Moment, process_count> last_;
};

}  // namespace example
