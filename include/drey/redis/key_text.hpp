#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

/// Keys as printable text, for stores outside this process.
///
/// Text stands for itself, but that every byte other than '!' to '~', and '%', is written as '%'
/// and two hexadecimal digits. Numbers and enumerators are written in decimal. The parts of a pair
/// or tuple are joined by ':', which is escaped within them; so different keys have different
/// texts. A type of yours needs a function `to_key(const T&)` beside it that returns text or a
/// number.
namespace drey {

namespace detail {

template <class T>
concept HasToKey = requires(const T& key) {
    to_key(key);
};

template <class T>
inline constexpr bool has_key_text = std::convertible_to<const T&, std::string_view> ||
                                     std::is_integral_v<T> || std::is_enum_v<T> || HasToKey<T>;
template <class... Parts>
inline constexpr bool has_key_text<std::tuple<Parts...>> = (has_key_text<Parts> && ...);
template <class First, class Second>
inline constexpr bool has_key_text<std::pair<First, Second>> =
    has_key_text<First>&& has_key_text<Second>;

inline void append_escaped(std::string& out, std::string_view text, bool escape_colon) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    const auto is_plain = [&](char c) {
        return c >= '!' && c <= '~' && c != '%' && (c != ':' || !escape_colon);
    };
    for (std::size_t at = 0; at < text.size();) {
        std::size_t end = at;
        while (end < text.size() && is_plain(text[end])) ++end;
        out.append(text.substr(at, end - at));
        if (end < text.size()) {
            const auto byte = static_cast<unsigned char>(text[end]);
            out.append({'%', digits[byte / 16], digits[byte % 16]});
        }
        at = end + 1;
    }
}

template <class T>
void append_key_text(std::string& out, const T& key, bool is_part = false) {
    static_assert(has_key_text<T>,
                  "drey: keys outside this process are text: use strings, integers, enums, pairs "
                  "or tuples of these, or write a function to_key(const T&) beside the key type");
    if constexpr (std::convertible_to<const T&, std::string_view>) {
        append_escaped(out, std::string_view(key), is_part);
    } else if constexpr (HasToKey<T>) {
        append_key_text(out, to_key(key), is_part);
    } else if constexpr (std::is_enum_v<T>) {
        append_key_text(out, static_cast<std::underlying_type_t<T>>(key), is_part);
    } else if constexpr (std::same_as<T, bool>) {
        out.push_back(key ? '1' : '0');
    } else if constexpr (std::is_integral_v<T>) {
        static_assert(sizeof(T) <= sizeof(long long), "drey: keys have at most 64 bits");
        char digits[std::numeric_limits<T>::digits10 + 3];
        // As long long, since characters are text to to_chars' relatives but numbers here.
        using Wide = std::conditional_t<std::is_signed_v<T>, long long, unsigned long long>;
        const auto end = std::to_chars(digits, digits + sizeof digits, static_cast<Wide>(key)).ptr;
        out.append(digits, end);
    } else {
        std::size_t index = 0;
        std::apply(
            [&](const auto&... part) {
                ((index++ > 0 ? out.push_back(':') : void(), append_key_text(out, part, true)),
                 ...);
            },
            key);
    }
}

}  // namespace detail

/// The key as text: printable, and different for different keys.
template <class T>
std::string key_text(const T& key) {
    std::string text;
    detail::append_key_text(text, key);
    return text;
}

}  // namespace drey
