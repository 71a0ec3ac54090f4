#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "drey/advise/advice.hpp"
#include "drey/backend/memory.hpp"
#include "drey/codec/raw.hpp"
#include "drey/hash.hpp"
#include "drey/loading/batch_loader.hpp"
#include "drey/loading/loading.hpp"
#include "drey/loading/refreshing.hpp"
#include "drey/loading/warm.hpp"
#include "drey/lookup.hpp"
#include "drey/memory/snapshot.hpp"
#include "drey/options.hpp"
#include "drey/stats.hpp"

// What costs as much to call as to do is inlined by force where speed is asked for: a compiler's
// limits depend on what else is in the caller.
#if defined(NDEBUG) && defined(__GNUC__)
#define DREY_HOT [[gnu::always_inline]]
#else
#define DREY_HOT
#endif

namespace drey {

/// A cache of values of type V by keys of type K.
///
/// `Backend` says where entries live: an eviction policy by itself means in this process, for any
/// number of threads, and is short for `Memory<Policy, Hash, Equal>`; `Local<Policy>` is the same
/// for one thread. `Cache<K, V>` alone uses the default policy, `Adaptive`.
///
/// Thread safety: every call may be made from any thread at any time (`Local`: from one at a
/// time). Construction and destruction must not overlap with other calls.
///
/// References: none into the cache are handed out, but to `visit`, `for_each`, `erase_if` and the
/// listener while they run. Such a value stays as it was for that long, even if it is overwritten
/// or removed meanwhile.
///
/// User code (copy constructors, destructors, hashes, loaders, visitors, weighers, listeners) runs
/// outside all locks and may call the same cache. Exceptions: the hash, equality and constructors
/// of key and value may throw, as may memory allocation; a call that throws has changed nothing,
/// but that a `put` of a heavy entry may have evicted others before memory ran out, an `erase_if`
/// may have erased some entries, a `take` has removed the value that it could not move or copy out,
/// a load may have stored its value, and a `restore` some entries if memory ran out at the end.
/// `erase`, `clear` and `purge_expired` need no memory.
///
/// Requirements: K and V movable; K hashable and comparable. `get`, `find`, `get_or_load` and
/// `update` need a copyable V; the others do not. K need never be copyable.
///
/// Complexity: every call on one key is expected O(1), `for_each`, `erase_if`, `clear`, `snapshot`,
/// `restore` and `refresh_all` are linear in the entries, `purge_expired` in those that expired.
template <class K, class V, class Backend>
class Cache {
    using Traits = detail::BackendOf<Backend, K, V>;
    using Impl = typename Traits::type;
    using Loads = Loading<K, V, Impl>;
    using Attempt = typename Impl::Attempt;
    static constexpr bool copies = std::is_copy_constructible_v<V>;

    /// What is looked up as a string_view, though not as what it is: a C string.
    template <class Q>
    static constexpr bool is_text = Traits::template looks_up<std::string_view>&&
        std::convertible_to<const Q&, std::string_view>;

    template <class Q>
    static constexpr bool is_key = std::same_as<Q, K> || Traits::template looks_up<Q> ||
                                   is_text<Q> || std::convertible_to<const Q&, K>;

public:
    using key_type = K;
    using mapped_type = V;
    using Options = typename Traits::Options;

    /// Whether the entries are in this process: only then are there a capacity, `for_each`,
    /// `erase_if`, `purge_expired`, `snapshot`, `restore`, `refresh_all`, `synchronize` and
    /// `validate`.
    static constexpr bool is_in_process = requires(Impl & impl) { impl.capacity(); };

    /// Throws std::invalid_argument that names the field if an option is wrong.
    explicit Cache(Options options)
        : settings_(settings_of(options)), backend_(std::move(options)) {}

    Cache(const Cache&) = delete;
    Cache& operator=(const Cache&) = delete;

    // ---- reading. A key may be anything that compares with K: text for text, without a copy. ----

    /// A copy of the key's value; nothing on a miss or if it has expired.
    template <class Q = K>
        requires is_key<Q> std::optional<V> get DREY_HOT(const Q& key) {
            static_assert(
                copies, "drey: get copies the value; for values that only move, use visit or take");
            return backend_.get(as_key(key));
        }

