#pragma once

#include <concepts>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "drey/options.hpp"

namespace drey {

/// What a loader may return to say more than the value: `Loaded<User>{user, {.ttl = 10s}}`.
template <class V>
struct Loaded {
    V value;
    PutOptions options = {};
};

namespace detail {

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <class T>
struct IsLoaded : std::false_type {};
template <class T>
struct IsLoaded<Loaded<T>> : std::true_type {};

/// A loader is called with the key, or with nothing if it does not take one.
template <class Loader, class K>
decltype(auto) call_loader(Loader& loader, const K& key) {
    if constexpr (std::invocable<Loader&, const K&>) {
        return std::invoke(loader, key);
    } else {
        static_assert(std::invocable<Loader&>,
                      "drey: a loader must be callable with the key, or with nothing");
        return std::invoke(loader);
    }
}

/// What loading came to: a value, or nothing if there is no such row; and what the loader said of
/// how long that holds.
template <class V>
struct LoadOutcome {
    std::optional<V> value;
    PutOptions options;
};

/// Whether a loader that returns R for values of type V may say that there is no such row.
template <class R, class V>
inline constexpr bool may_be_absent = [] {
    if constexpr (std::same_as<R, V>) {
        return false;
    } else if constexpr (IsLoaded<R>::value) {
        return may_be_absent<decltype(R::value), V>;
    } else {
        return IsOptional<R>::value;
    }
}();

template <class V, class R>
LoadOutcome<V> outcome_of(R&& result) {
    using Result = std::remove_cvref_t<R>;
    if constexpr (std::same_as<Result, V>) {
        return {std::optional<V>(std::forward<R>(result)), {}};
    } else if constexpr (IsLoaded<Result>::value) {
        auto outcome = outcome_of<V>(std::forward<R>(result).value);
        outcome.options = std::forward<R>(result).options;
        return outcome;
    } else if constexpr (IsOptional<Result>::value) {
        if (!result) return {};
        return {std::optional<V>(*std::forward<R>(result)), {}};
    } else {
        static_assert(std::convertible_to<R, V>,
                      "drey: a loader must return the value, an optional of it, or drey::Loaded");
        return {std::optional<V>(std::forward<R>(result)), {}};
    }
}

/// What a call that loads with `Loader` returns: V, or optional<V> if the loader may say "no row".
template <class Loader, class K, class V>
struct LoadReturn {
    using Result = std::remove_cvref_t<decltype(call_loader(std::declval<Loader&>(),
                                                            std::declval<const K&>()))>;
    static_assert(!std::is_void_v<Result>,
                  "drey: a loader must return the value, an optional of it, or drey::Loaded");
    static constexpr bool optional = may_be_absent<Result, V>;
    using type = std::conditional_t<optional, std::optional<V>, V>;
};

}  // namespace detail
}  // namespace drey
