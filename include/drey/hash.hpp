#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "drey/types.hpp"

/// Hashing of keys, salted so that nobody outside the process can choose colliding keys.
namespace drey {

namespace detail {

/// The 128-bit product of a and b, folded: high half xor low half.
constexpr std::uint64_t folded_product(std::uint64_t a, std::uint64_t b) noexcept {
#ifdef __SIZEOF_INT128__
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product >> 64) ^ static_cast<std::uint64_t>(product);
#else
    const std::uint64_t low = 0xffffffffu;
    const std::uint64_t ll = (a & low) * (b & low), hl = (a >> 32) * (b & low);
    const std::uint64_t lh = (a & low) * (b >> 32), hh = (a >> 32) * (b >> 32);
    const std::uint64_t middle = (ll >> 32) + (hl & low) + lh;
    return (hh + (hl >> 32) + (middle >> 32)) ^ ((middle << 32) | (ll & low));
#endif
}

/// Random odd constants (digits of pi), for the multipliers.
inline constexpr std::uint64_t pi_0 = 0x243f6a8885a308d3u;
inline constexpr std::uint64_t pi_1 = 0x13198a2e03707345u;
inline constexpr std::uint64_t pi_2 = 0xa4093822299f31d1u;

/// Mixes one word with the salt so that all bits of the result depend on all bits of both. One
/// round would do for random words; those in an arithmetic sequence it leaves in a lattice.
constexpr std::uint64_t mix(std::uint64_t word, std::uint64_t salt) noexcept {
    return folded_product(folded_product(word ^ salt, pi_1) ^ salt, pi_2);
}

/// A permutation of words that leaves no pattern of its input (the finaliser of SplitMix64: Steele,
/// Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). Of a counter it
/// makes random numbers, none twice.
constexpr std::uint64_t scrambled(std::uint64_t word) noexcept {
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

/// The counter's step.
inline constexpr std::uint64_t golden_step = 0x9e3779b97f4a7c15u;

inline std::uint64_t load_word(const char* from, std::size_t bytes) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, from, bytes);
    return word;
}

/// Hashes bytes, 16 a step, by folded products of input xor secret (the construction of wyhash,
/// Wang Yi 2019, with constants and tail handling of our own). Not cryptographic.
inline std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t salt) noexcept {
    const char* at = bytes.data();
    std::size_t left = bytes.size();
    std::uint64_t state = salt ^ folded_product(left ^ pi_2, salt ^ pi_1);
    for (; left > 16; at += 16, left -= 16)
        state = folded_product(load_word(at, 8) ^ pi_0 ^ state, load_word(at + 8, 8) ^ salt ^ pi_1);
    const std::size_t head = left < 8 ? left : 8;
    const std::uint64_t a = left == 0 ? 0 : load_word(at, head);
    const std::uint64_t b = left <= 8 ? 0 : load_word(at + left - 8, 8);
    return folded_product(folded_product(a ^ pi_0 ^ state, b ^ salt ^ pi_2) ^ salt, pi_1);
}

template <class T>
concept Word = std::is_integral_v<T> || std::is_enum_v<T> || std::is_pointer_v<T>;

template <class T>
inline constexpr bool is_text = false;
template <class A>
inline constexpr bool is_text<std::basic_string<char, std::char_traits<char>, A>> = true;
template <>
inline constexpr bool is_text<std::string_view> = true;
template <std::size_t N>
inline constexpr bool is_text<char[N]> = true;

template <class T>
concept HasStdHash = requires(const T& t) {
    { std::hash<T>{}(t) } -> std::convertible_to<std::size_t>;
};

/// Strings, and what converts to one and has no hash of its own, by which it might be equal where
/// its text is not.
template <class T>
concept Text = is_text<T> ||
    (std::convertible_to<const T&, std::string_view> && !std::is_pointer_v<T> && !HasStdHash<T>);

template <class T>
struct IsTuple : std::false_type {};
template <class... T>
struct IsTuple<std::tuple<T...>> : std::true_type {};
template <class A, class B>
struct IsTuple<std::pair<A, B>> : std::true_type {};

}  // namespace detail

/// The default hash: integers, enums, pointers, text, pairs and tuples of what it can hash, and
/// whatever std::hash knows. Takes the salt as its second argument; a hash of your own may do so
/// too, or take the key alone and have its result mixed with the salt.
struct DefaultHash {
    template <class T>
    std::uint64_t operator()(const T& key, std::uint64_t salt) const {
        if constexpr (detail::Text<T>) {
            return detail::hash_bytes(std::string_view(key), salt);
        } else if constexpr (std::is_pointer_v<T>) {
            return detail::mix(reinterpret_cast<std::uintptr_t>(key), salt);
        } else if constexpr (detail::Word<T>) {
            return detail::mix(static_cast<std::uint64_t>(key), salt);
        } else if constexpr (detail::IsTuple<T>::value) {
            return std::apply(
                [&](const auto&... part) {
                    std::uint64_t state = salt;
                    ((state = (*this)(part, state)), ...);
                    return state;
                },
                key);
        } else {
            static_assert(
                requires {
                    { std::hash<T>{}(key) } -> std::convertible_to<std::size_t>;
                },
                "drey: this key type has no hash: specialise std::hash for it, or give the "
                "cache one: drey::Memory<Policy, MyHash>");
            return detail::mix(std::hash<T>{}(key), salt);
        }
    }
};

/// The default equality: `==`.
using DefaultEqual = std::equal_to<>;

namespace detail {

/// A hash that cannot throw and costs less than remembering its result.
template <class H, class K>
concept CheapHash = std::same_as<H, DefaultHash> && Word<K>;

/// The salted hash of `key` by the user's function or ours.
template <class H, class Q>
Hash salted_hash(const H& hash, const Q& key, std::uint64_t salt) {
    // Only our own is known to spread over all 64 bits, on which the index relies.
    if constexpr (std::same_as<H, DefaultHash>) {
        return hash(key, salt);
    } else if constexpr (requires {
                             { hash(key, salt) } -> std::convertible_to<Hash>;
                         }) {
        return mix(static_cast<std::uint64_t>(hash(key, salt)), salt);
    } else {
        return mix(static_cast<std::uint64_t>(hash(key)), salt);
    }
}

template <class T>
concept Transparent = requires {
    typename T::is_transparent;
};

/// Whether a key of type K can be looked up by a Q without making a K: text by text, and anything
/// by what a hash and an equality that both declare `is_transparent` accept.
template <class Q, class K, class H, class E>
concept LooksUp =
    !std::same_as<Q, K> &&
    ((std::same_as<H, DefaultHash> && std::same_as<E, DefaultEqual> && Text<Q> && Text<K> &&
      std::predicate<E, const K&, const Q&>) ||
     (Transparent<H> && Transparent<E> && requires(const H& h, const E& e, const Q& q, const K& k) {
         requires requires { h(q); } || requires {
             h(q, std::uint64_t{});
         };
         { e(k, q) } -> std::convertible_to<bool>;
     }));

/// The salt of caches without a `.seed`: random, and the same for the life of the process.
inline std::uint64_t process_salt() {
    static const std::uint64_t salt = [] {
        std::random_device random;
        return (static_cast<std::uint64_t>(random()) << 32) | random();
    }();
    return salt;
}

}  // namespace detail
}  // namespace drey
