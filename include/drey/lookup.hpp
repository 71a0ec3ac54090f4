#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

#include "drey/clock.hpp"
#include "drey/terms.hpp"

namespace drey {

/// How a look-up ended.
enum class Found {
    hit,     ///< a value within its TTL
    stale,   ///< a value past its TTL that may still be used
    absent,  ///< remembered: there is no such row
    miss,    ///< nothing is known of the key
    failed,  ///< the backend could not say; error() has the reason
};

/// What a backend says of the value it found, to who loads.
struct Reading {
    Found state = Found::hit;               ///< hit or stale
    std::int64_t left = no_deadline;        ///< nanoseconds until it is stale, if that is known
    std::chrono::nanoseconds load_cost{0};  ///< how long it took to load; 0: unknown
    /// When it ceases to be fresh, by whatever clock, if a value of the key that is stored later
    /// has another such time.
    std::int64_t fresh_until = no_deadline;
    TagTime tags_hold = any_tag_time;  ///< when no tag of it had been invalidated, if it has any
};

/// Whether a look counts as a hit or a miss. A call has one that does, however often it looks.
enum class Counts : bool { no, yes };

/// What a load is for.
enum class LoadFor {
    miss,     ///< there is nothing that could be used; what others have stored meanwhile will do
    refresh,  ///< there is a value, fresh or stale, and a newer one is wanted in its place
};

/// The whole truth about one look-up: what `find` returns, where `get` only says value or not.
template <class V>
class [[nodiscard]] Lookup {
public:
    static Lookup hit(V value) { return Lookup(Found::hit, std::move(value), {}); }
    static Lookup stale(V value) { return Lookup(Found::stale, std::move(value), {}); }
    static Lookup absent() { return Lookup(Found::absent, {}, {}); }
    static Lookup miss() { return Lookup(Found::miss, {}, {}); }
    static Lookup failed(std::error_code why) { return Lookup(Found::failed, {}, why); }

    Found state() const noexcept { return state_; }
    bool is_hit() const noexcept { return state_ == Found::hit; }
    bool is_stale() const noexcept { return state_ == Found::stale; }
    bool is_absent() const noexcept { return state_ == Found::absent; }
    bool is_miss() const noexcept { return state_ == Found::miss; }
    bool is_failed() const noexcept { return state_ == Found::failed; }

    /// Whether there is a value, fresh or stale.
    bool has_value() const noexcept { return value_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }

    /// The value; throws std::bad_optional_access if there is none.
    const V& value() const& { return value_.value(); }
    V&& value() && { return std::move(value_).value(); }
    const V& operator*() const& noexcept { return *value_; }
    V&& operator*() && noexcept { return *std::move(value_); }
    const V* operator->() const noexcept { return &*value_; }

    /// Why the look-up failed; no error unless `is_failed()`.
    std::error_code error() const noexcept { return error_; }

private:
    Lookup(Found state, std::optional<V> value, std::error_code error)
        : state_(state), value_(std::move(value)), error_(error) {}

    Found state_;
    std::optional<V> value_;
    std::error_code error_;
};

}  // namespace drey
