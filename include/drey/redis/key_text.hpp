#pragma once

#include <string>

#include "drey/detail/key_parts.hpp"

/// Keys as printable text, for stores outside this process.
///
/// They are written as `drey::key` writes its parts (key.hpp says how), but that a key which is no
/// pair or tuple is one text, whose colons stand for themselves. Different keys of one type have
/// different texts.
namespace drey {

/// The key as text: printable, and different for different keys.
template <class T>
std::string key_text(const T& key) {
    static_assert(detail::has_key_text<T>,
                  "drey: keys outside this process are text: use strings, numbers, enums, "
                  "optionals, pairs or tuples of these, or write a function to_key(const T&) "
                  "beside the key type");
    std::string text;
    detail::append_key_text(text, key);
    return text;
}

}  // namespace drey