    /// A copy of the key's value together with how the look-up ended.
    template <class Q = K>
        requires is_key<Q> Lookup<V> find(const Q& key) {
            static_assert(
                copies,
                "drey: find copies the value; for values that only move, use visit or take");
            return backend_.find(as_key(key));
        }

    /// Calls `f(const V&)` with the key's value in place; whether there was one. No copy is made
    /// and no lock is held: f may take its time and may call the cache.
    template <class Q = K, class F>
        requires is_key<Q>
    bool visit(const Q& key, F&& f) {
        static_assert(std::invocable<F&, const V&>,
                      "drey: visit needs a function that takes a const V&");
        return backend_.read(as_key(key), [&](const V& value) { std::invoke(f, value); });
    }

    /// The values of many keys, in their order, in one round trip where there is a server.
    template <std::ranges::input_range Keys>
    std::vector<std::optional<V>> get_many(const Keys& keys) {
        static_assert(copies, "drey: get_many copies the values");
        using Q = std::remove_cvref_t<std::ranges::range_reference_t<const Keys&>>;
        static_assert(is_key<Q>, "drey: get_many needs a range of what get takes");
        const auto as_its_key = [](const Q& key) -> decltype(auto) { return as_key(key); };
        if constexpr (requires { backend_.get_many(keys, as_its_key); }) {
            return backend_.get_many(keys, as_its_key);
        } else {
            std::vector<std::optional<V>> values;
            for (const Q& key : keys) values.push_back(get(key));
            return values;
        }
    }
    std::vector<std::optional<V>> get_many(std::initializer_list<K> keys) {
        return get_many(std::span<const K>(keys.begin(), keys.size()));
    }

    /// Whether the key has a value. Counts neither as a hit nor as a miss.
    template <class Q = K>
        requires is_key<Q>
    bool contains(const Q& key) const { return backend_.contains(as_key(key)); }

    // ---- writing -------------------------------------------------------------------------------

    /// Stores the value under the key, whatever was there. An overwritten entry keeps its place
    /// with the policy, and the write counts as a hit. False if the value was not kept: it weighs
    /// more than the capacity, the policy did not admit it, or other threads took the room that was
    /// made for it time and again; the key then has no value.
    bool put(K key, V value) {  // apart, as options and terms cost something to make
        const auto make_terms = [this] { return terms(); };
        if constexpr (requires { backend_.put(std::move(key), std::move(value), make_terms); }) {
            return backend_.put(std::move(key), std::move(value), make_terms);
        } else {
            return backend_.put(std::move(key), std::move(value), terms(), WriteIf::always);
        }
    }
    bool put(K key, V value, const PutOptions& options) {
        return backend_.put(std::move(key), std::move(value), terms(options), WriteIf::always);
    }

    /// Stores the value unless the key has one; whether it did.
    bool put_if_absent(K key, V value, const PutOptions& options = {}) {
        return backend_.put(std::move(key), std::move(value), terms(options), WriteIf::absent);
    }

    /// Stores pairs of key and value as `put` does, in one round trip where there is a server.
    /// Returns how many were kept.
    template <std::ranges::input_range Entries>
    std::size_t put_many(Entries&& entries, const PutOptions& options = {}) {
        using Q = std::remove_cvref_t<decltype(std::ranges::begin(entries)->first)>;
        static_assert(is_key<Q>, "drey: put_many needs a range of pairs of what put takes");
        const auto as_its_key = [](const Q& key) -> decltype(auto) { return as_key(key); };
        if constexpr (requires { backend_.put_many(entries, terms(options), as_its_key); }) {
            return backend_.put_many(entries, terms(options), as_its_key);
        } else {
            std::size_t kept = 0;
            for (const auto& [key, value] : entries) kept += put(key, value, options) ? 1 : 0;
            return kept;
        }
    }
    std::size_t put_many(std::initializer_list<std::pair<K, V>> entries,
                         const PutOptions& options = {}) {
        return put_many(std::span<const std::pair<K, V>>(entries.begin(), entries.size()), options);
    }

