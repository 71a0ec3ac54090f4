#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#if DREY_BENCH_ABSL
#include <absl/container/flat_hash_map.h>
#include <absl/strings/string_view.h>
#endif
#if DREY_BENCH_ROCKSDB
#include <rocksdb/cache.h>
#endif
#if DREY_BENCH_TBB
#define TBB_PREVIEW_CONCURRENT_LRU_CACHE 1
#include <oneapi/tbb/concurrent_lru_cache.h>

#include <atomic>
#endif

#include "drey/drey.hpp"
#include "throughput/keys.hpp"

/// What is measured, behind one interface:
///
///     Contender(const Setup&)
///     bool read(view, wrong)    whether the item's key has a value; `wrong` keeps a bit if it is
///                               not the one that belongs to the key. Values are read in place,
///                               numbers copied.
///     void put(view)            stores the key's value; not all can
///     Contender& at(thread)     what the thread is to use
///
/// Where a library leaves a choice, it is made in its favour.
namespace throughput {

struct Setup {
    std::size_t capacity;
    unsigned threads = 1;
    bool puts = false;  // what has been read, too
};

/// What a thread uses of a contender.
template <class Contender>
using Own = std::remove_reference_t<decltype(std::declval<Contender&>().at(0))>;

/// Whether a contender can be put into, and not just load what it misses.
template <class Contender>
inline constexpr bool writable = requires {
    &Own<Contender>::put;
};

/// Whether a contender, of its family, takes items of these types.
template <class Family, class Types>
inline constexpr bool serves = requires {
    sizeof(typename Family::template Contender<Types>);
};

/// Whether a contender holds as many entries as its capacity says. What is sharded by hash and
/// divides its capacity among the shards does not: it needs room to spare to hold all keys.
template <class Contender>
inline constexpr bool holds_its_capacity = requires {
    requires Contender::holds_its_capacity;
};

/// Whether a contender has no limit: it has all keys before time is taken, whatever the workload.
template <class Contender>
inline constexpr bool is_no_cache = requires {
    requires Contender::is_no_cache;
};

template <class Types, class Backend = drey::DefaultPolicy>
class Drey {
public:
    static constexpr bool holds_its_capacity = true;
    using View = typename Types::View;

    explicit Drey(const Setup& setup, drey::Ttl ttl = drey::never)
        : cache_({.capacity = setup.capacity, .ttl = ttl}) {}

    Drey& at(unsigned) noexcept { return *this; }

    bool read(View view, std::uint64_t& wrong) {
        if constexpr (std::is_trivially_copyable_v<typename Types::Value>) {
            const auto value = cache_.get(view);
            if (value) wrong |= Types::difference(view, *value);
            return value.has_value();
        } else {
            return cache_.visit(view, [&](const typename Types::Value& value) {
                wrong |= Types::difference(view, value);
            });
        }
    }

    void put(View view) { cache_.put(Types::key(view), Types::value(view)); }

    std::size_t size() const { return cache_.size(); }

private:
    drey::Cache<typename Types::Key, typename Types::Value, Backend> cache_;
};

/// What people write by hand.
template <class Types>
class MutexLru {
    using Key = typename Types::Key;
    using Entry = std::pair<Key, typename Types::Value>;

    struct Hash {
        using is_transparent = void;
        std::size_t operator()(typename Types::View key) const noexcept {
            return std::hash<typename Types::View>{}(key);
        }
    };

public:
    using View = typename Types::View;

    explicit MutexLru(const Setup& setup) : capacity_(setup.capacity) {}

    MutexLru& at(unsigned) noexcept { return *this; }

    bool read(View view, std::uint64_t& wrong) {
        const std::lock_guard lock(mutex_);
        const auto found = map_.find(view);
        if (found == map_.end()) return false;
        list_.splice(list_.begin(), list_, found->second);
        wrong |= Types::difference(view, found->second->second);
        return true;
    }

    void put(View view) {
        const std::lock_guard lock(mutex_);
        if (const auto found = map_.find(view); found != map_.end()) {
            list_.splice(list_.begin(), list_, found->second);
            found->second->second = Types::value(view);
            return;
        }
        if (list_.size() == capacity_) {
            map_.erase(list_.back().first);
            list_.pop_back();
        }
        list_.emplace_front(Types::key(view), Types::value(view));
        map_.emplace(list_.front().first, list_.begin());
    }

    std::size_t size() const { return list_.size(); }

private:
    std::mutex mutex_;
    std::list<Entry> list_;
    std::unordered_map<Key, typename std::list<Entry>::iterator, Hash, std::equal_to<>> map_;
    std::size_t capacity_;
};

#if DREY_BENCH_ABSL

/// No cache: unbounded, unsynchronised, and has all keys from the beginning, so that reads always
/// find them. Threads share one map if none of them puts, else each has its own, and the throughput
/// is the sum.
template <class Types>
class AbslMap {
public:
    static constexpr bool is_no_cache = true;
    using View = typename Types::View;

