#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "drey/drey.hpp"
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
#include "trace.hpp"

/// Two ways to run a trace against a policy: the bare policy, and a cache around it.
namespace hit_ratio {

struct Cell {
    drey::Weight capacity = 0;
    bool weighed = false;  // the capacity is in bytes, not objects
    std::uint64_t seed = 1;
};

template <class Policy>
drey::Replay replay_policy(const Trace& trace, const Cell& cell) {
    // SplitMix64's finalizer: dense ids into hashes that differ everywhere.
    const auto hash = [](std::uint64_t x) {
        x = (x + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
        x = (x ^ (x >> 29)) * 0x94d049bb133111eb;
        return x ^ (x >> 31);
    };
    constexpr std::size_t ahead = 8;
    drey::Simulation<Policy> simulation({cell.capacity, cell.weighed}, cell.seed);
    for (std::size_t i = 0; i < trace.ids.size(); ++i) {
        if (i + ahead < trace.ids.size()) simulation.prefetch(hash(trace.ids[i + ahead]));
        simulation.access(hash(trace.ids[i]), cell.weighed ? trace.sizes[i] : 1);
    }
    return simulation.result();
}

template <class Policy>
drey::Replay replay_cache(const Trace& trace, const Cell& cell) {
    using Cache = drey::Cache<std::uint32_t, std::uint32_t, Policy>;
    const auto run = [&](Cache&& cache) {
        drey::Replay result;
        for (std::size_t i = 0; i < trace.ids.size(); ++i) {
            const std::uint32_t size = cell.weighed ? trace.sizes[i] : 1;
            ++result.requests;
            if (const auto found = cache.get(trace.ids[i])) {
                if (*found != size) throw std::runtime_error("the cache returned a wrong value");
                continue;
            }
            ++result.misses;
            result.missed_weight += size;
            cache.put(trace.ids[i], size);
        }
        return result;
    };
    if (cell.weighed) {
        const auto size = [](const std::uint32_t&, const std::uint32_t& value) -> drey::Weight {
            return value;
        };
        return run(
            Cache{{.capacity = cell.capacity, .weigher = size, .seed = cell.seed, .shards = 1}});
    }
    return run(Cache{{.capacity = cell.capacity, .seed = cell.seed, .shards = 1}});
}

using Run = drey::Replay (*)(const Trace&, const Cell&);

/// What the files of expected misses call a uniform choice: a mean over seeds, so not one to the
/// miss.
inline constexpr std::string_view random_row = "Random-uniform(mean of 5)";

struct PolicyUnderTest {
    std::string_view name;
    std::string_view row;  // what the files of expected misses call it, if they have it
    Run bare;
    Run cached;
    Run bare_in_bytes;
    Run cached_in_bytes;
    std::size_t least_capacity = 1;  // in objects: the reference caches nothing below

    drey::Replay replay_policy(const Trace& trace, const Cell& cell) const {
        return (cell.weighed ? bare_in_bytes : bare)(trace, cell);
    }
    drey::Replay replay_cache(const Trace& trace, const Cell& cell) const {
        return (cell.weighed ? cached_in_bytes : cached)(trace, cell);
    }
};

namespace detail {

template <class Policy, class InBytes = Policy>
constexpr PolicyUnderTest under_test(std::string_view name, std::string_view row,
                                     std::size_t least_capacity = 1) {
    return {name,
            row,
            &replay_policy<Policy>,
            &replay_cache<Policy>,
            &replay_policy<InBytes>,
            &replay_cache<InBytes>,
            least_capacity};
}

/// In bytes, as the reference has it.
template <unsigned promote_at>
constexpr PolicyUnderTest s3_fifo(std::string_view name, std::string_view row) {
    using drey::S3FifoTuning;
    return under_test<
        drey::BasicS3Fifo<S3FifoTuning{.promote_at = promote_at}>,
        drey::BasicS3Fifo<S3FifoTuning{.promote_at = promote_at, .refuse_heavy = true}>>(name, row,
                                                                                         20);
}

}  // namespace detail

/// Those that the reference has otherwise, or does not have, have no row.
inline constexpr std::array policies{
    detail::under_test<drey::Fifo>("FIFO", "FIFO"),
    detail::under_test<drey::Lru>("LRU", "LRU"),
    detail::under_test<drey::Mru>("MRU", "MRU"),
    detail::under_test<drey::Lfu>("LFU", "LFU"),
    detail::under_test<drey::Random>("Random", random_row),
    detail::under_test<drey::Sieve>("SIEVE", "SIEVE"),
    detail::s3_fifo<1>("S3-FIFO", "S3-FIFO-t1"),     // drey's
    detail::s3_fifo<2>("S3-FIFO-paper", "S3-FIFO"),  // two hits, as the paper has it
    detail::under_test<drey::WTinyLfu>("W-TinyLFU", ""),
    detail::under_test<drey::Adaptive>("Adaptive", ""),
};

inline const PolicyUnderTest* find_policy(std::string_view name) noexcept {
    for (const PolicyUnderTest& policy : policies) {
        if (policy.name == name) return &policy;
    }
    return nullptr;
}

/// The policy that a row of expected misses is of, if it is one of ours.
inline const PolicyUnderTest* find_row(std::string_view row) noexcept {
    for (const PolicyUnderTest& policy : policies) {
        if (policy.row == row) return &policy;
    }
    return nullptr;
}

}  // namespace hit_ratio
