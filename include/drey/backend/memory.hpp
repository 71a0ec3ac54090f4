#pragma once

#include "drey/backend/backend.hpp"
#include "drey/fwd.hpp"
#include "drey/memory/store.hpp"

namespace drey {

/// Backend: in this process, for any number of threads.
template <class Policy, class Hasher, class Equal>
struct Memory {};

/// Backend: in this process, for one thread at a time, without any synchronisation.
template <class Policy, class Hasher, class Equal>
struct Local {};

namespace detail {

/// Says in words what keeps a hash or an equality from serving keys of type K.
template <class K, class Hasher, class Equal>
consteval void check_hashing() {
    static_assert(std::copy_constructible<Hasher> && std::default_initializable<Hasher>,
                  "drey: the hash must be default-constructible and copyable");
    static_assert(
        requires(const Hasher& hash, const K& key) {
            { hash(key) } -> std::convertible_to<std::size_t>;
        } ||
            requires(const Hasher& hash, const K& key, std::uint64_t salt) {
                { hash(key, salt) } -> std::convertible_to<drey::Hash>;
            },
        "drey: the hash must be callable with a const key, and return an integer");
    static_assert(
        requires(const Equal& equal, const K& key) {
            { equal(key, key) } -> std::convertible_to<bool>;
        },
        "drey: keys must be comparable: give the key type an operator==, or the cache an equality: "
        "drey::Memory<Policy, MyHash, MyEqual>");
}

template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
struct MemoryBackend {
    static_assert((check_types<K, V>(), check_hashing<K, Hasher, Equal>(), check_policy<Policy>(),
                   true));

    using type = Store<K, V, Policy, Hasher, Equal, Sync>;
    static constexpr bool is_local = !Sync::is_shared;
    using Options = MemoryOptions<K, V>;
    template <class Q>
    static constexpr bool looks_up = LooksUp<Q, K, Hasher, Equal>;
};

template <class Policy, class Hasher, class Equal, class K, class V>
struct BackendOf<Memory<Policy, Hasher, Equal>, K, V>
    : MemoryBackend<K, V, Policy, Hasher, Equal, Shared> {};

template <class Policy, class Hasher, class Equal, class K, class V>
struct BackendOf<Local<Policy, Hasher, Equal>, K, V>
    : MemoryBackend<K, V, Policy, Hasher, Equal, Unshared> {};

template <class Policy, class K, class V>
struct BackendOf : BackendOf<Memory<Policy>, K, V> {};

}  // namespace detail
}  // namespace drey
