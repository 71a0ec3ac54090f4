#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <thread>

namespace drey::detail {

/// How many shards serve a cache of that capacity: so few that each holds some thousands of
/// entries, with which policies are nearly exact, and a few times the threads that can run at once.
inline std::size_t shard_count(std::size_t capacity, bool weighed) {
    constexpr std::size_t entries_a_shard = 4096;
    constexpr std::size_t usual_weight = 1024;  // to guess entries from bytes
    const std::size_t entries = weighed ? capacity / usual_weight : capacity;
    const std::size_t useful = std::bit_floor(std::max<std::size_t>(entries / entries_a_shard, 1));
    const std::size_t threads = std::bit_ceil(std::max(std::thread::hardware_concurrency(), 1u));
    return std::min({useful, 4 * threads, std::size_t{256}});
}

/// How many entries a shard's index has room for at first. It grows by doubling beyond, which costs
/// a moment under the lock and the old index's memory, so usual capacities are provided for.
inline std::size_t first_entries(std::size_t capacity, bool weighed, std::size_t shards) {
    constexpr std::size_t most = std::size_t{1} << 20;
    return weighed ? 64 : std::min(capacity, most) / shards + 1;
}

}  // namespace drey::detail
