#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <stdexcept>

#include "drey/clock.hpp"
#include "drey/fwd.hpp"
#include "drey/terms.hpp"
#include "drey/writing/retry.hpp"
#include "drey/writing/write.hpp"

namespace drey {

/// What a put does that finds as many keys waiting as may wait.
enum class WhenFull {
    blocks,  ///< until there is room; if nobody is writing a batch, it writes one itself
    throws   ///< WriteQueueFull
};

/// Options of `write_behind`, checked once, when it is made.
template <class K, class V>
struct WriteBehindOptions {
    /// Told of each write that was given up, on the thread that tried it last, outside locks.
    /// Required, since nobody else would notice. May write through the object (by `try_put`, since
    /// waiting for room would be for itself), but not while that is destroyed. Exceptions are
    /// swallowed and counted.
    std::function<void(const WriteFailure<K, V>&)> on_failure = {};

    /// The most that a write waits for others to share its batch; counted, for a key that is being
    /// written, from when that ends.
    Ttl flush_every = std::chrono::seconds(1);

    /// The most keys in one call of the batch writer. That many do not wait for the time.
    std::size_t max_batch = 100;

    /// The most keys that wait or are being written.
    std::size_t max_queue = 10'000;

    WhenFull when_full = WhenFull::blocks;

    Retry retry = {};

    /// Where time comes from; steady time unless given. A clock given by reference or pointer must
    /// outlive the object.
    ClockRef clock = {};

    /// Runs the batches: any callable that takes a task and runs it, once, now or later, on any
    /// thread. Without one, the object's own thread does. What flushes, destroys, or finds the
    /// queue full does not wait for it, but writes on its own thread if nobody is writing. Over a
    /// Local cache, tasks must run on the cache's thread.
    Executor executor = {};

    /// Whether a thread of this object, started by the first write, watches the clock. If not, time
    /// is looked at by `poll` only (and by what writes, if there is an executor): for tests, and
    /// for who has a timer. Must be false over a Local cache, in an AnyCache too.
    bool own_thread = true;
};

namespace detail {

/// Whether the cache is known to be for one thread.
template <class C>
inline constexpr bool is_local = false;
template <class K, class V, class Policy, class Hasher, class Equal>
inline constexpr bool is_local<Cache<K, V, Local<Policy, Hasher, Equal>>> = true;

/// Throws std::invalid_argument that names the first field that is wrong.
template <class K, class V>
void check(const WriteBehindOptions<K, V>& options, bool for_one_thread) {
    if (!options.on_failure)
        throw std::invalid_argument(
            "drey: on_failure must be set: it is told of the writes that are lost");
    if (options.flush_every.nanoseconds() < 0)
        throw std::invalid_argument("drey: flush_every must not be negative");
    if (options.max_batch == 0) throw std::invalid_argument("drey: max_batch must be at least 1");
    if (options.max_queue == 0) throw std::invalid_argument("drey: max_queue must be at least 1");
    check(options.retry);
    if (for_one_thread && options.own_thread)
        throw std::invalid_argument(
            "drey: own_thread must be false over a Local cache, which is for one thread");
}

}  // namespace detail
}  // namespace drey
