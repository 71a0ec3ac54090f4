#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "drey/advise/sampled_misses.hpp"
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
#include "key_sample.hpp"

/// Miss-ratio curves: each policy at each capacity, from a sample of a stream's requests or from
/// all.
namespace hit_ratio {

struct Point {
    double capacity = 0;  ///< of the whole
    drey::Estimate miss_ratio;
};

struct Curve {
    std::string_view policy;
    std::vector<Point> points;
};

/// One policy at one capacity, scaled down to a sample's rate.
template <class Policy>
class ScaledRun {
public:
    ScaledRun(double capacity, double rate)
        : rate_(rate),
          simulation_({static_cast<drey::Weight>(std::max(1.0, std::round(capacity * rate)))}, 1) {}

    void replay(std::span<const drey::Hash> keys) {
        constexpr std::size_t ahead = 8;
        for (std::size_t i = 0; i < keys.size(); ++i) {
            if (i + ahead < keys.size()) simulation_.prefetch(keys[i + ahead]);
            if (!simulation_.access(keys[i])) misses_.add(keys[i], 1 / rate_);
        }
    }

    drey::Estimate miss_ratio(std::uint64_t requests) const {
        return misses_.miss_ratio(static_cast<double>(requests));
    }

private:
    const double rate_;
    drey::Simulation<Policy> simulation_;
    drey::SampledMisses misses_;
};

/// What one policy misses, at each capacity: one pass over the requests, a block of them at a time,
/// so that they stay at hand. Calls `done(requests)` now and then.
///
/// A sample errs by which keys are in it, which the estimate knows, and since a small cache is not
/// quite a large one in little. How far off that is shows if a quarter of the sample is replayed
/// too: the difference is added to the error (as independent errors are, by their squares).
template <class Policy>
std::vector<Point> curve_of(const KeySample& sample, std::span<const double> capacities,
                            const std::function<void(std::size_t)>& done) {
    constexpr std::size_t block = 1 << 14;
    std::vector<ScaledRun<Policy>> runs, quarter_runs;
    for (const double capacity : capacities) {
        runs.emplace_back(capacity, sample.rate());
        if (!sample.is_whole()) quarter_runs.emplace_back(capacity, sample.rate() / 4);
    }
    std::vector<drey::Hash> quarter;
    for (auto keys = sample.keys(); !keys.empty();) {
        const auto now = keys.first(std::min(block, keys.size()));
        keys = keys.subspan(now.size());
        for (auto& run : runs) run.replay(now);
        quarter.clear();
        if (!sample.is_whole())
            std::copy_if(now.begin(), now.end(), std::back_inserter(quarter),
                         [&](drey::Hash h) { return sample.is_in_quarter(h); });
        for (auto& run : quarter_runs) run.replay(quarter);
        done(now.size());
    }
    std::vector<Point> points;
    for (std::size_t i = 0; i < runs.size(); ++i) {
        drey::Estimate ratio = runs[i].miss_ratio(sample.requests());
        if (!sample.is_whole()) {
            const drey::Estimate coarse = quarter_runs[i].miss_ratio(sample.requests());
            ratio.error = std::hypot(ratio.error, ratio.value - coarse.value);
        }
        ratio.value = std::min(ratio.value, 1.0);
        points.push_back({capacities[i], ratio});
    }
    return points;
}

struct CurvePolicy {
    std::string_view name;
    std::vector<Point> (*curve)(const KeySample&, std::span<const double>,
                                const std::function<void(std::size_t)>&);
};

/// To have another policy drawn, add its line.
inline constexpr std::array curve_policies{
    CurvePolicy{"FIFO", &curve_of<drey::Fifo>},
    CurvePolicy{"LRU", &curve_of<drey::Lru>},
    CurvePolicy{"MRU", &curve_of<drey::Mru>},
    CurvePolicy{"LFU", &curve_of<drey::Lfu>},
    CurvePolicy{"Random", &curve_of<drey::Random>},
    CurvePolicy{"SIEVE", &curve_of<drey::Sieve>},
    CurvePolicy{"S3-FIFO", &curve_of<drey::S3Fifo>},
    CurvePolicy{"W-TinyLFU", &curve_of<drey::WTinyLfu>},
    CurvePolicy{"Adaptive", &curve_of<drey::Adaptive>},
};

/// The curves of these policies, several at a time.
inline std::vector<Curve> curves_of(const KeySample& sample,
                                    const std::vector<const CurvePolicy*>& policies,
                                    std::span<const double> capacities, unsigned threads,
                                    const std::function<void(std::size_t)>& done) {
    std::vector<Curve> curves(policies.size());
    std::vector<std::exception_ptr> errors(policies.size());
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
        for (std::size_t i; (i = next++) < policies.size();) {
            try {
                curves[i] = {policies[i]->name, policies[i]->curve(sample, capacities, done)};
            } catch (...) {
                errors[i] = std::current_exception();
            }
        }
    };
    {
        std::vector<std::jthread> others;
        for (unsigned i = 1; i < threads && i < policies.size(); ++i) others.emplace_back(work);
        work();
    }
    for (const auto& error : errors)
        if (error) std::rethrow_exception(error);
    return curves;
}

}  // namespace hit_ratio
