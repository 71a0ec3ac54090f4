#pragma once

#include <cstddef>

#include "drey/policy/adaptive.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/policy/w_tiny_lfu.hpp"

namespace drey::detail {

/// What a simulation of a policy takes for what the policy itself has, what it has of an entry, and
/// what it remembers of those that left, in bytes.
struct SimulatedBytes {
    std::size_t itself = 1536;
    std::size_t an_entry = 12;
};
template <class P>
inline constexpr SimulatedBytes simulated_bytes{};
template <>
inline constexpr SimulatedBytes simulated_bytes<Adaptive>{.itself = 4608, .an_entry = 24};
template <>
inline constexpr SimulatedBytes simulated_bytes<WTinyLfu>{.itself = 4 << 10, .an_entry = 32};

/// Calls `f.operator()<P>(name)` for each policy that the advisor compares a cache's own with. Each
/// takes its share of the memory.
template <class F>
void each_rival(F&& f) {
    f.template operator()<S3Fifo>("S3-FIFO");
    f.template operator()<Lru>("LRU");
}

/// The same for the others that a cache may have.
template <class F>
void each_other_policy(F&& f) {
    f.template operator()<Adaptive>("Adaptive");
    f.template operator()<WTinyLfu>("W-TinyLFU");
    f.template operator()<Sieve>("SIEVE");
    f.template operator()<Fifo>("FIFO");
    f.template operator()<Lfu>("LFU");
    f.template operator()<Mru>("MRU");
    f.template operator()<Random>("Random");
}

}  // namespace drey::detail