    /// Atomically replaces the key's value by `f(optional<V>)`, which returns optional<V>; nothing
    /// removes the key. Whether the key has a value now. If others write the key meanwhile, f is
    /// called again with what they wrote, so it should have no side effects. A write: the TTL
    /// starts anew.
    template <class F>
    bool update(K key, F&& f, const PutOptions& options = {}) {
        static_assert(copies,
                      "drey: update copies the value; for values that only move, use take and put");
        static_assert(std::is_invocable_r_v<std::optional<V>, F&, std::optional<V>>,
                      "drey: update needs a function from optional<V> to optional<V>");
        return backend_.update(std::move(key), f, terms(options));
    }

    // ---- removing. What is removed is no longer found when the call returns, and a load that was
    // ---- in flight for it does not bring it back. If a server could not be reached, `take` and
    // ---- `erase` are made up for before this process finds the key there; the others are told as
    // ---- errors, and to be called again. --------------------------------------------------------

    /// Removes the key and returns its value: moved out if nobody else is reading it, copied if
    /// somebody is. A value that only moves is waited for; the caller must not be visiting it
    /// itself (std::logic_error), nor should two threads visit one key and take the other's.
    template <class Q = K>
        requires is_key<Q> std::optional<V> take(const Q& key) {
            return backend_.take(as_key(key));
        }

    /// Removes the key. Returns how many values that removed, 0 or 1.
    template <class Q = K>
        requires is_key<Q> std::size_t erase(const Q& key) { return backend_.erase(as_key(key)); }

    /// Removes all entries for which `pred(const K&, const V&)` holds; returns how many. Dooms all
    /// loads in flight, since their values cannot be asked. See `for_each` for concurrent writes.
    template <class Pred>
    std::size_t erase_if(Pred&& pred) {
        static_assert(std::predicate<Pred&, const K&, const V&>,
                      "drey: erase_if needs a predicate of (const K&, const V&)");
        static_assert(
            requires(Impl & impl, Pred & p) { impl.erase_if(p); },
            "drey: this backend has no erase_if, which would fetch everything there is; "
            "it has erase_matching");
        return backend_.erase_if(pred);
    }

    /// Removes the keys that match a pattern of the server, in which '*' is any text, '?' any
    /// character and [ab] one of these; keys are matched as they are written there, escaped
    /// (redis/key_text.hpp). In batches, which others see one by one. Returns how many
    /// keys that removed.
    std::size_t erase_matching(std::string_view glob) {
        static_assert(
            requires(Impl & impl) { impl.erase_matching(glob); },
            "drey: this backend has no erase_matching; it has erase_if");
        return backend_.erase_matching(glob);
    }

    /// Removes all that has the tag, by `PutOptions::tags` or `LoadOptions::tags`, values that are
    /// stale included, and what is being loaded and will have it. O(1): nobody finds such an entry
    /// any more, but it stays in its place, and is counted by `size`, until it is looked for,
    /// overwritten or evicted; then it leaves as erased, or from a server without being counted.
    /// What could not be told to a server is made up for as `erase` is. Throws std::bad_alloc if
    /// there is no memory, before the cache has had any tag.
    void invalidate_tag(std::string_view tag) { backend_.invalidate_tag(tag); }

    /// Removes everything; returns how many.
    std::size_t clear() { return backend_.clear(); }

    /// Removes what has expired; returns how many. Expired entries are never found and leave by
    /// themselves as others are written; this frees their memory at once.
    std::size_t purge_expired() {
        static_assert(
            requires(Impl & impl) { impl.purge_expired(); },
            "drey: this backend has no purge_expired: its server does that by itself");
        return backend_.purge_expired();
    }

    // ---- loading -------------------------------------------------------------------------------

    /// The key's value; on a miss, what `loader(key)` returns for it, which is stored.
    ///
    /// One load per key at a time: threads that miss it meanwhile wait and share the value or the
    /// exception. The loader returns V, optional<V> (nothing: no such row, which is remembered for
    /// `.negative_ttl`, if at all; then this returns an optional too) or Loaded<V>, and may take no
    /// argument. An erase, put, update, clear or invalidated tag during the load wins: callers get
    /// the loaded value, the cache does not. A loader that throws leaves no trace. A stale value
    /// may be returned in place of what takes long or fails: see LoadOptions. Throws what the
    /// loader throws, LoadTimeout after `.hard_timeout`, and ReentrantLoad if the loader asks for
    /// the key it is loading, directly or by way of other threads' loads of this cache.
    template <class Q = K, class Loader>
        requires is_key<std::remove_cvref_t<Q>>
    auto get_or_load(Q&& key, Loader&& loader) -> typename detail::LoadReturn<Loader, K, V>::type {
        return copy_or_load(std::forward<Q>(key), std::forward<Loader>(loader), nullptr);
    }
    template <class Q = K, class Loader>
        requires is_key<std::remove_cvref_t<Q>>
    auto get_or_load(Q&& key, Loader&& loader, const LoadOptions& options) ->
        typename detail::LoadReturn<Loader, K, V>::type {
        return copy_or_load(std::forward<Q>(key), std::forward<Loader>(loader), &options);
    }

