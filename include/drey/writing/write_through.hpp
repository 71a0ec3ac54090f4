#pragma once

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

#include "drey/options.hpp"
#include "drey/writing/key_identity.hpp"
#include "drey/writing/key_turns.hpp"

namespace drey {

/// Writes to a database and to a cache before it; made by `write_through`.
///
/// The database comes first, so that the cache never has what the database refused, and so that no
/// load brings back what was overwritten: a load that read the old row took its ticket before the
/// row was written, hence before the cache's put or erase, which dooms it. Were the cache written
/// first, a load could begin after that and still read the old row.
///
/// One thread at a time writes a key: of two concurrent puts of a key, the one that the database
/// saw last is the one that the cache has in the end. Different keys are written concurrently, as
/// far as the writer is concerned.
///
/// A writer that throws may have written or not, so the key leaves the cache: who asks next loads
/// what the database has. So it is if the database was written and the cache then throws.
///
/// That order holds within this process and for writes through one such object. Where several
/// processes write a row and share a cache, or others write the database, use `write_around`.
///
/// Thread-safe if the cache is. The writer runs on the calling thread, outside all locks but during
/// its key's turn: writing that same key from within it throws std::logic_error, and two writers
/// that each write the other's key wait for each other for ever.
template <class C, class Writer, class Eraser = detail::NoEraser>
class WriteThrough {
    using Identity = detail::KeyIdentity<C>;

public:
    using key_type = typename C::key_type;
    using mapped_type = typename C::mapped_type;

    WriteThrough(C& cache, Writer writer, Eraser eraser)
        : cache_(cache), writer_(std::move(writer)), eraser_(std::move(eraser)) {
        detail::check_writers<C, Writer, Eraser>();
    }
    WriteThrough(const WriteThrough&) = delete;
    WriteThrough& operator=(const WriteThrough&) = delete;

    /// Writes the value to the database, then to the cache. Throws what either throws; in both
    /// cases the cache has no value for the key then, and in the second the database has.
    void put(key_type key, mapped_type value, PutOptions options = {}) {
        if (options.ttl) detail::check_ttl(*options.ttl);
        const Turn turn(turns_, key);
        or_forget(key, [&] {
            std::invoke(writer_, std::as_const(key), std::as_const(value));
            cache_.put(key_type(std::as_const(key)), std::move(value), options);
        });
    }

    /// Removes the key from the database by the eraser, then from the cache, and throws as `put`.
    void erase(const key_type& key) {
        static_assert(!std::same_as<Eraser, detail::NoEraser>,
                      "drey: to erase, give write_through an eraser: "
                      "write_through(cache, writer, eraser)");
        const Turn turn(turns_, key);
        or_forget(key, [&] {
            std::invoke(eraser_, key);
            cache_.erase(key);
        });
    }

    /// Where to read: `get`, `get_or_load` and the like.
    C& cache() const noexcept { return cache_; }

private:
    using Turn = typename KeyTurns<key_type, Identity>::Turn;

    template <class Write>
    void or_forget(const key_type& key, Write&& write) {
        try {
            write();
        } catch (...) {
            detail::forget(cache_, key);
            throw;
        }
    }

    C& cache_;
    Writer writer_;
    [[no_unique_address]] Eraser eraser_;
    KeyTurns<key_type, Identity> turns_;
};

/// Puts a database behind a cache: `put(key, value)` calls `writer(key, value)`, which throws if it
/// fails, and then stores the value. With an `eraser(key)`, there is an `erase(key)` too. The cache
/// is any Cache or AnyCache, and must outlive what this returns.
template <class C, class Writer, class Eraser = detail::NoEraser>
WriteThrough<C, std::decay_t<Writer>, std::decay_t<Eraser>> write_through(C& cache, Writer&& writer,
                                                                          Eraser&& eraser = {}) {
    return {cache, std::forward<Writer>(writer), std::forward<Eraser>(eraser)};
}

}  // namespace drey
