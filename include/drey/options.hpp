#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "drey/clock.hpp"
#include "drey/detail/unix_time.hpp"
#include "drey/stats.hpp"
#include "drey/terms.hpp"
#include "drey/types.hpp"

namespace drey {

/// When a value past its TTL may be returned by `get_or_load`. What was erased, overwritten or
/// cleared never is.
enum class ServeStale {
    while_revalidating,  ///< at once, while a load in the background replaces it
    on_error,            ///< if the load of a new one throws, or takes too long
    both,
};

/// How `get_or_load` loads: for all calls (`.loading` of the cache's options), and for one. A call
/// overrides what it names; what neither names is as it says below.
///
/// Who waits for no more than some time leaves the loader behind when that is over. So a loader
/// that may run on after its call, by any option marked (*), is copied or moved, and what it refers
/// to must live as long as the cache. Without such options it is never run after the call.
struct LoadOptions {
    /// How long a loaded value is fresh. The cache's `ttl`.
    std::optional<Ttl> ttl = {};

    /// As the cache's option of that name, for what is loaded.
    std::optional<double> jitter = {};

    /// (*) How long a value is kept, and may be used, after its TTL. Not at all.
    std::optional<Ttl> stale_for = {};

    /// How such a value is used. Both ways.
    std::optional<ServeStale> serve_stale = {};

    /// After a load that threw where a stale value was at hand: how long no loader is called for
    /// the key by those who may be served that value, on errors or without a wait. A value that was
    /// put since is another. One second.
    std::optional<Ttl> retry_after = {};

    /// (*) How long a call waits for a load when a stale value is at hand, which it then returns.
    /// Not at all if it serves stale values while revalidating, else as long as it takes.
    std::optional<Ttl> soft_timeout = {};

    /// (*) How long a call waits for a load at most; then, if no stale value is at hand, it throws
    /// LoadTimeout. The load goes on, and what it brings is stored. As long as it takes. A load
    /// that runs in the background itself runs what else it needs, however long that takes.
    std::optional<Ttl> hard_timeout = {};

    /// How long it is remembered that there is no such row. Not at all.
    std::optional<Ttl> negative_ttl = {};

    /// (*) Refreshes values before they expire, the likelier the nearer that is and the longer the
    /// load took: who finds one with `left` to live, whose load took `took`, has it loaded in the
    /// background if -took * early * ln(random in (0, 1)) >= left. 1 is usual, more is earlier, 0
    /// is never: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede
    /// Prevention" (VLDB 2015). Never.
    std::optional<double> early = {};

    /// By which `invalidate_tag` finds what is loaded, rows that are not there included; besides
    /// those that the loader says. None.
    std::vector<std::string> tags = {};

    /// Where loads run that no caller may wait for to the end. On threads of the cache's own, which
    /// start when there is such a load; a Local cache has none, and then loads in the call.
    Executor executor = {};
};

class Advisor;
struct AdvisedCache;

namespace detail {

/// Instantiated by who asks for advice alone: miniatures of caches of many policies are not to be
/// compiled, nor optimised, along with every cache. Defined in advise/advisor.hpp.
template <class Policy>
std::unique_ptr<Advisor> make_advisor(const AdvisedCache& cache);

}  // namespace detail

/// Whether a cache follows a sample of its look-ups for `advice()`: `true`; or, for a policy that
/// is not one of drey's, `drey::Advise::on_policy<MyPolicy>()`.
class Advise {
public:
    constexpr Advise() noexcept = default;

    template <std::same_as<bool> Bool>
    constexpr Advise(Bool on) noexcept : make_(on ? &detail::make_advisor<void> : nullptr) {}

    template <class Policy>
    static constexpr Advise on_policy() noexcept {
        Advise advise;
        advise.make_ = &detail::make_advisor<Policy>;
        return advise;
    }

    constexpr explicit operator bool() const noexcept { return make_ != nullptr; }

    using Make = std::unique_ptr<Advisor> (*)(const AdvisedCache&);
    constexpr Make make() const noexcept { return make_; }

private:
    Make make_ = nullptr;
};

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

    /// How `get_or_load` loads.
    LoadOptions loading = {};

    /// What an entry counts against the capacity, such as its bytes; 0 is free. Called once a
    /// write, outside locks. Each entry counts 1 if there is none.
    std::function<Weight(const K&, const V&)> weigher = {};

