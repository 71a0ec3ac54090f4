#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "throughput/race.hpp"

namespace throughput {

/// One contender at one workload with so many threads.
struct Case {
    Workload workload;
    const char* types;
    unsigned threads;
    std::string contender;
    std::function<Outcome(std::size_t operations)> run;

    std::string name() const {
        return std::string(throughput::name(workload)) + '/' + types + '/' +
               std::to_string(threads) + "t/" + contender;
    }
};

inline constexpr unsigned thread_counts[] = {1, 2, 4, 8};

inline constexpr const char* default_policy = "drey";  // the contender that names no policy

/// Which cases a contender runs.
enum class Scope {
    all,
    one_thread,  // it is not made for more
    policies,    // hits and readthrough of u64, 1 and 2 threads
};

/// All cases, once the program runs; each contender's translation unit adds its own.
inline std::vector<Case>& all_cases() {
    static std::vector<Case> cases;
    return cases;
}

/// The streams of the case that ran last, as those that follow one another share them.
template <class Types>
const Streams<Types>& streams_of(Workload workload, unsigned threads, std::size_t operations) {
    struct Cached {
        Workload workload;
        unsigned threads;
        std::size_t operations;
        Streams<Types> streams;
    };
    static std::unique_ptr<Cached> cached;
    if (!cached || cached->workload != workload || cached->threads != threads ||
        cached->operations != operations) {
        cached.reset();
        cached.reset(new Cached{workload, threads, operations,
                                Streams<Types>(workload, threads, operations)});
    }
    return cached->streams;
}

template <class Family, Scope scope, class Types, Workload workload>
void enrol_in(const char* label) {
    constexpr bool runs = [] {
        if constexpr (!serves<Family, Types>) {
            return false;
        } else if (scope == Scope::policies) {
            return std::is_same_v<Types, Numbers> &&
                   (workload == Workload::hits || workload == Workload::readthrough);
        } else {
            return !puts(workload) || writable<typename Family::template Contender<Types>>;
        }
    }();
    if constexpr (runs) {
        using Contender = typename Family::template Contender<Types>;
        for (const unsigned threads : thread_counts) {
            if (scope == Scope::one_thread && threads > 1) continue;
            if (scope == Scope::policies && threads > 2) continue;
            const auto run = [threads](std::size_t operations) {
                return race<workload, Types, Contender>(
                    streams_of<Types>(workload, threads, operations), threads);
            };
            all_cases().push_back({workload, Types::name, threads, label, run});
        }
    }
}

template <class Family, Scope scope>
bool enrol(const char* label) {
    const auto of = [&]<class Types>(const Types&) {
        enrol_in<Family, scope, Types, Workload::hits>(label);
        enrol_in<Family, scope, Types, Workload::readthrough>(label);
        enrol_in<Family, scope, Types, Workload::mixed>(label);
        enrol_in<Family, scope, Types, Workload::churn>(label);
        enrol_in<Family, scope, Types, Workload::hotkey>(label);
        enrol_in<Family, scope, Types, Workload::scan>(label);
    };
    of(Numbers{});
    of(Texts{});
    return true;
}

}  // namespace throughput
