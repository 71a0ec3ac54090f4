#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>

#include "drey/clock.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

namespace drey {

/// Options of an in-process cache, checked once, when it is made.
template <class K, class V>
struct MemoryOptions {
    /// The most the cache holds: entries, or the sum of weights if there is a weigher. At least 1.
    std::size_t capacity = 0;

    /// How long an entry lives unless its `put` says otherwise.
    Ttl ttl = never;

    /// Shortens each TTL by a random share below this, in [0, 1), so that entries written together
    /// do not expire together.
    double jitter = 0.0;

    /// What an entry counts against the capacity, such as its bytes; 0 is free. Called once a
    /// write, outside locks. Each entry counts 1 if there is none.
    std::function<Weight(const K&, const V&)> weigher = {};

    /// Called once for each entry that leaves, after it can no longer be found, outside locks, on
    /// the thread that made it leave. May call the cache. Exceptions are swallowed and counted.
    std::function<void(const K&, const V&, Removal)> on_removal = {};

    /// Where time comes from; steady time unless given. A clock given by reference or pointer must
    /// outlive the cache.
    ClockRef clock = {};

    /// Fixes the hash salt and every other random choice, for reproducible tests. Unless given,
    /// each process has its own salt, so that an attacker cannot choose colliding keys.
    std::optional<std::uint64_t> seed = {};

    /// A power of two, and in effect no more than the capacity; 0 lets the cache choose: 1 for
    /// small caches, whose policy is then exact. A Local cache always has 1.
    std::size_t shards = 0;
};

/// What one `put` may say. What it leaves out comes from the cache's options.
struct PutOptions {
    std::optional<Ttl> ttl = {};
};

/// What one `get_or_load` may say. What it leaves out comes from the cache's options.
struct LoadOptions {
    std::optional<Ttl> ttl = {};
};

/// When a write may go ahead.
enum class WriteIf {
    always,     ///< whatever is there
    absent,     ///< unless a live entry is there
    unchanged,  ///< if what is under the key is what the caller saw
};

namespace detail {

inline constexpr std::size_t most_shards = 4096;

inline void check_ttl(Ttl ttl) {
    if (ttl.nanoseconds() < 0) throw std::invalid_argument("drey: ttl must not be negative");
}

inline void check_capacity(std::size_t capacity) {
    if (capacity == 0) throw std::invalid_argument("drey: capacity must be at least 1");
}

/// Throws std::invalid_argument that names the first field that is wrong.
template <class K, class V>
void check(const MemoryOptions<K, V>& options) {
    check_capacity(options.capacity);
    check_ttl(options.ttl);
    if (!(options.jitter >= 0.0 && options.jitter < 1.0))
        throw std::invalid_argument("drey: jitter must be in [0, 1)");
    if (options.shards != 0 && !std::has_single_bit(options.shards))
        throw std::invalid_argument("drey: shards must be a power of two");
    if (options.shards > most_shards)
        throw std::invalid_argument("drey: shards must be at most 4096");
}

}  // namespace detail
}  // namespace drey
