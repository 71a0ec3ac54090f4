#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include "drey/fwd.hpp"
#include "drey/policy/adaptive.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/policy/w_tiny_lfu.hpp"
#include "drey/simulate.hpp"
#include "hit_ratio/trace.hpp"

/// Every policy on every trace at every size.
namespace policies {

using hit_ratio::Trace;

/// Replays a trace against policy P. Sizes count only where `weighed`.
template <class P>
drey::Replay replay(const Trace& trace, drey::Weight capacity, bool weighed, std::uint64_t seed) {
    const auto hash = [](std::uint64_t id) {
        return drey::detail::scrambled(id + drey::detail::golden_step);
    };
    constexpr std::size_t ahead = 8;
    drey::Simulation<P> simulation({capacity, weighed}, seed);
    for (std::size_t i = 0; i < trace.ids.size(); ++i) {
        if (i + ahead < trace.ids.size()) simulation.prefetch(hash(trace.ids[i + ahead]));
        simulation.access(hash(trace.ids[i]), weighed ? trace.sizes[i] : 1);
    }
    return simulation.result();
}

struct Policy {
    std::string_view name;
    drey::Replay (*replay)(const Trace&, drey::Weight, bool, std::uint64_t);
    bool is_random = false;   // what it misses depends on its seed
    bool is_default = false;  // caches that name no policy have it
};

template <class P>
constexpr Policy policy(std::string_view name, bool is_random = false) {
    return {name, &replay<P>, is_random, std::is_same_v<P, drey::DefaultPolicy>};
}

inline constexpr std::array all{
    policy<drey::Fifo>("fifo"),
    policy<drey::Lru>("lru"),
    policy<drey::S3Fifo>("s3-fifo"),
    policy<drey::Adaptive>("adaptive", true),
    policy<drey::WTinyLfu>("w-tinylfu", true),
    policy<drey::BasicWTinyLfu<drey::WTinyLfuTuning{.adapts = false}>>("w-tinylfu-1%", true),
    policy<drey::Sieve>("sieve"),
    policy<drey::Lfu>("lfu"),
    policy<drey::Random>("random", true),
    policy<drey::Mru>("mru"),
};
static_assert(std::count_if(all.begin(), all.end(), [](const Policy& p) { return p.is_default; }) ==
              1);

inline constexpr std::size_t fifo = 0, lru = 1, s3_fifo = 2;

/// Parts of the distinct objects, or of the bytes of all objects.
inline constexpr std::array fractions{0.001, 0.01, 0.03, 0.1, 0.3};

/// A trace at a size. What a policy missed is the mean over the seeds.
struct Cell {
    const Trace* trace = nullptr;
    double fraction = 0;
    bool weighed = false;
    drey::Weight capacity = 0;
    struct Missed {
        double requests = 0;
        double weight = 0;
    };
    std::array<Missed, all.size()> missed{};
};

inline drey::Weight footprint(const Trace& trace) {
    std::vector<bool> seen;
    drey::Weight sum = 0;
    for (std::size_t i = 0; i < trace.ids.size(); ++i) {
        const std::size_t id = trace.ids[i];
        if (id >= seen.size()) seen.resize(2 * id + 1);
        if (!seen[id]) sum += trace.sizes[i];
        seen[id] = true;
    }
    return sum;
}

/// `whole`: the objects of the trace, or their bytes if `weighed`.
inline Cell cell_of(const Trace& trace, double fraction, bool weighed, drey::Weight whole) {
    const auto capacity = static_cast<drey::Weight>(fraction * static_cast<double>(whole) + 0.5);
    return {&trace, fraction, weighed, std::max<drey::Weight>(1, capacity), {}};
}

/// `weighed`: in bytes, of a trace with sizes.
inline std::vector<Cell> cells_of(const Trace& trace, bool weighed) {
    const drey::Weight whole = weighed ? footprint(trace) : trace.distinct;
    std::vector<Cell> cells;
    for (const double fraction : fractions)
        cells.push_back(cell_of(trace, fraction, weighed, whole));
    return cells;
}

/// For a row of a table.
inline std::string name_of(const Cell& cell) {
    char text[64];
    std::snprintf(text, sizeof text, "%s | %g %% | %llu", cell.trace->name.c_str(),
                  100 * cell.fraction, static_cast<unsigned long long>(cell.capacity));
    return text;
}

/// Runs the wanted policies in all cells, in several threads. Rethrows what a replay throws.
template <class Wanted, class Done>
void run(std::vector<Cell>& cells, unsigned seeds, unsigned threads, Wanted&& wanted, Done&& done) {
    struct Job {
        Cell* cell;
        std::size_t policy;
    };
    std::vector<Job> jobs;
    for (Cell& cell : cells)
        for (std::size_t p = 0; p < all.size(); ++p)
            if (wanted(p)) jobs.push_back({&cell, p});
    std::stable_sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) {
        return a.cell->trace->ids.size() > b.cell->trace->ids.size();
    });

    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::exception_ptr error;
    const auto work = [&] {
        for (std::size_t i; (i = next++) < jobs.size();) {
            const auto [cell, p] = jobs[i];
            const unsigned times = all[p].is_random ? seeds : 1;
            try {
                Cell::Missed sum;
                for (unsigned seed = 1; seed <= times; ++seed) {
                    const auto result =
                        all[p].replay(*cell->trace, cell->capacity, cell->weighed, seed);
                    sum.requests += static_cast<double>(result.misses) / times;
                    sum.weight += static_cast<double>(result.missed_weight) / times;
                }
                cell->missed[p] = sum;
            } catch (...) {
                next = jobs.size();
                const std::scoped_lock lock(mutex);
                error = std::current_exception();
            }
            const std::scoped_lock lock(mutex);
            done(i, jobs.size());
        }
    };
    std::vector<std::thread> others;
    for (unsigned i = 1; i < threads; ++i) others.emplace_back(work);
    work();
    for (std::thread& other : others) other.join();
    if (error) std::rethrow_exception(error);
}

}  // namespace policies
