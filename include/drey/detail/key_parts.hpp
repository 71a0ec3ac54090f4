#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "drey/hash.hpp"

/// How keys are written as text: by `drey::key`, and for stores outside this process. The format
/// is told in key.hpp.
namespace drey::detail {

template <class T>
concept HasToKey = requires(const T& key) {
    to_key(key);
};

template <class T>
concept KeyText =
    std::convertible_to<const T&, std::string_view> && !std::same_as<T, std::nullptr_t>;

/// long double is left out, since machines do not agree on its digits.
template <class T>
concept KeyNumber = (std::is_integral_v<T> && sizeof(T) <= sizeof(long long)) ||
                    std::same_as<T, float> || std::same_as<T, double>;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

/// What a type's own `to_key` makes of it.
template <class T>
using ToKey = std::remove_cvref_t<decltype(to_key(std::declval<const T&>()))>;

/// Whether there is a text for keys of that type, or for parts of a key.
template <class T>
inline constexpr bool has_key_text = [] {
    if constexpr (HasToKey<T>) {
        return has_key_text<ToKey<T>>;
    } else if constexpr (is_optional<T>) {
        return has_key_text<std::remove_cvref_t<typename T::value_type>>;
    } else {
        return KeyText<T> || KeyNumber<T> || std::is_enum_v<T> || std::same_as<T, std::nullopt_t>;
    }
}();
template <class... Parts>
inline constexpr bool has_key_text<std::tuple<Parts...>> =
    (has_key_text<std::remove_cvref_t<Parts>> && ...);
template <class First, class Second>
inline constexpr bool has_key_text<std::pair<First, Second>> =
    has_key_text<std::remove_cvref_t<First>>&& has_key_text<std::remove_cvref_t<Second>>;

/// Whether the text of such a part may begin with the sign for nothing.
template <class T>
inline constexpr bool may_begin_with_nothing = [] {
    if constexpr (HasToKey<T>) {
        return may_begin_with_nothing<ToKey<T>>;
    } else {
        return is_optional<T> || std::same_as<T, std::nullopt_t> || std::same_as<T, std::tuple<>>;
    }
}();
template <class First, class... Others>
inline constexpr bool may_begin_with_nothing<std::tuple<First, Others...>> =
    may_begin_with_nothing<std::remove_cvref_t<First>>;
template <class First, class Second>
inline constexpr bool may_begin_with_nothing<std::pair<First, Second>> =
    may_begin_with_nothing<std::remove_cvref_t<First>>;

/// Takes the place of a string to learn how long it would become.
struct KeyLength {
    void append(std::string_view text) noexcept { length += text.size(); }
    void push_back(char) noexcept { ++length; }

    std::size_t length = 0;
};

template <class Out>
void append_escaped(Out& out, std::string_view text, bool escape_colon) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    // Compared as numbers, so that no locale has a say.
    const auto is_plain = [&](char c) {
        return c >= '!' && c <= '~' && c != '%' && (c != ':' || !escape_colon);
    };
    for (std::size_t at = 0; at < text.size();) {
        std::size_t end = at;
        while (end < text.size() && is_plain(text[end])) ++end;
        out.append(text.substr(at, end - at));
        if (end < text.size()) {
            const auto byte = static_cast<unsigned char>(text[end]);
            const char escaped[] = {'%', digits[byte / 16], digits[byte % 16]};
            out.append(std::string_view(escaped, sizeof escaped));
        }
        at = end + 1;
    }
}

template <class T>
std::string_view text_of(const T& text) {
    if constexpr (std::is_array_v<T>) {
        // Up to its zero, as a C string, but not beyond its end if there is none.
        const std::string_view whole(text, std::extent_v<T>);
        return whole.substr(0, whole.find('\0'));
    } else {
        if constexpr (std::is_pointer_v<T>) {
            if (text == nullptr)
                throw std::invalid_argument("drey: the text of a key must not be a null pointer");
        }
        return std::string_view(text);
    }
}

template <class Out, class T>
void append_digits(Out& out, T number) {
    char digits[32];  // enough for 64 bits, and for the shortest digits that give a double back
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    out.append(std::string_view(digits, static_cast<std::size_t>(end - digits)));
}

template <class Out, std::integral T>
void append_number(Out& out, T number) {
    append_digits(out, number);
}

/// Whole numbers as integers are written, so that 1e5 is 100000 however it was made.
template <class Out, std::floating_point T>
void append_number(Out& out, T number) {
    if (number != number) {
        out.append("nan");
    } else if (number >= -0x1p63 && number < 0x1p64 && number == std::trunc(number)) {
        if (number < 0) return append_number(out, static_cast<long long>(number));
        append_number(out, static_cast<unsigned long long>(number));  // and -0, which equals 0
    } else {
        append_digits(out, number);
    }
}

/// Appends the key's text; as a part of a key, with its colons escaped.
template <class Out, class T>
void append_key_text(Out& out, const T& key, bool is_part = false) {
    if constexpr (HasToKey<T>) {
        append_key_text(out, to_key(key), is_part);
    } else if constexpr (KeyText<T>) {
        append_escaped(out, text_of(key), is_part);
    } else if constexpr (std::is_enum_v<T>) {
        append_number(out, +static_cast<std::underlying_type_t<T>>(key));
    } else if constexpr (std::same_as<T, char>) {
        // Text and no number, whose sign would depend on the machine.
        append_escaped(out, std::string_view(&key, 1), is_part);
    } else if constexpr (std::is_integral_v<T>) {
        append_number(out, +key);  // bool and small types are numbers, not characters
    } else if constexpr (std::is_floating_point_v<T>) {
        append_number(out, key);
    } else if constexpr (std::same_as<T, std::nullopt_t>) {
        out.append("%-");
    } else if constexpr (is_optional<T>) {
        if (!key) return append_key_text(out, std::nullopt);
        if constexpr (may_begin_with_nothing<std::remove_cvref_t<typename T::value_type>>)
            out.append("%+");
        append_key_text(out, *key, is_part);
    } else if constexpr (std::same_as<T, std::tuple<>>) {
        append_key_text(out, std::nullopt);
    } else if constexpr (IsTuple<T>::value) {
        std::apply(
            [&out, first = true](const auto&... part) mutable {
                ((std::exchange(first, false) ? void() : out.push_back(':'),
                  append_key_text(out, part, true)),
                 ...);
            },
            key);
    }
}

}  // namespace drey::detail
