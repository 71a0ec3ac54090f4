#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include "drey/types.hpp"

namespace drey {

namespace detail {

/// Values that a machine word holds and whose bits are their identity.
template <class V>
inline constexpr bool fits_a_word = [] {
    if constexpr (std::is_trivially_copyable_v<V> && std::is_copy_constructible_v<V> &&
                  std::is_copy_assignable_v<V> && std::is_move_constructible_v<V> &&
                  std::is_move_assignable_v<V> && sizeof(V) <= sizeof(void*)) {
        return std::atomic<V>::is_always_lock_free &&
               (std::has_unique_object_representations_v<V> || std::is_floating_point_v<V>);
    } else {
        return false;
    }
}();

}  // namespace detail

/// In place of a value, for an entry that remembers an absence.
struct NoValue {};

/// Where an entry keeps its value: immutable from the moment the entry is published. For an absence
/// it holds V(), which nobody sees.
template <class V>
class ValueCell {
public:
    static constexpr bool overwrites_in_place = false;

    explicit ValueCell(V&& value) : value_(std::move(value)) {}
    explicit ValueCell(NoValue) : value_() {}

    const V& get() const noexcept { return value_; }
    V&& take() noexcept { return std::move(value_); }

private:
    V value_;
};

/// For types that have no V().
template <class V>
    requires(!detail::fits_a_word<V> && !std::is_default_constructible_v<V>)
class ValueCell<V> {
public:
    static constexpr bool overwrites_in_place = false;

    explicit ValueCell(V&& value) : value_(std::move(value)) {}
    explicit ValueCell(NoValue) noexcept {}

    const V& get() const noexcept { return *value_; }
    V&& take() noexcept { return *std::move(value_); }

private:
    std::optional<V> value_;
};

/// A value that fits a word is the one thing that changes in a published entry: an overwrite stores
/// it where it stands, and readers get a copy. Release and acquire, so that who gets a pointer out
/// of the cache sees what it points to.
template <class V>
    requires detail::fits_a_word<V>
class ValueCell<V> {
public:
    static constexpr bool overwrites_in_place = true;

    explicit ValueCell(V value) noexcept : value_(value) {}
    explicit ValueCell(NoValue) noexcept
        : value_(std::bit_cast<V>(std::array<std::byte, sizeof(V)>{})) {}
    ValueCell(ValueCell&& other) noexcept : value_(other.get()) {}

    V get() const noexcept { return value_.load(std::memory_order_acquire); }
    V take() const noexcept { return get(); }
    void set(V value) noexcept { value_.store(value, std::memory_order_release); }

    /// Whether it was `expected`, bit for bit, and is `value` now.
    bool exchange(V expected, V value) noexcept {
        return value_.compare_exchange_strong(expected, value, std::memory_order_release,
                                              std::memory_order_relaxed);
    }

private:
    std::atomic<V> value_;
};

/// Even, as hazards require of the address of an entry.
template <class K, class V>
inline constexpr std::size_t entry_alignment = std::max({alignof(K), alignof(ValueCell<V>),
                                                         std::size_t{2}});

/// What is stored for a key.
template <class K, class V, bool KeepsHash>
struct alignas(entry_alignment<K, V>) alignas(Hash) Entry {
    /// v is a V or NoValue.
    template <class T>
    Entry(K&& k, T&& v, Hash h) : key(std::move(k)), value(std::forward<T>(v)), hash(h) {}

    K key;
    ValueCell<V> value;
    Hash hash;
};

/// For keys whose hash is cheap and cannot throw: it is computed again instead.
template <class K, class V>
struct alignas(entry_alignment<K, V>) Entry<K, V, false> {
    template <class T>
    Entry(K&& k, T&& v, Hash) : key(std::move(k)), value(std::forward<T>(v)) {}

    K key;
    ValueCell<V> value;
};

}  // namespace drey
