#pragma once

#include <concepts>
#include <type_traits>

/// What the facade asks of a backend.
namespace drey::detail {

/// Maps a cache's third parameter to the class that does the work. Specialised beside each backend;
/// what has no specialisation is taken for an eviction policy, in process.
template <class Backend, class K, class V>
struct BackendOf;

/// What K and V must be for any cache, checked in words. A call may need more: `get` copies V.
template <class K, class V>
consteval void check_types() {
    static_assert(std::is_object_v<K> && !std::is_const_v<K> && !std::is_array_v<K>,
                  "drey: the key type must be an object type, neither const nor an array");
    static_assert(std::is_object_v<V> && !std::is_const_v<V> && !std::is_array_v<V>,
                  "drey: the value type must be an object type, neither const nor an array");
    static_assert(std::is_move_constructible_v<K>, "drey: the key type must be movable");
    static_assert(std::is_move_constructible_v<V>,
                  "drey: the value type must be movable (store a std::unique_ptr to what is not)");
    static_assert(std::is_nothrow_destructible_v<K> && std::is_nothrow_destructible_v<V>,
                  "drey: the destructors of key and value must not throw");
}

}  // namespace drey::detail
