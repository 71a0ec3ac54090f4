#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "drey/codec/codec.hpp"

namespace drey {

namespace detail {

/// What has a byte order.
template <class T>
concept RawScalar = std::is_arithmetic_v<T> || std::is_enum_v<T>;

/// What owns items side by side and nothing else: text and vectors.
template <class T>
inline constexpr bool is_run = false;
template <class C, class Traits, class A>
inline constexpr bool is_run<std::basic_string<C, Traits, A>> = true;
template <class T, class A>
inline constexpr bool is_run<std::vector<T, A>> = true;

/// What is copied at a time: what a run is a run of, else the value itself.
template <class T>
struct RawItem {
    using type = T;
};
template <class T>
    requires is_run<T>
struct RawItem<T> {
    using type = typename T::value_type;
};
template <class T>
using RawItemOf = typename RawItem<T>::type;

/// What a value consists of in the end: its item, or what an array, of arrays perhaps, is made of.
template <class T>
struct RawElement {
    using type = T;
};
template <class T, std::size_t n>
    requires(n != 0)
struct RawElement<std::array<T, n>> : RawElement<T> {
    static_assert(sizeof(std::array<T, n>) == n * sizeof(T));
};
template <class T>
using RawElementOf = typename RawElement<RawItemOf<T>>::type;

/// What the standard libraries lay out each as it likes, or a wrong byte makes invalid.
template <class T>
inline constexpr bool is_opaque = std::is_same_v<T, long double>;
template <class T>
inline constexpr bool is_opaque<std::optional<T>> = true;
template <class... T>
inline constexpr bool is_opaque<std::variant<T...>> = true;

template <class T>
inline constexpr bool is_boolean = std::is_same_v<T, bool>;
template <class T>
    requires std::is_enum_v<T>
inline constexpr bool is_boolean<T> = std::is_same_v<std::underlying_type_t<T>, bool>;

template <class T>
concept RawBytes = std::is_trivially_copyable_v<T> && std::is_move_constructible_v<T>;

template <class T>
concept SameOnEveryMachine = std::endian::native == std::endian::little || RawScalar<T> ||
                             sizeof(T) == 1;

template <class T>
concept RawValue =
    RawBytes<RawItemOf<T>> && SameOnEveryMachine<RawElementOf<T>> && !refers<RawElementOf<T>> &&
    !is_opaque<RawElementOf<T>>;

/// Turns each of the elements in these bytes round.
inline void reverse_each(char* bytes, std::size_t count, std::size_t size) noexcept {
    for (; count != 0; --count, bytes += size) std::reverse(bytes, bytes + size);
}

/// From this machine's byte order to little-endian, or back.
template <class Element>
void swap_unless_little(char* bytes, std::size_t size) noexcept {
    if constexpr (std::endian::native != std::endian::little && sizeof(Element) != 1)
        reverse_each(bytes, size / sizeof(Element), sizeof(Element));
}

/// Makes the object of its bytes. Needs no default constructor.
template <class Item, class Element>
Item from_raw(const char* from) noexcept {
    std::array<char, sizeof(Item)> bytes;
    std::memcpy(bytes.data(), from, bytes.size());
    swap_unless_little<Element>(bytes.data(), bytes.size());
    return std::bit_cast<Item>(bytes);
}

}  // namespace detail

/// Codec: the value's own bytes. No overhead, no conversion, no dependency.
///
/// Takes std::string, trivially copyable types, and vectors and arrays of these. Numbers are
/// little-endian on every machine, an enum is its underlying number. Structs are copied as they lie
/// in memory, padding included, and so only on little-endian machines, and only between programs
/// that lay them out alike: raise the schema when a struct changes. A struct that holds a pointer
/// cannot be told from one that does not: do not store it.
///
/// Bytes of another size are refused, and a bool that is neither 0 nor 1. What is in a struct is
/// not looked at, nor whether an enum has a name for its number.
struct Raw {
    static constexpr std::uint8_t codec_id = 1;

    template <class T>
    static consteval void check() {
        using Element = detail::RawElementOf<T>;
        static_assert(!detail::refers<Element>,
                      "drey: Raw refuses pointers, references and views: they mean nothing in "
                      "another process; store what they refer to");
        static_assert(!detail::is_opaque<Element>,
                      "drey: Raw refuses std::optional, std::variant and long double, which differ "
                      "between platforms; use another codec, such as drey::Json");
        static_assert(detail::refers<Element> || detail::RawBytes<detail::RawItemOf<T>>,
                      "drey: Raw takes strings, trivially copyable types, and vectors and arrays "
                      "of these; use another codec, such as drey::Json");
        static_assert(detail::SameOnEveryMachine<Element>,
                      "drey: Raw takes no structs on a big-endian machine, as it would have to "
                      "know their members; use another codec, such as drey::Json");
    }

    template <detail::RawValue T>
    static void encode(const T& value, std::string& out) {
        const std::size_t begin = out.size();
        if constexpr (is_bits<T>) {
            for (const bool bit : value) out.push_back(bit ? '\1' : '\0');
        } else if constexpr (detail::is_run<T>) {
            append(out, value.data(), value.size() * sizeof(detail::RawItemOf<T>));
        } else {
            append(out, std::addressof(value), sizeof(T));
        }
        detail::swap_unless_little<detail::RawElementOf<T>>(out.data() + begin, out.size() - begin);
    }

    template <detail::RawValue T>
    static std::optional<T> decode(std::string_view bytes) {
        using Item = detail::RawItemOf<T>;
        using Element = detail::RawElementOf<T>;
        if (detail::is_run<T> ? bytes.size() % sizeof(Item) != 0 : bytes.size() != sizeof(T))
            return std::nullopt;
        if (detail::is_boolean<Element> && bytes.find_first_not_of(zero_or_one) != bytes.npos)
            return std::nullopt;

        if constexpr (!detail::is_run<T>) {
            return detail::from_raw<T, Element>(bytes.data());
        } else if constexpr (is_bits<T> || std::is_same_v<Item, char>) {
            return T(bytes.begin(), bytes.end());
        } else if constexpr (std::is_trivially_default_constructible_v<Item>) {
            T run;
            if (bytes.empty()) return run;
            run.resize(bytes.size() / sizeof(Item));
            char* const to = reinterpret_cast<char*>(run.data());
            std::memcpy(to, bytes.data(), bytes.size());
            detail::swap_unless_little<Element>(to, bytes.size());
            return run;
        } else {
            T run;
            run.reserve(bytes.size() / sizeof(Item));
            for (std::size_t at = 0; at != bytes.size(); at += sizeof(Item))
                run.push_back(detail::from_raw<Item, Element>(bytes.data() + at));
            return run;
        }
    }

private:
    static_assert(sizeof(bool) == 1);
    static constexpr std::string_view zero_or_one{"\0\1", 2};

    /// std::vector<bool>, which has no elements that one could copy: a byte for each bit.
    template <class T>
    static constexpr bool is_bits = detail::is_run<T>&& std::is_same_v<detail::RawItemOf<T>, bool>;

    static void append(std::string& out, const void* from, std::size_t size) {
        out.append(std::string_view(static_cast<const char*>(from), size));
    }
};

}  // namespace drey
