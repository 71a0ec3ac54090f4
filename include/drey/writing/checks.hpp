#pragma once

#include <optional>
#include <stdexcept>
#include <type_traits>

#include "drey/options.hpp"

namespace drey::detail {

/// Before a database is written that the cache would then refuse to follow. Throws
/// std::invalid_argument that names the field.
inline void check_put(const PutOptions& options) {
    if (options.ttl) check_ttl(*options.ttl);
    if (options.stale_for && options.stale_for->nanoseconds() < 0)
        throw std::invalid_argument("drey: stale_for must not be negative");
}

/// Says in words what is wrong with the function that changes a value.
template <class V, class F>
consteval void check_change() {
    static_assert(std::is_invocable_r_v<std::optional<V>, F&, std::optional<V>>,
                  "drey: update needs a function from optional<V> to optional<V>");
}

}  // namespace drey::detail
