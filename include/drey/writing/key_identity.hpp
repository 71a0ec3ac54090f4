#pragma once

#include <concepts>
#include <optional>
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

/// Whether a `to_key` decides what text such a key has: then keys that differ may have the same.
template <class T>
inline constexpr bool has_own_text = HasToKey<T>;
template <class T>
inline constexpr bool has_own_text<std::optional<T>> = has_own_text<std::remove_cv_t<T>>;
template <class... Parts>
inline constexpr bool has_own_text<std::tuple<Parts...>> =
    (has_own_text<std::remove_cvref_t<Parts>> || ...);
template <class First, class Second>
inline constexpr bool has_own_text<std::pair<First, Second>> =
    has_own_text<std::remove_cvref_t<First>> || has_own_text<std::remove_cvref_t<Second>>;

/// Caches known to keep their entries on a server, by text.
template <class C>
concept OutOfProcess = requires {
    requires !C::is_in_process;
};

/// The cache's, where its type says what they are; else the usual.
template <class C>
struct KeyIdentityOf {
    using K = typename C::key_type;
    static constexpr bool by_value =
        has_default_hash<K> && std::equality_comparable<K> && !(OutOfProcess<C> && has_own_text<K>);
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

}  // namespace drey::detail
