#pragma once

#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"

namespace drey::detail {

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
    f.template operator()<Sieve>("SIEVE");
    f.template operator()<Fifo>("FIFO");
    f.template operator()<Lfu>("LFU");
    f.template operator()<Mru>("MRU");
    f.template operator()<Random>("Random");
}

}  // namespace drey::detail
