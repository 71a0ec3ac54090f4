#pragma once

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

#include "drey/writing/forget.hpp"

namespace drey::detail {

/// Who was not given an eraser.
struct NoEraser {};

/// Says in words what is wrong with the functions that write to a database.
template <class C, class Writer, class Eraser>
consteval void check_writers() {
    using K = typename C::key_type;
    using V = typename C::mapped_type;
    static_assert(std::is_copy_constructible_v<K>, "drey: writing needs a key that can be copied");
    static_assert(std::invocable<Writer&, const K&, const V&>,
                  "drey: a writer must be callable with (const K& key, const V& value)");
    if constexpr (std::invocable<Writer&, const K&, const V&>)
        static_assert(std::is_void_v<std::invoke_result_t<Writer&, const K&, const V&>>,
                      "drey: a writer returns nothing; it says that it failed by throwing");
    if constexpr (!std::same_as<Eraser, NoEraser>) {
        static_assert(std::invocable<Eraser&, const K&>,
                      "drey: an eraser must be callable with (const K& key)");
        if constexpr (std::invocable<Eraser&, const K&>)
            static_assert(std::is_void_v<std::invoke_result_t<Eraser&, const K&>>,
                          "drey: an eraser returns nothing; it says that it failed by throwing");
    }
}

/// A cache and the functions that write to the database beside it: what `WriteThrough` and
/// `WriteAround` have in common. After a write that failed, the key is removed from the cache,
/// since the database may have either value.
template <class C, class Writer, class Eraser>
class BesideDatabase {
public:
    using key_type = typename C::key_type;
    using mapped_type = typename C::mapped_type;

    BesideDatabase(const BesideDatabase&) = delete;
    BesideDatabase& operator=(const BesideDatabase&) = delete;

    /// Where to read: `get`, `get_or_load` and the like.
    C& cache() const noexcept { return cache_; }

protected:
    static constexpr bool has_eraser = !std::same_as<Eraser, NoEraser>;

    BesideDatabase(C& cache, Writer writer, Eraser eraser)
        : cache_(cache), writer_(std::move(writer)), eraser_(std::move(eraser)) {
        check_writers<C, Writer, Eraser>();
    }
    ~BesideDatabase() = default;

    /// Writes the value to the database, then has `follow` do what the cache must do.
    template <class Follow>
    void write(const key_type& key, const mapped_type& value, Follow&& follow) {
        or_forget(key, [&] {
            std::invoke(writer_, key, value);
            follow();
        });
    }

    /// Removes the key from the database, then from the cache.
    void remove(const key_type& key) {
        static_assert(has_eraser,
                      "drey: to erase, give write_through an eraser: "
                      "write_through(cache, writer, eraser); write_around likewise");
        or_forget(key, [&] {
            std::invoke(eraser_, key);
            cache_.erase(key);
        });
    }

private:
    template <class Write>
    void or_forget(const key_type& key, Write&& write) {
        try {
            write();
        } catch (...) {
            forget(cache_, key);
            throw;
        }
    }

    C& cache_;
    Writer writer_;
    [[no_unique_address]] Eraser eraser_;
};

}  // namespace drey::detail