    /// As `get_or_load`, but calls `f(const V&)` with the value in place of returning a copy; for
    /// values that only move. False if the loader said that there is no such row.
    template <class Q = K, class Loader, class F>
        requires is_key<std::remove_cvref_t<Q>>
    bool visit_or_load(Q&& key, Loader&& loader, F&& f, const LoadOptions& options = {}) {
        static_assert(std::invocable<F&, const V&>,
                      "drey: visit_or_load needs a function that takes a const V&");
        return load(std::forward<Q>(key), std::forward<Loader>(loader), &options,
                    [&](const V& value) { std::invoke(f, value); });
    }

    /// As `get_or_load`, but returns at once: something to `co_await`, or to be given a callback;
    /// see `Async`. The loader runs in the background, on `.executor` or a thread of the cache's;
    /// it is copied or moved, and what it refers to must live as long as the cache.
    template <class Loader>
    auto async_get_or_load(K key, Loader&& loader, const LoadOptions& options = {})
        -> Async<V, typename detail::LoadReturn<std::decay_t<Loader>, K, V>::type> {
        static_assert(copies && std::is_copy_constructible_v<K>,
                      "drey: async_get_or_load copies keys and values");
        static_assert(
            std::constructible_from<std::decay_t<Loader>, Loader&&>,
            "drey: async_get_or_load keeps the loader: copy it, or move it into the call");
        return Async<V, typename detail::LoadReturn<std::decay_t<Loader>, K, V>::type>(
            loading_.get_async(std::move(key), std::forward<Loader>(loader), options));
    }

    /// The values of many keys, in their order; what is missing is loaded by one call of
    /// `batch_loader(std::span<const K>)` for the keys that nobody is loading yet, and waited for
    /// where somebody is. Nothing where there is no such row. The loader returns a map by key or a
    /// range of pairs of key and value, which may lack keys that have no row, or a range of one
    /// value or optional for each key. Keys may occur twice. A loader that throws is everybody's
    /// error who waits for one of its keys; stale values are served instead if all of them have
    /// one. Timeouts bound the wait for the keys that others load, all in all, and not the batch
    /// loader, which runs in the call; but it is copied if
    /// by LoadOptions a key that others loaded in vain is to be loaded in the background.
    template <std::ranges::input_range Keys, class BatchLoader>
    std::vector<std::optional<V>> get_or_load_many(const Keys& keys, BatchLoader&& batch_loader,
                                                   const LoadOptions& options = {}) {
        static_assert(copies && std::is_copy_constructible_v<K>,
                      "drey: get_or_load_many copies keys and values");
        // Each key once, in the order in which they come.
        std::vector<K> unique;
        std::vector<std::size_t> places;
        std::unordered_multimap<std::uint64_t, std::size_t> known;
        for (const auto& one : keys) {
            K key(one);
            const std::uint64_t hash = Attempt(backend_, key).hash();
            const auto [first, last] = known.equal_range(hash);
            const auto at = std::find_if(first, last, [&](const auto& candidate) {
                return backend_.equal(unique[candidate.second], key);
            });
            if (at != last) {
                places.push_back(at->second);
                continue;
            }
            known.emplace(hash, unique.size());
            places.push_back(unique.size());
            unique.push_back(std::move(key));
        }
        LoaderOfOne<K, V, BatchLoader> load_one(batch_loader);
        auto found = loading_.get_many(
            std::span<const K>(unique),
            [&](std::span<const K> some) { return detail::load_batch<K, V>(batch_loader, some); },
            load_one, options);
        if (unique.size() == places.size()) return found;
        std::vector<std::optional<V>> values;
        values.reserve(places.size());
        for (const std::size_t place : places) values.push_back(found[place]);
        return values;
    }
    template <class BatchLoader>
    std::vector<std::optional<V>> get_or_load_many(std::initializer_list<K> keys,
                                                   BatchLoader&& batch_loader,
                                                   const LoadOptions& options = {}) {
        return get_or_load_many(std::span<const K>(keys.begin(), keys.size()), batch_loader,
                                options);
    }

