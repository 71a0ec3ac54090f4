#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "drey/backend/backend.hpp"
#include "drey/codec/codec.hpp"
#include "drey/codec/raw.hpp"
#include "drey/redis/key_text.hpp"
#include "drey/redis/options.hpp"
#include "drey/redis/store.hpp"

namespace drey {

/// Backend: on a Redis server, shared by any number of processes and threads. `Codec` says how
/// values become bytes: Raw, Json, MessagePack, Cbor, or one of yours (codec/codec.hpp). Keys
/// become text (redis/key_text.hpp).
///
/// A server that is slow, down or lying makes the cache miss, never throw, unless asked for. No
/// call takes longer than `.timeout`, but `get_or_load` for its loader and for another process that
/// holds the key's lease (`.lease_wait`), and `clear`, `erase_matching` and `size` for many round
/// trips.
///
/// Until when a value is fresh is written beside it if it may be used after that (`.stale_for`), as
/// Unix time: there the clocks of the machines must agree. The server drops it by its own clock.
///
/// Needs Redis 6.2 or newer, or Valkey, and these commands: GET, MGET, SET, GETDEL, GETRANGE,
/// UNLINK, EVAL (with DEL), SCAN, PING, INFO; for tags also PTTL, PEXPIRE, PERSIST, HMGET, HSET,
/// HSETNX, HINCRBY, HLEN.
template <class Codec = Raw>
struct Redis {};

namespace detail {

template <class Codec, class K, class V>
struct BackendOf<Redis<Codec>, K, V> {
    static_assert((check_types<K, V>(), check_codec<Codec, V>(), true));
    static_assert(has_key_text<K>,
                  "drey: keys outside this process are text: use strings, numbers, enums, "
                  "optionals, pairs or tuples of these, or write a function to_key(const T&) "
                  "beside the key type");

    using type = redis::Store<K, V, Codec>;
    static constexpr bool is_local = false;
    using Options = RedisOptions;
    template <class Q>
    static constexpr bool looks_up = std::same_as<Q, K> ||
                                     (std::convertible_to<const K&, std::string_view> &&
                                      std::same_as<Q, std::string_view>);
};

}  // namespace detail
}  // namespace drey
