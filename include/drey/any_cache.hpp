#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/advise/advice.hpp"
#include "drey/cache.hpp"
#include "drey/policy/adaptive.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/policy/w_tiny_lfu.hpp"

namespace drey {

/// A cache whose backend is chosen at run time, for dependency injection and for configuration.
///
/// Owns the cache it was made with, or refers to one that outlives it. The calls mean what they
/// mean on Cache; each costs a virtual call more, and loaders go through a std::function. Movable,
/// not copyable; a moved-from one must not be used. V must be copyable. Calls that the backend does
/// not have, such as `capacity` over Redis, throw std::logic_error.
template <class K, class V>
class AnyCache {
    static_assert(
        std::is_copy_constructible_v<V>,
        "drey: AnyCache needs a copyable value; for values that only move, use Cache itself");

public:
    using key_type = K;
    using mapped_type = V;

    /// Takes over a cache.
    template <class Backend>
    AnyCache(std::unique_ptr<Cache<K, V, Backend>> cache)
        : face_(std::make_unique<Owner<Backend>>(std::move(cache))) {}

    /// Refers to a cache, which must outlive this.
    template <class Backend>
    AnyCache(Cache<K, V, Backend>& cache) : face_(std::make_unique<Reference<Backend>>(cache)) {}

    std::optional<V> get(const K& key) { return face_->get(key); }
    Lookup<V> find(const K& key) { return face_->find(key); }

    bool visit(const K& key, const std::function<void(const V&)>& f) {
        return face_->visit(key, f);
    }
    std::vector<std::optional<V>> get_many(std::span<const K> keys) {
        return face_->get_many(keys);
    }
    std::vector<std::optional<V>> get_many(std::initializer_list<K> keys) {
        return face_->get_many(std::span<const K>(keys.begin(), keys.size()));
    }
    bool contains(const K& key) const { return face_->contains(key); }

    bool put(K key, V value, const PutOptions& options = {}) {
        return face_->put(std::move(key), std::move(value), options);
    }
    std::size_t put_many(std::span<const std::pair<K, V>> entries, const PutOptions& options = {}) {
        return face_->put_many(entries, options);
    }
    bool put_if_absent(K key, V value, const PutOptions& options = {}) {
        return face_->put_if_absent(std::move(key), std::move(value), options);
    }
    bool update(K key, const std::function<std::optional<V>(std::optional<V>)>& f,
                const PutOptions& options = {}) {
        return face_->update(std::move(key), f, options);
    }

    std::optional<V> take(const K& key) { return face_->take(key); }
    std::size_t erase(const K& key) { return face_->erase(key); }
    std::size_t erase_if(const std::function<bool(const K&, const V&)>& pred) {
        return face_->erase_if(pred);
    }
    void invalidate_tag(std::string_view tag) { face_->invalidate_tag(tag); }
    std::size_t clear() { return face_->clear(); }
    std::size_t purge_expired() { return face_->purge_expired(); }

    template <class Loader>
    auto get_or_load(const K& key, Loader&& loader, const LoadOptions& options = {}) ->
        typename detail::LoadReturn<Loader, K, V>::type {
        std::optional<V> result;
        LoaderOf<K, V, Loader> any_loader(loader);
        const auto use = [&]<class T>(T&& value) { result.emplace(std::forward<T>(value)); };
        face_->load(key, any_loader, options, UseRef<V>(use));
        if constexpr (detail::LoadReturn<Loader, K, V>::optional) {
            return result;
        } else {
            return *std::move(result);
        }
    }

    void for_each(const std::function<void(const K&, const V&)>& f) const { face_->for_each(f); }
    std::size_t size() const { return face_->size(); }
    bool empty() const { return size() == 0; }
    std::size_t capacity() const { return face_->capacity(); }
    void set_capacity(std::size_t capacity) { face_->set_capacity(capacity); }
    Stats stats() const { return face_->stats(); }
    Advice advice() const { return face_->advice(); }
    void synchronize() { face_->synchronize(); }
    bool validate() const { return face_->validate(); }

private:
    struct Face {
        virtual ~Face() = default;
        virtual std::optional<V> get(const K&) = 0;
        virtual Lookup<V> find(const K&) = 0;
        virtual bool visit(const K&, const std::function<void(const V&)>&) = 0;
        virtual std::vector<std::optional<V>> get_many(std::span<const K>) = 0;
        virtual bool contains(const K&) = 0;
        virtual bool put(K&&, V&&, const PutOptions&) = 0;
        virtual std::size_t put_many(std::span<const std::pair<K, V>>, const PutOptions&) = 0;
        virtual bool put_if_absent(K&&, V&&, const PutOptions&) = 0;
        virtual bool update(K&&, const std::function<std::optional<V>(std::optional<V>)>&,
                            const PutOptions&) = 0;
        virtual std::optional<V> take(const K&) = 0;
        virtual std::size_t erase(const K&) = 0;
        virtual std::size_t erase_if(const std::function<bool(const K&, const V&)>&) = 0;
        virtual void invalidate_tag(std::string_view) = 0;
        virtual std::size_t clear() = 0;
        virtual std::size_t purge_expired() = 0;
        virtual bool load(const K&, LoaderRef<K, V>&, const LoadOptions&, const UseRef<V>&) = 0;
        virtual void for_each(const std::function<void(const K&, const V&)>&) = 0;
        virtual std::size_t size() const = 0;
        virtual std::size_t capacity() const = 0;
        virtual void set_capacity(std::size_t) = 0;
        virtual Stats stats() const = 0;
        virtual Advice advice() const = 0;
        virtual void synchronize() = 0;
        virtual bool validate() const = 0;
    };