    /// Has the key loaded again in the background, whatever is there, which stays in use until the
    /// new value is in its place. Does nothing if the key is being loaded. The loader is copied or
    /// moved: what it refers to must live as long as the cache.
    template <class Loader>
    void refresh(K key, Loader&& loader, const LoadOptions& options = {}) {
        loading_.refresh(std::move(key), std::forward<Loader>(loader), options);
    }

    // ---- a cache that starts warm --------------------------------------------------------------

    /// Writes all entries that have not expired to `out`, a binary stream: keys and values as
    /// `Codec` encodes them (keys as Raw does if it is a codec of the values alone), how long they
    /// have left, also stale values and absences, their tags, and in which order the policy holds
    /// them. Returns how many. Flushes. Other calls go on: what they write meanwhile may be in it
    /// or not.
    ///
    /// Throws SnapshotError if the stream fails, and what the codec throws; what was written until
    /// then is refused by `restore`. So write to a new file, and rename it when this has returned.
    ///
    /// Copies 16 bytes an entry, those of a shard under its lock. The format is in
    /// codec/snapshot_format.hpp.
    template <class Codec = Raw, class KeyCodec = detail::KeyCodecFor<Codec, K>>
    std::size_t snapshot(std::ostream& out, const SnapshotOptions& options = {}) const {
        static_assert(is_in_process,
                      "drey: this backend has no snapshot, which would fetch everything there is");
        return detail::write_snapshot<K, V, Codec, KeyCodec>(backend_, out, options);
    }

    /// Stores what `snapshot` wrote, up to the end of the stream. Returns how many entries that
    /// stored. An entry of the cache that has not expired stays, stale values and absences too: it
    /// is newer than the file. So are what is being loaded, and what is written, erased or
    /// invalidated from now on, whose older value is not stored; but what was erased since the
    /// snapshot comes back.
    ///
    /// Entries have the time left that they had when the snapshot was made, whatever this cache's
    /// own TTL; see `.count_time_between`. A cache of the same capacity and policy with one shard
    /// evicts them in the order in which the other would have, except what the policy says is lost;
    /// one that is smaller evicts them as they come.
    ///
    /// Throws SnapshotError, whose `fault()` says why, if the file is not what this codec wrote
    /// under this schema, whole and unchanged, and what the codec throws; then nothing was stored.
    /// Everything is read and decoded before, so for a while it is there twice. If memory or the
    /// weigher fail after that, some entries have been stored.
    template <class Codec = Raw, class KeyCodec = detail::KeyCodecFor<Codec, K>>
    std::size_t restore(std::istream& in, const SnapshotOptions& options = {}) {
        static_assert(is_in_process, "drey: this backend has no restore: its server keeps entries");
        return detail::restore_snapshot<K, V, Codec, KeyCodec>(backend_, in, options);
    }

    /// Has the keys loaded, those that are not there, by several threads at once: `get_or_load` for
    /// each. Returns when all is done. A loader that throws is counted and does not keep the other
    /// keys from being loaded. The loader is called by these threads at once, the range by one at
    /// a time.
    template <std::ranges::input_range Keys, class Loader>
    WarmUp warm(Keys&& keys, Loader&& loader, const WarmOptions& options = {}) {
        const auto load = [&](const K& key) {
            const auto ignore = [](const V&) {};
            return visit_or_load(key, loader, ignore, options.load);
        };
        return detail::warm<K>(keys, load, options, Traits::is_local);
    }
    template <class Loader>
    WarmUp warm(std::initializer_list<K> keys, Loader&& loader, const WarmOptions& options = {}) {
        return warm(std::span<const K>(keys.begin(), keys.size()), loader, options);
    }

