#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/loading/loader.hpp"
#include "drey/lookup.hpp"
#include "drey/options.hpp"
#include "drey/writing/checks.hpp"
#include "drey/writing/known_value.hpp"
#include "drey/writing/options.hpp"
#include "drey/writing/pending_writes.hpp"
#include "drey/writing/write.hpp"

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
/// afterwards: that dooms the loads that still found it in the queue. So it is with loads that run
/// on in the background, even when this object is gone, and with values that are served past their
/// TTL: what a put has replaced is nowhere to be served from.
///
/// One thread at a time writes a key. `update`, `put_if_absent` and `take` do their reading and
/// writing in one turn: among the writes through this object they are atomic. They ask the queue,
/// then the cache, then the loader, since a cache that has evicted a row does not know that there
/// is one; so there are none without a loader.
///
/// Thread-safe, but for construction and destruction. One batch is written at a time, by whoever
/// comes first: this object's thread, the executor, or who flushes, polls, destroys or waits for
/// room; so nobody waits for a thread or an executor that does not come. No user code runs under a
/// lock but the equality of keys. If the cache throws in a write, that is queued all the same.
///
/// Listeners and weighers of the cache, loaders and f of `update` run within the write of a key. If
/// they write other keys through this object where that would have to wait, or flush, they get a
/// std::logic_error, and so they do if they write the same key: nobody waits for himself.
///
/// One such object at a time should be over a cache: neither looks in the other's queue.
template <class C, class BatchWriter>
class WriteBehind {
    using K = typename C::key_type;
    using V = typename C::mapped_type;
    using Writes = PendingWrites<C, BatchWriter>;
    using Pending = typename Writes::Pending;

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
        : cache_(cache), writes_(cache, std::move(writer), std::move(options)) {}

    /// Tries once more to write all that is queued, without waiting for rests, and hands what fails
    /// to `on_failure`. For retries that take their time, `flush()` before.
    ~WriteBehind() = default;

    WriteBehind(const WriteBehind&) = delete;
    WriteBehind& operator=(const WriteBehind&) = delete;

    // ---- writing -------------------------------------------------------------------------------

    /// Stores the value in the cache, and queues it to be written. Blocks, or throws
    /// WriteQueueFull, if the queue is full (`when_full`); a key that is queued already always has
    /// room.
    void put(K key, V value, const PutOptions& options = {}) {
        put(std::move(key), std::move(value), options, writes_.worker().options().when_full);
    }

    /// As `put`, but does nothing and returns false if the queue is full.
    bool try_put(K key, V value, const PutOptions& options = {}) {
        return put(std::move(key), std::move(value), options, std::nullopt);
    }

    /// Removes the key from the cache, and queues that it is to be erased. Blocks or throws as
    /// `put`.
    void erase(const K& key) { erase(key, writes_.worker().options().when_full); }

    /// As `erase`, but does nothing and returns false if the queue is full.
    bool try_erase(const K& key) { return erase(key, std::nullopt); }

    /// Puts pairs of key and value, each as `put` does, one after the other; the first that throws
    /// is the last.
    template <std::ranges::input_range Entries>
    void put_many(Entries&& entries, const PutOptions& options = {}) {
        for (const auto& [key, value] : entries) put(key, value, options);
    }
    void put_many(std::initializer_list<std::pair<K, V>> entries, const PutOptions& options = {}) {
        put_many(std::span(entries.begin(), entries.size()), options);
    }

    /// Puts the value unless there is a row: one that is queued, cached, or found by the loader;
    /// whether it did.
    template <class Loader>
    bool put_if_absent(K key, V value, Loader&& loader, const PutOptions& options = {}) {
        bool put = false;
        change(
            key, loader,
            [&](std::optional<V> row) -> Pending {
                put = !row;
                return put ? write_of(key, std::move(value)) : nullptr;
            },
            options);
        return put;
    }

    /// Puts what `f(optional<V>)` makes of the row: one that is queued, cached, or found by the
    /// loader. If f returns nothing, erases the row. Whether there is a row now. f is called once.
    template <class F, class Loader>
    bool update(K key, F&& f, Loader&& loader, const PutOptions& options = {}) {
        detail::check_change<V, F>();
        bool has_row = false;
        change(
            key, loader,
            [&](std::optional<V> row) -> Pending {
                const bool had_row = row.has_value();
                std::optional<V> now = std::invoke(f, std::move(row));
                has_row = now.has_value();
                return had_row || has_row ? write_of(key, std::move(now)) : nullptr;
            },
            options);
        return has_row;
    }

    /// Erases the row and returns what it was: one that is queued, cached, or found by the loader.
    /// Nothing if there is none.
    template <class Loader>
    std::optional<V> take(const K& key, Loader&& loader) {
        std::optional<V> taken;
        change(key, loader, [&](std::optional<V> row) -> Pending {
            taken = std::move(row);
            return taken ? write_of(key, std::nullopt) : nullptr;
        });
        return taken;
    }

    // ---- reading -------------------------------------------------------------------------------

    /// The queued value, whatever its TTL, or else the cache's. Nothing if the key is queued to be
    /// erased. The cache does not count, nor its policy see, what the queue answers.
    std::optional<V> get(const K& key) {
        if (const Pending queued = writes_.look(key)) return queued->value;
        return cache_.get(key);
    }

