#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/loading/loader.hpp"
#include "drey/options.hpp"
#include "drey/writing/options.hpp"
#include "drey/writing/write.hpp"
#include "drey/writing/write_worker.hpp"

namespace drey {

/// A cache whose writes reach a database later, in batches; made by `write_behind`.
///
/// A put stores in the cache and queues the write. Several puts of a key become one write of the
/// last; a key is never written twice at a time, so its writes cannot overtake each other; an erase
/// is a write too, and never dropped. What cannot be written is tried again, and in the end handed
/// to `on_failure`: as long as the process lives, no write is lost without a word. If it dies, what
/// was queued is lost.
///
/// Read through this object too. What is queued is newer than what the database has, and the cache
/// may have evicted it: so reads look in the queue first. Who reads the cache itself, as other
/// processes do where it is over Redis, may load an old row into it.
///
/// Why no load brings an old row into the cache: a load looks in the queue again once it has its
/// ticket. A put queues its value before it stores it in the cache. So if that load does not find
/// the value in the queue, either it has been written and the load reads it, or the put's store is
/// yet to come, and dooms the load. A write that was given up leaves the queue first and the cache
/// afterwards: that dooms the loads that still found it in the queue.
///
/// Thread-safe, but for construction and destruction. One batch is written at a time, by whoever
/// comes first: this object's thread, the executor, or who flushes, polls, destroys or waits for
/// room; so nobody waits for a thread or an executor that does not come. No user code runs under a
/// lock but the equality of keys. If the cache throws in a put, the write is queued all the same.
template <class C, class BatchWriter>
class WriteBehind {
    using K = typename C::key_type;
    using V = typename C::mapped_type;
    using Worker = WriteWorker<C, BatchWriter>;
    using Pending = typename Worker::Pending;

    static_assert(std::is_copy_constructible_v<K> && std::is_copy_constructible_v<V>,
                  "drey: write_behind needs keys and values that can be copied: the cache has one, "
                  "the queue another");

public:
    using key_type = K;
    using mapped_type = V;
    using Options = WriteBehindOptions<K, V>;
    using Failure = WriteFailure<K, V>;

    /// Throws std::invalid_argument that names the field if an option is wrong.
    WriteBehind(C& cache, BatchWriter writer, Options options)
        : cache_(cache), worker_(cache, std::move(writer), std::move(options)) {}

    /// Tries once more to write all that is queued, without waiting for rests, and hands what fails
    /// to `on_failure`. For retries that take their time, `flush()` before.
    ~WriteBehind() = default;

    WriteBehind(const WriteBehind&) = delete;
    WriteBehind& operator=(const WriteBehind&) = delete;

    // ---- writing -------------------------------------------------------------------------------

    /// Stores the value in the cache, and queues it to be written. Blocks, or throws
    /// WriteQueueFull, if the queue is full (`when_full`); a key that is queued already always has
    /// room.
    void put(K key, V value, PutOptions options = {}) {
        put(std::move(key), std::move(value), options, worker_.when_full());
    }

    /// As `put`, but does nothing and returns false if the queue is full.
    bool try_put(K key, V value, PutOptions options = {}) {
        return put(std::move(key), std::move(value), options, std::nullopt);
    }

    /// Removes the key from the cache, and queues that it is to be erased. Blocks or throws as
    /// `put`.
    void erase(const K& key) { erase(key, worker_.when_full()); }

    /// As `erase`, but does nothing and returns false if the queue is full.
    bool try_erase(const K& key) { return erase(key, std::nullopt); }

    // ---- reading -------------------------------------------------------------------------------

    /// The queued value, whatever its TTL, or else the cache's. Nothing if the key is queued to be
    /// erased. The cache does not count, nor its policy see, what the queue answers.
    std::optional<V> get(const K& key) {
        if (const Pending queued = worker_.look(key)) return queued->value;
        return cache_.get(key);
    }