    /// Has every key that has a value, fresh or stale, loaded again in the background, as `refresh`
    /// does, which counts as a look-up of each; returns how many. Returns at once, but for a Local
    /// cache: few are loading at a time
    /// (`most_refreshes`), and each that is done starts the next. If the cache is destroyed before,
    /// the rest is left out. Of each key a copy is kept until then. The loader is called from
    /// several threads at once.
    template <class Loader>
    std::size_t refresh_all(Loader&& loader, const LoadOptions& options = {}) {
        static_assert(
            is_in_process,
            "drey: this backend has no refresh_all, which would fetch every key there is");
        static_assert(std::is_copy_constructible_v<K>, "drey: refresh_all copies the keys");
        detail::check(options);
        std::vector<K> keys;
        // From cold to hot, since it counts as use.
        backend_.each_in_order([&](const K& key, const V* value, const Kept&) {
            if (value != nullptr) keys.push_back(key);
        });
        const std::size_t count = keys.size();
        refreshing_.start(std::move(keys), std::forward<Loader>(loader), options);
        return count;
    }

    // ---- the whole -----------------------------------------------------------------------------

    /// Calls `f(const K&, const V&)` for each entry, in no order, without a lock: f may call the
    /// cache. An entry that is written while this runs may be seen, old or new, both or not at all.
    template <class F>
    void for_each(F&& f) const {
        static_assert(std::invocable<F&, const K&, const V&>,
                      "drey: for_each needs a function of (const K&, const V&)");
        static_assert(
            requires(Impl & impl) { impl.for_each(f); },
            "drey: this backend has no for_each, which would fetch everything there is");
        backend_.for_each(f);
    }

    /// How many entries there are; expired ones that have not left yet are counted.
    std::size_t size() const { return backend_.size(); }
    bool empty() const { return size() == 0; }

    std::size_t capacity() const noexcept {
        static_assert(
            requires(const Impl& impl) { impl.capacity(); },
            "drey: this backend has no capacity of its own; its server has one "
            "(maxmemory)");
        return backend_.capacity();
    }

    /// Changes the capacity, evicting if need be. Throws std::invalid_argument if it is 0.
    void set_capacity(std::size_t capacity) {
        static_assert(
            requires(Impl & impl) { impl.set_capacity(capacity); },
            "drey: this backend has no capacity of its own; its server has one "
            "(maxmemory)");
        backend_.set_capacity(capacity);
    }

    /// What the cache has counted so far.
    Stats stats() const {
        Stats stats = backend_.stats();
        loading_.add_to(stats);
        return stats;
    }

    /// What the cache would hit with another capacity or another policy, by what it was asked so
    /// far. Needs `.advise = true`, without which it throws std::logic_error. Waits until what the
    /// cache has sampled has been looked at.
    Advice advice() const {
        static_assert(
            requires(Impl & impl) { impl.advice(); },
            "drey: this backend has no advice: what it holds is the server's to decide");
        return backend_.advice();
    }

    /// How the server is doing: asks it, within the time limit of a call.
    auto status() {
        static_assert(
            requires(Impl & impl) { impl.status(); },
            "drey: this backend has no status: it is in this process");
        return backend_.status();
    }

    /// Destroys what has left the cache, but for what somebody is reading, what a listener is being
    /// told of, and what another thread is destroying at this moment. Without it, what was evicted
    /// or overwritten may live on for a little: a 16th of the entries, at most 256 a shard, and
    /// with a weigher a 16th of the capacity and one entry.
    void synchronize() {
        static_assert(
            requires(Impl & impl) { impl.synchronize(); },
            "drey: this backend has no synchronize: it keeps nothing in this process");
        backend_.synchronize();
    }

    /// Whether every invariant of the structure holds; for tests. Linear. While other threads write
    /// it sees each shard at a moment of its own.
    bool validate() const {
        static_assert(
            requires(const Impl& impl) { impl.validate(); },
            "drey: this backend has no validate: it has no structure in this process");
        return backend_.validate();
    }

private:
    friend class AnyCache<K, V>;

    Terms terms() const {
        return {.stale_for = settings_.options.stale_for.value_or(std::chrono::seconds(0))};
    }
    Terms terms(const PutOptions& options) const {
        if (options.stale_for && options.stale_for->nanoseconds() < 0)
            throw std::invalid_argument("drey: stale_for must not be negative");
        const Ttl stale_for = settings_.options.stale_for.value_or(std::chrono::seconds(0));
        return {.ttl = options.ttl,
                .stale_for = options.stale_for.value_or(stale_for),
                .tags = options.tags};
    }