    class Map {
    public:
        bool read(View view, std::uint64_t& wrong) {
            const auto found = map_.find(look_up(view));
            if (found == map_.end()) return false;
            wrong |= Types::difference(view, found->second);
            return true;
        }
        void put(View view) { map_[Types::key(view)] = Types::value(view); }
        std::size_t size() const { return map_.size(); }

    private:
        /// Abseil's string_view may be another than the standard library's.
        static auto look_up(View view) noexcept {
            if constexpr (std::is_same_v<Types, Numbers>) {
                return view;
            } else {
                return absl::string_view(view.data(), view.size());
            }
        }

        absl::flat_hash_map<typename Types::Key, typename Types::Value> map_;
    };

    explicit AbslMap(const Setup& setup) : maps_(setup.puts ? setup.threads : 1) {}

    Map& at(unsigned thread) noexcept { return maps_[thread % maps_.size()]; }

    std::size_t size() const {
        std::size_t sum = 0;
        for (const Map& map : maps_) sum += map.size();
        return sum;
    }

private:
    std::vector<Map> maps_;
};

#endif
#if DREY_BENCH_ROCKSDB

/// Each entry is charged like a block of RocksDB's, so that it chooses its usual number of shards.
inline constexpr std::size_t rocksdb_charge = 8192;

struct RocksLru {
    static std::shared_ptr<rocksdb::Cache> make(std::size_t capacity) {
        rocksdb::LRUCacheOptions options;
        options.capacity = capacity * rocksdb_charge;
        options.metadata_charge_policy = rocksdb::kDontChargeCacheMetadata;
        return rocksdb::NewLRUCache(options);
    }
};

/// Takes keys of 16 bytes only. A put of a key that is in keeps the old value, which is quicker
/// than to overwrite it.
struct RocksClock {
    static std::shared_ptr<rocksdb::Cache> make(std::size_t capacity) {
        return rocksdb::HyperClockCacheOptions(capacity * rocksdb_charge, rocksdb_charge, -1, false,
                                               nullptr, rocksdb::kDontChargeCacheMetadata)
            .MakeSharedCache();
    }
};

template <class Types, class Kind>
    requires(std::is_same_v<Types, Numbers> || std::is_same_v<Kind, RocksLru>)
class Rocks {
    using Value = typename Types::Value;
    static constexpr bool numbers = std::is_same_v<Types, Numbers>;

public:
    using View = typename Types::View;

    explicit Rocks(const Setup& setup) : cache_(Kind::make(setup.capacity)) {}

    Rocks& at(unsigned) noexcept { return *this; }

    bool read(View view, std::uint64_t& wrong) {
        rocksdb::Cache::Handle* const handle = cache_->Lookup(Key(view).slice());
        if (handle == nullptr) return false;
        wrong |= Types::difference(view, *static_cast<const Value*>(cache_->Value(handle)));
        cache_->Release(handle);
        return true;
    }

    void put(View view) {
        auto value = std::make_unique<Value>(Types::value(view));
        const auto destroy = [](const rocksdb::Slice&, void* old) {
            delete static_cast<Value*>(old);
        };
        // Owns the value from here on, even if it fails.
        if (!cache_->Insert(Key(view).slice(), value.release(), rocksdb_charge, destroy).ok())
            throw std::runtime_error("RocksDB did not store an entry");
    }

    std::size_t size() const { return cache_->GetUsage() / rocksdb_charge; }

private:
    class Key {
    public:
        explicit Key(View view) noexcept {
            if constexpr (numbers) {
                std::memcpy(words_, &view, sizeof view);
                slice_ = {reinterpret_cast<const char*>(words_), sizeof words_};
            } else {
                slice_ = {view.data(), view.size()};
            }
        }
        const rocksdb::Slice& slice() const noexcept { return slice_; }

    private:
        std::uint64_t words_[2] = {};
        rocksdb::Slice slice_;
    };

    std::shared_ptr<rocksdb::Cache> cache_;
};

#endif
#if DREY_BENCH_TBB

/// Loads what it misses, always; there is no way to write or to look without loading.
template <class Types>
class TbbLru {
public:
    using View = typename Types::View;

    explicit TbbLru(const Setup& setup)
        : capacity_(setup.capacity), cache_(Load{&loads_}, capacity_) {}

    TbbLru& at(unsigned) noexcept { return *this; }

    bool read(View view, std::uint64_t& wrong) {
        auto handle = cache_[Types::key(view)];
        wrong |= Types::difference(view, handle.value());
        return true;
    }

    /// Reads that had to load.
    std::uint64_t loads() const noexcept { return loads_; }

    std::size_t size() const { return std::min<std::size_t>(loads_, capacity_); }

private:
    struct Load {
        std::atomic<std::uint64_t>* loads;
        typename Types::Value operator()(const typename Types::Key& key) const {
            loads->fetch_add(1, std::memory_order_relaxed);
            return Types::value(key);
        }
    };

    std::atomic<std::uint64_t> loads_ = 0;
    std::size_t capacity_;
    tbb::concurrent_lru_cache<typename Types::Key, typename Types::Value, Load> cache_;
};

#endif

}  // namespace throughput