    /// As `get`, and how the look-up ended: what is queued is a hit, or a miss if it is an erase.
    Lookup<V> find(const K& key) {
        const Pending queued = writes_.look(key);
        if (!queued) return cache_.find(key);
        return queued->value ? Lookup<V>::hit(*queued->value) : Lookup<V>::miss();
    }

    /// What `get` says of many keys, in their order; those that are not queued are asked of the
    /// cache together.
    template <std::ranges::input_range Keys>
    std::vector<std::optional<V>> get_many(const Keys& keys) {
        std::vector<std::optional<V>> values;
        std::vector<K> others;
        std::vector<std::size_t> places;
        for (const K& key : keys) {
            const Pending queued = writes_.look(key);
            if (!queued) {
                others.push_back(key);
                places.push_back(values.size());
            }
            values.push_back(queued ? queued->value : std::nullopt);
        }
        if (others.empty()) return values;
        auto found = cache_.get_many(others);
        for (std::size_t i = 0; i < places.size(); ++i) values[places[i]] = std::move(found[i]);
        return values;
    }
    std::vector<std::optional<V>> get_many(std::initializer_list<K> keys) {
        return get_many(std::span<const K>(keys.begin(), keys.size()));
    }

    /// As `get`, but calls `f(const V&)` with the value in place; whether there was one.
    template <class F>
    bool visit(const K& key, F&& f) {
        static_assert(std::invocable<F&, const V&>,
                      "drey: visit needs a function that takes a const V&");
        const Pending queued = writes_.look(key);
        if (!queued) return cache_.visit(key, [&](const V& value) { std::invoke(f, value); });
        if (queued->value) std::invoke(f, *queued->value);
        return queued->value.has_value();
    }

    bool contains(const K& key) const {
        if (const Pending queued = writes_.look(key)) return queued->value.has_value();
        return cache_.contains(key);
    }

    /// The queued value, or else what `get_or_load` of the cache makes of it. Nothing if the key is
    /// queued to be erased, whose row the loader would still find, or if the loader says that there
    /// is no such row. The loader is copied, or moved if it is not needed any more, since the cache
    /// may run it in the background: see LoadOptions.
    template <class Loader>
    std::optional<V> get_or_load(const K& key, Loader&& loader, LoadOptions options = {}) {
        if (const Pending queued = writes_.look(key)) return queued->value;
        static_assert(std::is_constructible_v<std::decay_t<Loader>, Loader&&>,
                      "drey: a loader that cannot be copied must be moved into the call");
        static const PutOptions brief{.ttl = std::chrono::seconds(0),
                                      .stale_for = std::chrono::seconds(0)};
        return cache_.get_or_load(
            key,
            // Not `this`: a load in the background may outlive us, though not the cache.
            [link = writes_.worker().link(),
             own = std::decay_t<Loader>(std::forward<Loader>(loader))](
                const K& k) mutable -> Loaded<std::optional<V>> {
                // Again, now that there is a ticket; see above. Not to be kept: its own put has
                // stored it, under options that are not known here.
                if (const Pending queued = Writes::look(link, k)) return {queued->value, brief};
                auto outcome = detail::outcome_of<V>(detail::call_loader(own, k));
                return {std::move(outcome.value), std::move(outcome.options)};
            },
            std::move(options));
    }

    // ---- the queue -----------------------------------------------------------------------------

    /// Writes all that was queued before, with the threads that are at it, and returns what could
    /// not be written. With Resting::wait that is what was given up meanwhile, and was told to
    /// `on_failure`; with Resting::report also what will be tried again. Throws std::logic_error
    /// from within the batch writer, `on_failure` or a write.
    std::vector<Failure> flush(Resting resting = Resting::wait) { return writes_.flush(resting); }

    /// Does what is due by the clock: writes it on the calling thread, or gives the executor a task
    /// to. Wakes whoever waits for the clock. For tests and for who has a timer; without
    /// `own_thread`, to be called every `flush_every` or so.
    void poll() { writes_.worker().poll(); }

    WriteStats stats() const { return writes_.worker().stats(); }

    /// Whether every invariant of the queue holds; for tests. Linear.
    bool validate() const { return writes_.worker().validate(); }

    /// What the values are stored in. Writing to it directly writes nothing behind it.
    C& cache() const noexcept { return cache_; }

private:
    static Pending write_of(const K& key, std::optional<V> value) {
        return std::make_shared<const PendingWrite<K, V>>(
            PendingWrite<K, V>{key, std::move(value)});
    }

    bool put(K key, V value, const PutOptions& options, std::optional<WhenFull> when_full) {
        detail::check_put(options);
        const Pending write = write_of(key, std::as_const(value));
        return writes_.put(write, when_full,
                           [&] { cache_.put(std::move(key), std::move(value), options); });
    }

    bool erase(const K& key, std::optional<WhenFull> when_full) {
        return writes_.put(write_of(key, std::nullopt), when_full, [&] { cache_.erase(key); });
    }

    /// Writes what `decide(row)` returns, if it does not return null.
    template <class Loader, class Decide>
    void change(const K& key, Loader& loader, Decide&& decide, const PutOptions& options = {}) {
        detail::check_put(options);
        Pending write;
        writes_.change(
            key,
            [&](const Pending& queued) {
                return write = decide(queued ? queued->value
                                             : detail::known_value(cache_, key, loader));
            },
            [&] {
                if (write->value) {
                    cache_.put(K(write->key), V(*write->value), options);
                } else {
                    cache_.erase(write->key);
                }
            });
    }

    C& cache_;
    Writes writes_;
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
