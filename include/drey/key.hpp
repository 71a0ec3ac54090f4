#pragma once

#include <string>
#include <tuple>
#include <type_traits>

#include "drey/detail/key_parts.hpp"

/// Keys as printable text.
///
/// A key is its parts, joined by ':'. Within a part, every byte other than '!' to '~', and '%' and
/// ':', is written as '%' and two hexadecimal digits, so that different parts make different keys:
/// whatever bytes they have, and wherever one ends and the next begins.
///
///     part                                    is written as
///     text; a char is text of one byte        itself, escaped
///     integers, bool, enumerators             decimal: -17, 1, the enumerator's number
///     float, double                           an integer's digits if it is one and below 2^64;
///     else
///                                             the fewest characters that give the number back:
///                                             0.1, 1e+30, inf, nan; -0 as 0, since they are equal
///     pairs and tuples                        their parts, as if these stood there
///     an optional                             its value, or %- for none; %+ before a value that
///                                             may itself begin with %-, such as another optional
///     a tuple without parts, no parts at all  %-
///     a type T of yours                       what `to_key(const T&)` beside it returns, any of
///                                             the above; it goes before them
///
/// The text says what the parts are, not of which types they were made: 1, 1u, "1" and '1' are one
/// key, and so are 100000 and 1e5, and 0.1f and 0.1, though these are not equal. Nothing depends on
/// the locale or the machine.
///
/// Caches over Redis write their keys so, but that a key which is no tuple is one text, whose
/// colons stand for themselves (redis/key_text.hpp).
namespace drey {

namespace detail {

/// The part, or what its type's `to_key` makes of it, which is then asked once.
template <class T>
decltype(auto) part_of_key(const T& part) {
    if constexpr (HasToKey<T>) {
        return to_key(part);
    } else {
        return (part);
    }
}

template <class... Parts>
std::string joined_key(const Parts&... parts) {
    const std::tuple<const Parts&...> all(parts...);
    KeyLength length;
    append_key_text(length, all);
    std::string text;
    text.reserve(length.length);
    append_key_text(text, all);
    return text;
}

}  // namespace detail

/// A key made of parts: `drey::key("product", "books", 42)` is "product:books:42". Printable, and
/// different for different parts; see above. Allocates once at most, but for what `to_key` of your
/// types does. C strings end at their zero, other text may have any bytes. Throws
/// std::invalid_argument for a null pointer.
template <class... Parts>
std::string key(const Parts&... parts) {
    constexpr bool have_text = (detail::has_key_text<Parts> && ...);
    static_assert(have_text,
                  "drey: a part of this key has no text: use strings, characters, integers, enums, "
                  "float, double, optionals, pairs and tuples of these, or write a function "
                  "to_key(const T&) beside your type");
    if constexpr (have_text) {
        return detail::joined_key(detail::part_of_key(parts)...);
    } else {
        return {};
    }
}

}  // namespace drey
