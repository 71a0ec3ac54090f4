#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"

namespace drey {

namespace detail {

/// How an argument is remembered: by value, and text by its characters, which the caller may
/// destroy or reuse. `pass` makes of that what the function takes.
template <class Arg>
struct Remembered {
    using Plain = std::remove_cvref_t<std::decay_t<Arg>>;
    static constexpr bool is_c_string =
        std::same_as<Plain, const char*> || std::same_as<Plain, char*>;
    static constexpr bool is_text = is_c_string || std::same_as<Plain, std::string_view>;
    using type = std::conditional_t<is_text, std::string, Plain>;

    static_assert(!std::same_as<Plain, char*>,
                  "drey: a function that takes a char* might write to it; it cannot be memoised");
    static_assert(
        !std::is_lvalue_reference_v<Arg> || std::is_const_v<std::remove_reference_t<Arg>>,
        "drey: a function that takes a reference might write to it; it cannot be memoised");

    static decltype(auto) pass(const type& kept) {
        if constexpr (is_c_string) {
            return kept.c_str();
        } else {
            return (kept);
        }
    }
};

/// The key and value types of a memoised function, from what std::function makes of it.
template <class Signature>
struct MemoizeTraits;

template <class R, class... Args>
struct MemoizeTraits<std::function<R(Args...)>> {
    using Key = std::tuple<typename Remembered<Args>::type...>;
    using Value = std::decay_t<R>;
    static_assert(!std::is_void_v<R>, "drey: a function that returns nothing cannot be memoised");

    template <class F>
    static Value call(F& function, const Key& key) {
        return std::apply(
            [&](const auto&... kept) -> Value {
                return std::invoke(function, Remembered<Args>::pass(kept)...);
            },
            key);
    }
};

template <class F>
using TraitsOf = MemoizeTraits<decltype(std::function(std::declval<F>()))>;

}  // namespace detail

/// A function that remembers its results; made by `memoize`. Callable from any number of threads if
/// the function is and `Backend` is not Local; concurrent calls with the same arguments run it
/// once.
template <class F, class Backend = Lru>
class Memoized {
    using Traits = detail::TraitsOf<F>;

public:
    using Key = typename Traits::Key;
    using Value = typename Traits::Value;
    using CacheType = Cache<Key, Value, Backend>;
    using Options = typename CacheType::Options;

    Memoized(F function, Options options)
        : function_(std::move(function)), cache_(std::move(options)) {}

    /// The function's result for these arguments, remembered or computed. Throws what it throws,
    /// and then remembers nothing. May recurse, but not with the same arguments (ReentrantLoad).
    template <class... Args>
    requires std::constructible_from<Key, Args&&...> Value operator()(Args&&... args) {
        return cache_.get_or_load(
            Key(std::forward<Args>(args)...),
            [this](const Key& key) -> Loaded<Value> { return {Traits::call(function_, key)}; });
    }

    /// Forgets the results for these arguments, or all of them.
    template <class... Args>
        requires std::constructible_from<Key, Args&&...>
    void forget(Args&&... args) { cache_.erase(Key(std::forward<Args>(args)...)); }
    void clear() { cache_.clear(); }

    Stats stats() const { return cache_.stats(); }
    CacheType& cache() noexcept { return cache_; }

private:
    F function_;
    CacheType cache_;
};

/// Wraps a function so that it remembers its results, as Python's functools.lru_cache does: LRU and
/// 128 results unless told otherwise (`drey::memoize<drey::S3Fifo>(f, {.capacity = 10'000})`).
/// Arguments are copied into the key, text as a std::string, so each must be hashable and
/// comparable and own what it refers to. The function's signature must be known: a function, or an
/// object with one call operator, not a template.
template <class Backend = Lru, class F>
Memoized<std::decay_t<F>, Backend> memoize(
    F&& function,
    typename Memoized<std::decay_t<F>, Backend>::Options options = {.capacity = 128}) {
    return {std::forward<F>(function), std::move(options)};
}

}  // namespace drey
