#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>

#include "drey/options.hpp"
#include "drey/writing/beside_database.hpp"
#include "drey/writing/checks.hpp"
#include "drey/writing/key_identity.hpp"
#include "drey/writing/key_turns.hpp"
#include "drey/writing/known_value.hpp"

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
/// `update`, `put_if_absent` and `take` do their reading and writing in one turn. They ask the
/// cache, and where it misses the loader, since a cache that has evicted a row does not know that
/// there is one.
///
/// That order holds within this process and for writes through one such object. Where several
/// processes write a row and share a cache, or others write the database, use `write_around`.
///
/// Thread-safe if the cache is. User functions run on the calling thread, outside all locks but
/// during their key's turn: writing that same key from within them, or from within a listener of
/// the cache, throws std::logic_error, and two that each write the other's key wait for each other
/// for ever.
template <class C, class Writer, class Eraser = detail::NoEraser>
class WriteThrough : public detail::BesideDatabase<C, Writer, Eraser> {
    using Base = detail::BesideDatabase<C, Writer, Eraser>;
    using Turns = KeyTurns<typename C::key_type, detail::KeyIdentity<C>>;
    using Turn = typename Turns::Turn;

public:
    using typename Base::key_type;
    using typename Base::mapped_type;

    WriteThrough(C& cache, Writer writer, Eraser eraser)
        : Base(cache, std::move(writer), std::move(eraser)) {}

    /// Writes the value to the database, then to the cache. Throws what either throws; in both
    /// cases the cache has no value for the key then, and in the second the database has.
    void put(key_type key, mapped_type value, const PutOptions& options = {}) {
        detail::check_put(options);
        const Turn turn(turns_, key);
        store(key, std::move(value), options);
    }

    /// Writes pairs of key and value as `put` does, one after the other; the first that throws is
    /// the last.
    template <std::ranges::input_range Entries>
    void put_many(Entries&& entries, const PutOptions& options = {}) {
        for (const auto& [key, value] : entries) put(key, value, options);
    }
    void put_many(std::initializer_list<std::pair<key_type, mapped_type>> entries,
                  const PutOptions& options = {}) {
        put_many(std::span(entries.begin(), entries.size()), options);
    }

    /// Puts the value unless there is a row; whether it did.
    template <class Loader>
    bool put_if_absent(key_type key, mapped_type value, Loader&& loader,
                       const PutOptions& options = {}) {
        detail::check_put(options);
        const Turn turn(turns_, key);
        if (detail::known_value(this->cache(), key, loader)) return false;
        store(key, std::move(value), options);
        return true;
    }

    /// Puts what `f(optional<V>)` makes of the row, or erases the row if that is nothing, which
    /// needs an eraser unless f returns V. Whether there is a row now. f is called once.
    template <class F, class Loader>
    bool update(key_type key, F&& f, Loader&& loader, const PutOptions& options = {}) {
        detail::check_change<mapped_type, F>();
        using Result = std::invoke_result_t<F&, std::optional<mapped_type>>;
        static_assert(Base::has_eraser || std::is_convertible_v<Result, mapped_type>,
                      "drey: an update that may return nothing erases the row: give write_through "
                      "an eraser: write_through(cache, writer, eraser)");
        detail::check_put(options);
        const Turn turn(turns_, key);
        std::optional<mapped_type> before = detail::known_value(this->cache(), key, loader);
        [[maybe_unused]] const bool had_row = before.has_value();
        std::optional<mapped_type> after = std::invoke(f, std::move(before));
        if (after) {
            store(key, *std::move(after), options);
            return true;
        }
        if constexpr (Base::has_eraser) {
            if (had_row) this->remove(key);
        }
        return false;
    }

    /// Erases the row and returns what it was; nothing if there is none.
    template <class Loader>
    std::optional<mapped_type> take(const key_type& key, Loader&& loader) {
        const Turn turn(turns_, key);
        std::optional<mapped_type> row = detail::known_value(this->cache(), key, loader);
        if (row) this->remove(key);
        return row;
    }

    /// Removes the key from the database by the eraser, then from the cache, and throws as `put`.
    void erase(const key_type& key) {
        const Turn turn(turns_, key);
        this->remove(key);
    }

private:
    /// During the key's turn.
    void store(const key_type& key, mapped_type&& value, const PutOptions& options) {
        this->write(key, value,
                    [&] { this->cache().put(key_type(key), std::move(value), options); });
    }

    Turns turns_;
};

/// Puts a database behind a cache: `put(key, value)` calls `writer(key, value)`, which throws if it
/// fails, and then stores the value. With an `eraser(key)`, there is an `erase(key)` too. The cache
/// is any Cache or AnyCache, and must outlive what this returns; of an AnyCache with keys that have
/// a hash or an equality of their own, only the usual ones are known here.
template <class C, class Writer, class Eraser = detail::NoEraser>
WriteThrough<C, std::decay_t<Writer>, std::decay_t<Eraser>> write_through(C& cache, Writer&& writer,
                                                                          Eraser&& eraser = {}) {
    return {cache, std::forward<Writer>(writer), std::forward<Eraser>(eraser)};
}

}  // namespace drey
