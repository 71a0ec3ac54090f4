#pragma once

#include <initializer_list>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>

#include "drey/writing/beside_database.hpp"

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
/// There are no `update`, `put_if_absent` and `take`: what they read may be written by others
/// before they write. Only the database can do these at once; let the writer have it do so.
///
/// Thread-safe if the cache is. The writer runs on the calling thread, outside all locks.
template <class C, class Writer, class Eraser = detail::NoEraser>
class WriteAround : public detail::BesideDatabase<C, Writer, Eraser> {
    using Base = detail::BesideDatabase<C, Writer, Eraser>;

public:
    using typename Base::key_type;
    using typename Base::mapped_type;

    WriteAround(C& cache, Writer writer, Eraser eraser)
        : Base(cache, std::move(writer), std::move(eraser)) {}

    /// Writes the value to the database, then removes the key from the cache. Throws what the
    /// writer throws; the cache has no value for the key then either.
    void put(const key_type& key, const mapped_type& value) {
        this->write(key, value, [&] { this->cache().erase(key); });
    }

    /// Writes pairs of key and value as `put` does, one after the other; the first that throws is
    /// the last.
    template <std::ranges::input_range Entries>
    void put_many(Entries&& entries) {
        for (const auto& [key, value] : entries) put(key, value);
    }
    void put_many(std::initializer_list<std::pair<key_type, mapped_type>> entries) {
        put_many(std::span(entries.begin(), entries.size()));
    }

    /// Removes the key from the database by the eraser, then from the cache, and throws as `put`.
    void erase(const key_type& key) { this->remove(key); }
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
