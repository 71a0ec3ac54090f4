#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "drey/drey.hpp"
#include "throughput/keys.hpp"
#include "throughput/race.hpp"

/// What a hit costs by `get_or_load`, beside one by `get`.
namespace loading {

/// So few that the processor's own caches hold them: memory, which would cost both calls the same,
/// would hide what sets them apart.
inline constexpr std::size_t hot_keys = 4096;

/// Nanoseconds of processor time a call.
struct HitCosts {
    double get = 0;
    double get_or_load = 0;
};

template <class Types>
using CacheOf = drey::Cache<typename Types::Key, typename Types::Value>;

template <class Types>
using Stream = std::vector<typename Types::Item>;

template <class Types>
[[gnu::noinline]] bool get_all(CacheOf<Types>& cache, const Stream<Types>& stream) {
    std::uint64_t wrong = 0;
    for (const auto& item : stream) {
        const auto view = Types::view(item);
        const auto value = cache.get(view);
        wrong |= value ? Types::difference(view, *value) : 1;
    }
    return wrong == 0;
}

template <class Types>
[[gnu::noinline]] bool get_or_load_all(CacheOf<Types>& cache, const Stream<Types>& stream) {
    const auto loader = [](const typename Types::Key&) ->
        typename Types::Value { throw std::runtime_error("a key is missing"); };
    std::uint64_t wrong = 0;
    for (const auto& item : stream) {
        const auto view = Types::view(item);
        wrong |= Types::difference(view, cache.get_or_load(view, loader));
    }
    return wrong == 0;
}

/// Both calls on one warm cache, one after the other in each round, so that whatever else the
/// machine does concerns them alike.
template <class Types>
std::vector<HitCosts> hit_costs(drey::Ttl ttl, unsigned rounds, std::size_t calls) {
    CacheOf<Types> cache({.capacity = 2 * hot_keys, .ttl = ttl});
    Stream<Types> stream;
    throughput::Rng rng(1);
    for (std::size_t i = 0; i < hot_keys; ++i) {
        const auto item = Types::item(i);
        const auto view = Types::view(item);
        cache.put(Types::key(view), Types::value(view));
    }
    for (std::size_t i = 0; i < calls; ++i) stream.push_back(Types::item(rng() % hot_keys));

    const auto time = [&](auto&& read_all) {
        const double began = throughput::thread_cpu_seconds();
        if (!read_all(cache, stream)) throw std::runtime_error("a value is wrong, or missing");
        return (throughput::thread_cpu_seconds() - began) * 1e9 / static_cast<double>(calls);
    };
    time(get_all<Types>);
    std::vector<HitCosts> costs(rounds);
    for (unsigned round = 0; round < rounds; ++round) {
        if (round % 2 == 0) costs[round].get = time(get_all<Types>);
        costs[round].get_or_load = time(get_or_load_all<Types>);
        if (round % 2 != 0) costs[round].get = time(get_all<Types>);
    }
    return costs;
}

using HitCostsOf = std::vector<HitCosts> (*)(drey::Ttl ttl, unsigned rounds, std::size_t calls);

/// By name, once the program runs; each has a translation unit of its own.
inline std::map<std::string, HitCostsOf>& kinds_of_hits() {
    static std::map<std::string, HitCostsOf> all;
    return all;
}

template <class Types>
bool add_hits(const char* label) {
    return kinds_of_hits().emplace(label, &hit_costs<Types>).second;
}

}  // namespace loading
