#pragma once

#include <concepts>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "drey/detail/key_parts.hpp"
#include "drey/fwd.hpp"
#include "drey/hash.hpp"
#include "drey/types.hpp"

/// Which keys are one to a cache, for what keeps keys beside it.
namespace drey::detail {

template <class T>
inline constexpr bool has_default_hash = Text<T> || Word<T> || HasStdHash<T>;
template <class... Parts>
inline constexpr bool has_default_hash<std::tuple<Parts...>> = (has_default_hash<Parts> && ...);
template <class First, class Second>
inline constexpr bool has_default_hash<std::pair<First, Second>> =
    has_default_hash<First>&& has_default_hash<Second>;

/// By the cache's own hash and equality.
template <class K, class Hasher, class Equal>
struct KeysBy {
    static Hash hash(const K& key) { return salted_hash(Hasher{}, key, process_salt()); }
    static bool equal(const K& a, const K& b) { return Equal{}(a, b); }
};

/// By their text, as a server sees them.
template <class K>
struct KeysByText {
    static std::string text(const K& key) {
        std::string text;
        append_key_text(text, key);
        return text;
    }
    static Hash hash(const K& key) { return hash_bytes(text(key), process_salt()); }
    static bool equal(const K& a, const K& b) { return text(a) == text(b); }
};

/// The cache's, where its type says what they are; else the usual.
template <class C>
struct KeyIdentityOf {
    using K = typename C::key_type;
    static constexpr bool by_value = has_default_hash<K> && std::equality_comparable<K>;
    static_assert(by_value || has_key_text<K>,
                  "drey: writing through a cache needs keys that can be told apart: specialise "
                  "std::hash for the key type and give it an operator==");
    using type = std::conditional_t<by_value, KeysBy<K, DefaultHash, DefaultEqual>, KeysByText<K>>;
};
template <class K, class V, class Policy, class Hasher, class Equal>
struct KeyIdentityOf<Cache<K, V, Memory<Policy, Hasher, Equal>>> {
    using type = KeysBy<K, Hasher, Equal>;
};
template <class K, class V, class Policy, class Hasher, class Equal>
struct KeyIdentityOf<Cache<K, V, Local<Policy, Hasher, Equal>>> {
    using type = KeysBy<K, Hasher, Equal>;
};

template <class C>
using KeyIdentity = typename KeyIdentityOf<C>::type;

/// Whether the cache is known to be for one thread.
template <class C>
inline constexpr bool is_local = false;
template <class K, class V, class Policy, class Hasher, class Equal>
inline constexpr bool is_local<Cache<K, V, Local<Policy, Hasher, Equal>>> = true;

/// Removes the key after a write that failed, whose own exception is the one to be told.
template <class C>
void forget(C& cache, const typename C::key_type& key) noexcept {
    try {
        cache.erase(key);
    } catch (...) {  // a server's; then the erase is made up for before the key is found there
    }
}

/// Who was not given an eraser.
struct NoEraser {};

/// Says in words what is wrong with the functions that write to a database.
template <class C, class Writer, class Eraser>
consteval void check_writers() {
    using K = typename C::key_type;
    using V = typename C::mapped_type;
    static_assert(std::is_copy_constructible_v<K>, "drey: writing needs a key that can be copied");
    static_assert(std::invocable<Writer&, const K&, const V&>,
                  "drey: a writer must be callable with (const K& key, const V& value)");
    if constexpr (std::invocable<Writer&, const K&, const V&>)
        static_assert(std::is_void_v<std::invoke_result_t<Writer&, const K&, const V&>>,
                      "drey: a writer returns nothing; it says that it failed by throwing");
    if constexpr (!std::same_as<Eraser, NoEraser>) {
        static_assert(std::invocable<Eraser&, const K&>,
                      "drey: an eraser must be callable with (const K& key)");
        if constexpr (std::invocable<Eraser&, const K&>)
            static_assert(std::is_void_v<std::invoke_result_t<Eraser&, const K&>>,
                          "drey: an eraser returns nothing; it says that it failed by throwing");
    }
}

}  // namespace drey::detail