    static LoadSettings settings_of(const Options& options) {
        LoadSettings settings{.options = options.loading,
                              .clock = {},
                              .seed = options.seed.value_or(detail::process_salt()),
                              .may_start_threads = !Traits::is_local};
        if constexpr (requires { options.clock; }) settings.clock = options.clock;
        return settings;
    }

    /// The key as the store looks it up: itself or as text if it can, else made a K.
    template <class Q>
    static decltype(auto) as_key(const Q& key) {
        if constexpr (std::same_as<Q, K> || Traits::template looks_up<Q>) {
            return (key);
        } else if constexpr (is_text<Q>) {
            return std::string_view(key);
        } else {
            return static_cast<K>(key);
        }
    }

    template <class Q, class Loader>
    auto copy_or_load(Q&& key, Loader&& loader, const LoadOptions* options) ->
        typename detail::LoadReturn<Loader, K, V>::type {
        static_assert(
            copies,
            "drey: get_or_load copies the value; for values that only move, use visit_or_load");
        if constexpr (std::is_scalar_v<V> && std::is_reference_v<decltype(as_key(key))>) {
            // A hit stays in registers: what has an address on the way of a miss is made there.
            if (options != nullptr) detail::check(*options);
            Attempt attempt(backend_, as_key(key));
            V value{};
            const auto use = [&](V found) { value = found; };
            if (loading_.get_at_once(as_key(key), attempt, use)) [[likely]]
                return value;
            return copy_closely<Q, Loader>(key, std::move(attempt), loader, options);
        } else {
            std::optional<V> result;
            load(std::forward<Q>(key), std::forward<Loader>(loader), options, into(result));
            return returned<Loader>(result);
        }
    }

    template <class Q, class Loader>
    [[gnu::noinline]] auto copy_closely(std::remove_reference_t<Q>& key, Attempt attempt,
                                        std::remove_reference_t<Loader>& loader,
                                        const LoadOptions* options) ->
        typename detail::LoadReturn<Loader, K, V>::type {
        std::optional<V> result;
        loading_.get(as_key(key), key_maker<Q>(key), attempt, std::forward<Loader>(loader), options,
                     into(result));
        return returned<Loader>(result);
    }

    static auto into(std::optional<V>& result) {
        return [&]<class T>(T&& value) { result.emplace(std::forward<T>(value)); };
    }

    template <class Loader>
    static auto returned(std::optional<V>& result) ->
        typename detail::LoadReturn<Loader, K, V>::type {
        if constexpr (detail::LoadReturn<Loader, K, V>::optional) {
            return std::move(result);
        } else {
            return *std::move(result);
        }
    }

    /// Makes a K of what a call was given.
    template <class Q>
    static auto key_maker(std::remove_reference_t<Q>& key) {
        static_assert(std::is_constructible_v<K, Q&&>,
                      "drey: to load, a key that cannot be copied must be moved into the call");
        return [&]() -> K { return K(std::forward<Q>(key)); };
    }

    /// Looks the key up, and makes a K of it only on a miss.
    template <class Q, class Loader, class Use>
    bool load(Q&& key, Loader&& loader, const LoadOptions* options, Use&& use) {
        constexpr bool must_be_made = std::same_as<decltype(as_key(key)), K>;
        if constexpr (must_be_made) {
            return load(K(std::forward<Q>(key)), std::forward<Loader>(loader), options, use);
        } else {
            if (options != nullptr) detail::check(*options);
            const auto& look_up = as_key(key);
            Attempt attempt(backend_, look_up);
            if (loading_.get_at_once(look_up, attempt, use)) [[likely]]
                return true;
            return loading_.get(look_up, key_maker<Q>(key), attempt, std::forward<Loader>(loader),
                                options, use);
        }
    }

    const LoadSettings settings_;
    mutable Impl backend_;  // even who only looks leaves traces: hazards, hits, what has expired
    Loads loading_{backend_, settings_};
    Refreshing<K, Loads> refreshing_{loading_};
};

}  // namespace drey

#undef DREY_HOT