    /// As `get`, but calls `f(const V&)` with the value in place; whether there was one.
    template <class F>
    bool visit(const K& key, F&& f) {
        static_assert(std::invocable<F&, const V&>,
                      "drey: visit needs a function that takes a const V&");
        const Pending queued = worker_.look(key);
        if (!queued) return cache_.visit(key, [&](const V& value) { std::invoke(f, value); });
        if (queued->value) std::invoke(f, *queued->value);
        return queued->value.has_value();
    }

    bool contains(const K& key) const {
        if (const Pending queued = worker_.look(key)) return queued->value.has_value();
        return cache_.contains(key);
    }

    /// The queued value, or else what `get_or_load` of the cache makes of it. Nothing if the key is
    /// queued to be erased, whose row the loader would still find, or if the loader says that there
    /// is no such row.
    template <class Loader>
    std::optional<V> get_or_load(const K& key, Loader&& loader, LoadOptions options = {}) {
        if (const Pending queued = worker_.look(key)) return queued->value;
        return cache_.get_or_load(
            key,
            [&](const K& k) -> Loaded<std::optional<V>> {
                // Again, now that there is a ticket; see above.
                if (const Pending queued = worker_.look(k)) return {queued->value};
                auto outcome = detail::outcome_of<V>(detail::call_loader(loader, k));
                return {std::move(outcome.value), {.ttl = outcome.ttl}};
            },
            options);
    }

    // ---- the queue -----------------------------------------------------------------------------

    /// Writes all that was queued before, with the threads that are at it, and returns what could
    /// not be written. With Resting::wait that is what was given up meanwhile, and was told to
    /// `on_failure`; with Resting::report also what will be tried again. Throws std::logic_error
    /// from within the batch writer or `on_failure`.
    std::vector<Failure> flush(Resting resting = Resting::wait) { return worker_.flush(resting); }

    /// Does what is due by the clock: writes it on the calling thread, or gives the executor a task
    /// to. Wakes whoever waits for the clock. For tests and for who has a timer; without
    /// `own_thread`, to be called every `flush_every` or so.
    void poll() { worker_.poll(); }

    WriteStats stats() const { return worker_.stats(); }

    /// Whether every invariant of the queue holds; for tests. Linear.
    bool validate() const { return worker_.validate(); }

    /// What the values are stored in. Writing to it directly writes nothing behind it.
    C& cache() const noexcept { return cache_; }

private:
    bool put(K key, V value, PutOptions options, std::optional<WhenFull> when_full) {
        if (options.ttl) detail::check_ttl(*options.ttl);
        auto write = std::make_shared<const PendingWrite<K, V>>(
            PendingWrite<K, V>{key, std::optional<V>(std::as_const(value))});
        return worker_.enqueue(std::move(write), when_full,
                               [&] { cache_.put(std::move(key), std::move(value), options); });
    }

    bool erase(const K& key, std::optional<WhenFull> when_full) {
        auto write = std::make_shared<const PendingWrite<K, V>>(PendingWrite<K, V>{key, {}});
        return worker_.enqueue(std::move(write), when_full, [&] { cache_.erase(key); });
    }

    C& cache_;
    Worker worker_;
};

/// Has a cache's writes reach a database later. `writer(std::span<const drey::Write<K, V>>)` writes
/// a batch; it throws if it wrote nothing, or returns drey::Unwritten<K>. It must be able to write
/// the same again, since a write that failed may have come through. `options.on_failure` is
/// required. The cache is any Cache or AnyCache, and must outlive what this returns; of an AnyCache
/// with keys that have a hash or an equality of their own, only the usual ones are known here.
template <class C, class BatchWriter>
WriteBehind<C, std::decay_t<BatchWriter>> write_behind(
    C& cache, BatchWriter&& writer,
    WriteBehindOptions<typename C::key_type, typename C::mapped_type> options) {
    return {cache, std::forward<BatchWriter>(writer), std::move(options)};
}

}  // namespace drey