    template <class Backend>
    struct Reference : Face {
        explicit Reference(Cache<K, V, Backend>& cache) : c(cache) {}

        std::optional<V> get(const K& key) final { return c.get(key); }
        Lookup<V> find(const K& key) final { return c.find(key); }
        bool visit(const K& key, const std::function<void(const V&)>& f) final {
            return c.visit(key, f);
        }
        std::vector<std::optional<V>> get_many(std::span<const K> keys) final {
            return c.get_many(keys);
        }
        bool contains(const K& key) final { return c.contains(key); }
        bool put(K&& key, V&& value, const PutOptions& o) final {
            return c.put(std::move(key), std::move(value), o);
        }
        std::size_t put_many(std::span<const std::pair<K, V>> entries, const PutOptions& o) final {
            return c.put_many(entries, o);
        }
        bool put_if_absent(K&& key, V&& value, const PutOptions& o) final {
            return c.put_if_absent(std::move(key), std::move(value), o);
        }
        bool update(K&& key, const std::function<std::optional<V>(std::optional<V>)>& f,
                    const PutOptions& o) final {
            return c.update(std::move(key), f, o);
        }
        std::optional<V> take(const K& key) final { return c.take(key); }
        std::size_t erase(const K& key) final { return c.erase(key); }
        std::size_t erase_if(const std::function<bool(const K&, const V&)>& pred) final {
            return in_process<std::size_t>("erase_if",
                                           [&](auto& own) { return own.erase_if(pred); });
        }
        void invalidate_tag(std::string_view tag) final { c.invalidate_tag(tag); }
        std::size_t clear() final { return c.clear(); }
        std::size_t purge_expired() final {
            return in_process<std::size_t>("purge_expired",
                                           [&](auto& own) { return own.purge_expired(); });
        }
        bool load(const K& key, LoaderRef<K, V>& loader, const LoadOptions& o,
                  const UseRef<V>& use) final {
            return c.loading_.get(key, loader, o, use);
        }
        void for_each(const std::function<void(const K&, const V&)>& f) final {
            in_process<void>("for_each", [&](auto& own) { own.for_each(f); });
        }
        std::size_t size() const final { return c.size(); }
        std::size_t capacity() const final {
            return in_process<std::size_t>("capacity", [&](auto& own) { return own.capacity(); });
        }
        void set_capacity(std::size_t capacity) final {
            return in_process<void>("set_capacity",
                                    [&](auto& own) { return own.set_capacity(capacity); });
        }
        Stats stats() const final { return c.stats(); }
        Advice advice() const final {
            return in_process<Advice>("advice", [](auto& own) { return own.advice(); });
        }
        void synchronize() final {
            return in_process<void>("synchronize", [&](auto& own) { return own.synchronize(); });
        }
        bool validate() const final {
            return in_process<bool>("validate", [&](auto& own) { return own.validate(); });
        }

        /// What only caches in this process can do.
        template <class Result, class Call>
        Result in_process(const char* name, Call&& call) const {
            if constexpr (Cache<K, V, Backend>::is_in_process) {
                return call(c);
            } else {
                throw std::logic_error(std::string("drey: the backend of this cache has no ") +
                                       name);
            }
        }

        Cache<K, V, Backend>& c;
    };

    template <class Backend>
    struct Owner final : Reference<Backend> {
        explicit Owner(std::unique_ptr<Cache<K, V, Backend>> owned)
            : Reference<Backend>(*owned), cache(std::move(owned)) {}
        std::unique_ptr<Cache<K, V, Backend>> cache;
    };

    std::unique_ptr<Face> face_;
};

/// The names by which `make_cache` knows the policies.
inline constexpr std::array<std::string_view, 9> policy_names = {
    "fifo", "lru", "mru", "lfu", "random", "sieve", "s3-fifo", "w-tinylfu", "adaptive"};

/// Makes an in-process cache whose policy is chosen by name, one of `policy_names`. Throws
/// std::invalid_argument for another name, or for a bad option as Cache does.
template <class K, class V>
AnyCache<K, V> make_cache(std::string_view policy, MemoryOptions<K, V> options) {
    const auto make = [&]<class Policy>(std::type_identity<Policy>) -> AnyCache<K, V> {
        return std::make_unique<Cache<K, V, Policy>>(std::move(options));
    };
    if (policy == "fifo") return make(std::type_identity<Fifo>{});
    if (policy == "lru") return make(std::type_identity<Lru>{});
    if (policy == "mru") return make(std::type_identity<Mru>{});
    if (policy == "lfu") return make(std::type_identity<Lfu>{});
    if (policy == "random") return make(std::type_identity<Random>{});
    if (policy == "sieve") return make(std::type_identity<Sieve>{});
    if (policy == "s3-fifo") return make(std::type_identity<S3Fifo>{});
    if (policy == "w-tinylfu") return make(std::type_identity<WTinyLfu>{});
    if (policy == "adaptive") return make(std::type_identity<Adaptive>{});

    std::string message = "drey: policy: none is named '" + std::string(policy) + "'; there are:";
    for (const auto name : policy_names) message.append(" ").append(name);
    throw std::invalid_argument(message);
}

}  // namespace drey
