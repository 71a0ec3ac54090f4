#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "drey/advise/sampled_misses.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
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

/// What one policy misses, at each capacity: one pass over the requests, a block of them at a time,
/// so that they stay at hand. Calls `done(requests)` now and then.
template <class Policy>
std::vector<Point> curve_of(const KeySample& sample, std::span<const double> capacities,
                            const std::function<void(std::size_t)>& done) {
    constexpr std::size_t block = 1 << 14, ahead = 8;
    std::vector<drey::Simulation<Policy>> simulations;
    std::vector<drey::SampledMisses> misses(capacities.size());
    for (const double capacity : capacities)
        simulations.emplace_back(drey::Budget{static_cast<drey::Weight>(
                                     std::max(1.0, std::round(capacity * sample.rate())))},
                                 1);
    for (auto keys = sample.keys(); !keys.empty();) {
        const auto now = keys.first(std::min(block, keys.size()));
        keys = keys.subspan(now.size());
        for (std::size_t i = 0; i < simulations.size(); ++i)
            for (std::size_t at = 0; at < now.size(); ++at) {
                if (at + ahead < now.size()) simulations[i].prefetch(now[at + ahead]);
                if (!simulations[i].access(now[at])) misses[i].add(now[at], 1 / sample.rate());
            }
        done(now.size());
    }
    std::vector<Point> points;
    for (std::size_t i = 0; i < capacities.size(); ++i)
        points.push_back(
            {capacities[i], misses[i].miss_ratio(static_cast<double>(sample.requests()))});
    for (Point& point : points) point.miss_ratio.value = std::min(point.miss_ratio.value, 1.0);
    return points;
}

struct CurvePolicy {
    std::string_view name;
    std::vector<Point> (*curve)(const KeySample&, std::span<const double>,
                                const std::function<void(std::size_t)>&);
};

/// To have another policy drawn, add its line.
inline constexpr std::array curve_policies{
    CurvePolicy{"FIFO", &curve_of<drey::Fifo>},      CurvePolicy{"LRU", &curve_of<drey::Lru>},
    CurvePolicy{"MRU", &curve_of<drey::Mru>},        CurvePolicy{"LFU", &curve_of<drey::Lfu>},
    CurvePolicy{"Random", &curve_of<drey::Random>},  CurvePolicy{"SIEVE", &curve_of<drey::Sieve>},
    CurvePolicy{"S3-FIFO", &curve_of<drey::S3Fifo>},
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
