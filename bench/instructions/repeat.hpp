#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "drey/drey.hpp"
#include "throughput/keys.hpp"

namespace instructions {

inline constexpr std::size_t capacity = 8192;
inline constexpr std::size_t few = 10'000, many = 40'000;

inline constexpr std::string_view nothing = "nothing";  // the loop alone, to be subtracted

/// Does the operation `times` times.
template <class Backend>
std::uint64_t repeat(std::string_view operation, std::size_t times) {
    using Cache = drey::Cache<std::uint64_t, std::uint64_t, Backend>;
    const bool inserts = operation == "insert";
    Cache cache({.capacity = inserts ? 64 * capacity : capacity, .seed = 1, .shards = 1});
    // Some policies remember what they evicted, and that is to be full too.
    std::uint64_t next = 0;
    while (next < (inserts ? 1 : 5) * capacity) cache.put(throughput::scramble(next++), 0);

    // All that is prepared must not depend on `times`. Sorted, as the keys are scrambled, is in an
    // order that has to do with nothing.
    std::vector<std::uint64_t> resident;
    cache.for_each([&](std::uint64_t key, std::uint64_t) { resident.push_back(key); });
    std::sort(resident.begin(), resident.end());
    std::vector<std::uint64_t> keys(many);
    const bool reads_resident = operation == "hit" || operation == "overwrite";
    for (std::size_t i = 0; i < many; ++i)
        keys[i] = reads_resident ? resident[i % resident.size()] : throughput::scramble(next++);
    const std::span stream(keys.data(), times);

    std::uint64_t sum = 0;
    if (operation == nothing) {
        // Not to be turned into a sum of vectors.
        for (const std::uint64_t key : stream) asm volatile("" : "+r"(sum) : "r"(key));
    } else if (operation == "hit" || operation == "miss") {
        for (const std::uint64_t key : stream) sum += cache.get(key).value_or(0);
    } else {
        for (const std::uint64_t key : stream) sum += cache.put(key, key);
    }
    return sum;
}

using Repeat = std::uint64_t (*)(std::string_view operation, std::size_t times);

/// By name, once the program runs; each policy's translation unit adds its own.
inline std::map<std::string, Repeat>& policies() {
    static std::map<std::string, Repeat> all;
    return all;
}

template <class Backend>
bool add_policy(const char* name) {
    return policies().emplace(name, &repeat<Backend>).second;
}

}  // namespace instructions