    /// What it counts to remember that there is no such row, if there is a weigher; usually bytes.
    Weight absent_weight = 64;

    /// Called once for each value that leaves, after it can no longer be found, outside locks, on
    /// the thread that made it leave. May call the cache. Exceptions are swallowed and counted.
    std::function<void(const K&, const V&, Removal)> on_removal = {};

    /// Where time comes from; steady time unless given. A clock given by reference or pointer must
    /// outlive the cache.
    ClockRef clock = {};

    /// Fixes the hash salt and every other random choice, for reproducible tests. Unless given,
    /// each process has its own salt, so that an attacker cannot choose colliding keys.
    std::optional<std::uint64_t> seed = {};

    /// Follows a sample of the look-ups, so that `advice()` can tell what the cache would hit with
    /// another capacity or policy. Not with a weigher.
    Advise advise = {};

    /// The bytes that this may take, 16 KiB or more; with more it is more exact. As simulations
    /// have a least size, it may take more than less than 64 KiB, and for policies that run
    /// simulations of their own, as Adaptive does, than less than 128 KiB.
    std::size_t advise_memory = std::size_t{256} << 10;

    /// A power of two, and in effect no more than the capacity; 0 lets the cache choose: 1 for
    /// small caches, whose policy is then exact. A Local cache always has 1.
    std::size_t shards = 0;
};

/// What one `put` may say. What it leaves out comes from the cache's options.
struct PutOptions {
    /// How long the value is fresh.
    std::optional<Ttl> ttl = {};

    /// How long it may be used after that: see LoadOptions.
    std::optional<Ttl> stale_for = {};

    /// By which `invalidate_tag` finds it, such as "user:42".
    std::vector<std::string> tags = {};
};

/// How a snapshot is written and restored.
struct SnapshotOptions {
    /// What the bytes of keys and values mean; raise it when that changes. A snapshot of another
    /// schema is refused. Types are compared by nothing else.
    std::uint32_t schema = 0;

    /// When restoring: whether TTLs have gone on between snapshot and restore. If not, each entry
    /// has the time left that it had, however long ago that was.
    bool count_time_between = false;

    /// Where the time between comes from: what all machines share, as far as their clocks agree.
    ClockRef unix_clock = detail::system_clock();
};

/// When a write may go ahead.
enum class WriteIf {
    always,     ///< whatever is there
    absent,     ///< unless a live entry is there
    unchanged,  ///< if what is under the key is what the caller saw
};

namespace detail {

inline constexpr std::size_t most_shards = 4096;

inline constexpr std::size_t least_advise_memory = std::size_t{16} << 10;

inline void check_ttl(Ttl ttl) {
    if (ttl.nanoseconds() < 0) throw std::invalid_argument("drey: ttl must not be negative");
}

/// Throws std::invalid_argument that names the first field that is wrong.
inline void check(const LoadOptions& options) {
    const auto check_time = [](const std::optional<Ttl>& time, const char* message) {
        if (time && time->nanoseconds() < 0) throw std::invalid_argument(message);
    };
    check_time(options.ttl, "drey: ttl must not be negative");
    if (options.jitter && !(*options.jitter >= 0.0 && *options.jitter < 1.0))
        throw std::invalid_argument("drey: jitter must be in [0, 1)");
    check_time(options.stale_for, "drey: stale_for must not be negative");
    check_time(options.retry_after, "drey: retry_after must not be negative");
    check_time(options.soft_timeout, "drey: soft_timeout must not be negative");
    check_time(options.hard_timeout, "drey: hard_timeout must not be negative");
    check_time(options.negative_ttl, "drey: negative_ttl must not be negative");
    if (options.early && !(*options.early >= 0.0 && *options.early < 1e9))
        throw std::invalid_argument("drey: early must be 0 or more, and finite");
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
    check(options.loading);
    if (options.shards != 0 && !std::has_single_bit(options.shards))
        throw std::invalid_argument("drey: shards must be a power of two");
    if (options.shards > most_shards)
        throw std::invalid_argument("drey: shards must be at most 4096");
    if (options.advise && options.weigher)
        throw std::invalid_argument("drey: advise needs entries that count 1: no weigher");
    if (options.advise && options.advise_memory < least_advise_memory)
        throw std::invalid_argument("drey: advise_memory must be at least 16 KiB");
}

}  // namespace detail
}  // namespace drey
