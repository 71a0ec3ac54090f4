#pragma once

#include <optional>

#include "drey/loading/loader.hpp"

namespace drey::detail {

/// What the row is, as the cache has it, or else as the database has it: for who is about to change
/// it, and so must not take a miss for "no such row". Not stored, since the change will be.
template <class C, class Loader>
std::optional<typename C::mapped_type> known_value(C& cache, const typename C::key_type& key,
                                                   Loader& loader) {
    using V = typename C::mapped_type;
    if (std::optional<V> cached = cache.get(key)) return cached;
    return outcome_of<V>(call_loader(loader, key)).value;
}

}  // namespace drey::detail
