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

// By item type, so that they are compiled side by side. The contenders of a workload and thread
// count follow one another, so that drift of the machine hits them alike.
std::vector<Case> number_cases();
std::vector<Case> text_cases();

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

template <class Types, Workload workload>
class CaseList {
public:
    CaseList(std::vector<Case>& cases, unsigned threads) : cases_(cases), threads_(threads) {}

    template <class Contender>
    CaseList& add(std::string contender) {
        const auto run = [threads = threads_](std::size_t operations) {
            return race<workload, Types, Contender>(
                streams_of<Types>(workload, threads, operations), threads);
        };
        cases_.push_back({workload, Types::name, threads_, std::move(contender), run});
        return *this;
    }

    void add_peers() {
#if DREY_BENCH_ABSL
        add<AbslMap<Types>>("absl map");
#endif
#if DREY_BENCH_ROCKSDB
        if constexpr (std::is_same_v<Types, Numbers>)
            add<Rocks<Types, RocksClock>>("rocksdb clock");
        add<Rocks<Types, RocksLru>>("rocksdb lru");
#endif
        add<MutexLru<Types>>("mutex lru");
#if DREY_BENCH_TBB
        if constexpr (workload != Workload::mixed && workload != Workload::churn)
            add<TbbLru<Types>>("tbb lru");
#endif
    }

private:
    std::vector<Case>& cases_;
    unsigned threads_;
};

template <class Types>
std::vector<Case> cases() {
    std::vector<Case> all;
    const auto of_workload = [&]<Workload workload>() {
        for (const unsigned threads : thread_counts) {
            CaseList<Types, workload> list(all, threads);
            list.template add<Drey<Types>>(default_policy);
            if (threads == 1) list.template add<Drey<Types, drey::Local<drey::Lru>>>("local lru");
            list.template add<Drey<Types, drey::Lru>>("lru");
            if constexpr (std::is_same_v<Types, Numbers> &&
                          (workload == Workload::hits || workload == Workload::readthrough)) {
                if (threads <= 2) {
                    list.template add<Drey<Types, drey::Fifo>>("fifo");
                    list.template add<Drey<Types, drey::Mru>>("mru");
                    list.template add<Drey<Types, drey::Lfu>>("lfu");
                    list.template add<Drey<Types, drey::Random>>("random");
                    list.template add<Drey<Types, drey::Sieve>>("sieve");
                }
            }
            list.add_peers();
        }
    };
    of_workload.template operator()<Workload::hits>();
    of_workload.template operator()<Workload::readthrough>();
    of_workload.template operator()<Workload::mixed>();
    of_workload.template operator()<Workload::churn>();
    of_workload.template operator()<Workload::hotkey>();
    of_workload.template operator()<Workload::scan>();
    return all;
}

}  // namespace throughput
