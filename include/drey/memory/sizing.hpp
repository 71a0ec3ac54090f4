#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <thread>

#include "drey/memory/reclaim.hpp"

namespace drey::detail {

inline constexpr std::size_t usual_weight = 1024;  // to guess entries from bytes

/// How many shards serve a cache of that capacity: so few that each holds some thousands of
/// entries, with which policies are nearly exact, and a few times the threads that can run at once.
inline std::size_t shard_count(std::size_t capacity, bool weighed) {
    constexpr std::size_t entries_a_shard = 4096;
    const std::size_t entries = weighed ? capacity / usual_weight : capacity;
    const std::size_t useful = std::bit_floor(std::max<std::size_t>(entries / entries_a_shard, 1));
    const std::size_t threads = std::bit_ceil(std::max(std::thread::hardware_concurrency(), 1u));
    return std::min({useful, 16 * threads, std::size_t{256}});
}

/// How many entries a shard's table has room for at first. It grows by doubling beyond, and each
/// time look-ups have one more segment to go through, so usual capacities are provided for. That
/// costs address space: memory is used where there are entries.
inline std::size_t first_entries(std::size_t capacity, bool weighed, std::size_t shards) {
    constexpr std::size_t most = std::size_t{1} << 20, most_if_guessed = std::size_t{1} << 16;
    const std::size_t entries =
        weighed ? std::min(capacity / usual_weight, most_if_guessed) : std::min(capacity, most);
    const std::size_t share = entries / shards + 1;
    // Keys do not fall evenly into shards, and what was retired keeps its place for a while.
    const auto uneven =
        shards == 1 ? 0 : static_cast<std::size_t>(4 * std::sqrt(static_cast<double>(share)));
    const std::size_t retired = std::clamp<std::size_t>(share / 16, 64, most_retired);
    // The table takes a twelfth more than it is made for before it grows.
    return std::max(share, (share + uneven + retired) / 13 * 12 + 1);
}

}  // namespace drey::detail
