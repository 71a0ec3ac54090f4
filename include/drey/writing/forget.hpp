#pragma once

namespace drey::detail {

/// Removes the key after a write that failed, whose own exception is the one to be told.
template <class C>
void forget(C& cache, const typename C::key_type& key) noexcept {
    try {
        cache.erase(key);
    } catch (...) {  // a server's; then the erase is made up for before the key is found there
    }
}

}  // namespace drey::detail
