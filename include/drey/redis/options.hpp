#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>

#include "drey/clock.hpp"
#include "drey/detail/unix_time.hpp"
#include "drey/error.hpp"
#include "drey/options.hpp"
#include "drey/redis/endpoint.hpp"

namespace drey {

/// How callers come by a connection.
enum class RedisMode {
    pipeline,  ///< they share few; commands of concurrent callers travel together
    pool       ///< each call has one to itself, so that a large value delays nobody else
};

/// What a call does when the server cannot answer it.
enum class OnFailure {
    miss,   ///< as if nothing were cached
    throws  ///< throws RemoteError
};

/// When to stop asking a server that fails, and when to try again.
struct BreakerOptions {
    std::size_t failures = 5;                ///< opens after that many, at least 1,
    Ttl window = std::chrono::seconds(10);   ///< within this time;
    Ttl open_for = std::chrono::seconds(1);  ///< until one probe may go and, if well, close it
    bool operator==(const BreakerOptions&) const = default;
};

/// How a rediss:// server is trusted, and how it knows us. Files are PEM.
struct TlsOptions {
    std::string ca_file = {};    ///< whom to trust; without it and `ca_path`: the system's
    std::string ca_path = {};    ///< a folder of such files, named by hash
    std::string cert_file = {};  ///< our certificate, for servers that ask; with `key_file`
    std::string key_file = {};
    std::string server_name = {};  ///< whom the certificate must name; empty: the uri's host
    bool verify = true;            ///< false trusts anyone: the password may go to an impostor
    bool operator==(const TlsOptions&) const = default;
};

/// Options of a cache over Redis, checked once, when it is made. That the server can be reached is
/// not checked: one that is down is a cache that misses.
struct RedisOptions {
    /// `redis://[user][:password]@host[:port][/database]`, `rediss://…` for TLS, or
    /// `unix://[user][:password]@/path[?db=N]`; see parse_redis_uri. Never shown.
    std::string uri = "redis://localhost:6379/0";

    /// Begins the name of every key, so that caches can share a database. Not empty.
    std::string prefix = "drey";

    /// The version of the values' shape. Values written under another are misses.
    std::uint32_t schema = 0;

    /// How long an entry lives unless its `put` says otherwise. Redis counts milliseconds.
    Ttl ttl = never;

    /// Shortens each TTL by a random share below this, in [0, 1), so that entries written together
    /// do not expire together.
    double jitter = 0.0;

    /// How `get_or_load` loads.
    LoadOptions loading = {};

    /// The most that connecting may take: resolving the name, TLS and logging in included. Bounds
    /// only the calls that find no connection, within their `timeout`.
    Ttl connect_timeout = std::chrono::milliseconds(500);

    /// The most that a call may take, connecting included.
    Ttl timeout = std::chrono::milliseconds(500);

    RedisMode mode = RedisMode::pipeline;

    /// The most connections at a time, up to 1024; 0 lets the mode choose: 1 to share, or 8 in a
    /// pool.
    std::size_t connections = 0;

    BreakerOptions breaker = {};

    /// Only for a rediss:// uri.
    TlsOptions tls = {};

    /// How long a process that loads a missing key may keep the others from loading it too; 0: no
    /// leases, and a fill may overwrite what was written during its load. Who replaces a value that
    /// is there, fresh or stale, needs no lease and overwrites nothing else.
    Ttl lease = std::chrono::seconds(3);

    /// How long the others wait for it before they load themselves; 0: not at all.
    Ttl lease_wait = std::chrono::seconds(3);

    OnFailure on_failure = OnFailure::miss;

    /// Told of every failure, outside locks, on the thread whose call failed. Exceptions are
    /// swallowed.
    std::function<void(const Error&)> on_error = {};

    /// Where the breaker takes its time from; steady time unless given. Timeouts are always in
    /// steady time. A clock given by reference or pointer must outlive the cache.
    ClockRef clock = {};

    /// Unix time, by which the processes that share entries know which of them are stale: the
    /// system's clock unless a test gives its own, which must outlive the cache if given by
    /// reference or pointer. Matters to what has a `stale_for` or is refreshed early, and to
    /// nothing else: where the clocks of two machines differ, so does what they call fresh. How
    /// long entries are kept is up to the server and its clock.
    ClockRef unix_clock = detail::system_clock();

    /// Fixes jitter and backoff, for reproducible tests. Lease tokens stay unique.
    std::optional<std::uint64_t> seed = {};
};

namespace detail {

inline constexpr std::size_t most_connections = 1024;

/// How many connections are meant.
constexpr std::size_t connection_count(RedisMode mode, std::size_t connections) noexcept {
    if (connections != 0) return connections;
    return mode == RedisMode::pool ? 8 : 1;
}

/// A time limit as it is added to points in time: a day is as good as for ever, and cannot
/// overflow.
constexpr std::chrono::nanoseconds limit_of(Ttl time) noexcept {
    constexpr std::chrono::nanoseconds a_day = std::chrono::hours(24);
    return std::min(std::chrono::nanoseconds(time.nanoseconds()), a_day);
}

inline void check_positive(Ttl time, const char* otherwise) {
    if (time.nanoseconds() <= 0) throw std::invalid_argument(otherwise);
}

inline void check(const BreakerOptions& breaker) {
    if (breaker.failures == 0)
        throw std::invalid_argument("drey: breaker.failures must be at least 1");
    check_positive(breaker.window, "drey: breaker.window must be positive");
    check_positive(breaker.open_for, "drey: breaker.open_for must be positive");
}

inline void check(const TlsOptions& tls, const RedisEndpoint& to) {
    // Whoever names a certificate means TLS; talking in the clear instead would go unnoticed.
    if (!to.tls && tls != TlsOptions{})
        throw std::invalid_argument("drey: tls must not be set without a rediss:// uri");
    if (tls.cert_file.empty() != tls.key_file.empty())
        throw std::invalid_argument("drey: tls.cert_file and tls.key_file must be set together");
}

/// Throws std::invalid_argument that names the first field that is wrong, and shows none.
inline void check(const RedisOptions& options) {
    const RedisEndpoint endpoint = parse_redis_uri(options.uri);
    if (options.prefix.empty()) throw std::invalid_argument("drey: prefix must not be empty");
    check_ttl(options.ttl);
    if (!(options.jitter >= 0.0 && options.jitter < 1.0))
        throw std::invalid_argument("drey: jitter must be in [0, 1)");
    drey::detail::check(options.loading);
    check_positive(options.connect_timeout, "drey: connect_timeout must be positive");
    check_positive(options.timeout, "drey: timeout must be positive");
    if (options.connections > most_connections)
        throw std::invalid_argument("drey: connections must be at most 1024");
    check(options.breaker);
    check(options.tls, endpoint);
    if (options.lease.nanoseconds() < 0)
        throw std::invalid_argument("drey: lease must not be negative");
    if (options.lease_wait.nanoseconds() < 0)
        throw std::invalid_argument("drey: lease_wait must not be negative");
}

}  // namespace detail
}  // namespace drey
