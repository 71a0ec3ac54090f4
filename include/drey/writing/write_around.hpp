#pragma once

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

#include "drey/writing/key_identity.hpp"

namespace drey {

/// Writes to a database and removes what a cache has of it; made by `write_around`.
///
/// For rows that are written more often than read, and for rows that others write too: whoever
/// writes and in whichever order, each write is followed by a removal, so that what the cache has
/// in the end was loaded after the last write. (A load that read an older row took its ticket
/// before that, and the removal dooms it.) So nobody has to wait for a turn.
///
/// A writer that throws may have written, so then the key is removed as well.
///
/// Thread-safe if the cache is. The writer runs on the calling thread, outside all locks.
template <class C, class Writer, class Eraser = detail::NoEraser>
class WriteAround {
public:
    using key_type = typename C::key_type;
    using mapped_type = typename C::mapped_type;

    WriteAround(C& cache, Writer writer, Eraser eraser)
        : cache_(cache), writer_(std::move(writer)), eraser_(std::move(eraser)) {
        detail::check_writers<C, Writer, Eraser>();
    }
    WriteAround(const WriteAround&) = delete;
    WriteAround& operator=(const WriteAround&) = delete;

    /// Writes the value to the database, then removes the key from the cache. Throws what the
    /// writer throws; the cache has no value for the key then either.
    void put(const key_type& key, const mapped_type& value) {
        then_forget(key, [&] { std::invoke(writer_, key, value); });
    }

    /// Removes the key from the database by the eraser, then from the cache, and throws as `put`.
    void erase(const key_type& key) {
        static_assert(!std::same_as<Eraser, detail::NoEraser>,
                      "drey: to erase, give write_around an eraser: "
                      "write_around(cache, writer, eraser)");
        then_forget(key, [&] { std::invoke(eraser_, key); });
    }

    /// Where to read: `get`, `get_or_load` and the like.
    C& cache() const noexcept { return cache_; }

private:
    template <class Write>
    void then_forget(const key_type& key, Write&& write) {
        try {
            write();
        } catch (...) {
            detail::forget(cache_, key);
            throw;
        }
        cache_.erase(key);
    }

    C& cache_;
    Writer writer_;
    [[no_unique_address]] Eraser eraser_;
};

/// Puts a database beside a cache: `put(key, value)` calls `writer(key, value)`, which throws if it
/// fails, and then removes the key, so that who reads it next loads it. With an `eraser(key)`,
/// there is an `erase(key)` too. The cache is any Cache or AnyCache, and must outlive what this
/// returns.
template <class C, class Writer, class Eraser = detail::NoEraser>
WriteAround<C, std::decay_t<Writer>, std::decay_t<Eraser>> write_around(C& cache, Writer&& writer,
                                                                        Eraser&& eraser = {}) {
    return {cache, std::forward<Writer>(writer), std::forward<Eraser>(eraser)};
}

}  // namespace drey
