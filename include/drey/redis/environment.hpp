#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "drey/clock.hpp"
#include "drey/redis/endpoint.hpp"
#include "drey/redis/options.hpp"

namespace drey {

/// The value of an environment variable, or nothing.
using LookUpVariable = std::function<std::optional<std::string>(const char* name)>;

namespace detail::environment {

/// Unset, or set to nothing, which is how a shell script or a compose file leaves things out.
inline std::optional<std::string> variable(const LookUpVariable& look_up, const char* name) {
    auto value = look_up(name);
    if (value && value->empty()) value.reset();
    return value;
}

inline void fill_server(uri::Parts& parts, const LookUpVariable& look_up) {
    if (parts.path) return;  // a unix socket has neither
    if (const auto host = variable(look_up, "REDIS_HOST"); host && !parts.host) {
        const bool brackets = host->size() > 2 && host->front() == '[' && host->back() == ']';
        parts.host = brackets ? host->substr(1, host->size() - 2) : *host;
        if (!uri::is_ipv6(*parts.host) && (brackets || !uri::is_name(*parts.host)))
            uri::refuse("REDIS_HOST", " must be a name, an IPv4 address or an IPv6 address");
    }
    if (const auto port = variable(look_up, "REDIS_PORT"); port && !parts.port) {
        if (port->starts_with("tcp://"))
            uri::refuse("REDIS_PORT",
                        " must be a number from 1 to 65535, not the tcp:// address that Kubernetes "
                        "sets for a service named redis");
        parts.port = uri::port_number(*port);
        if (!parts.port) uri::refuse("REDIS_PORT", " must be a number from 1 to 65535");
    }
}

/// A password in the uri goes with the user in the uri, or with the default user, not with that of
/// a variable.
inline void fill_credentials(uri::Parts& parts, const LookUpVariable& look_up) {
    if (parts.password) return;
    if (!parts.user) parts.user = variable(look_up, "REDIS_USERNAME");
    parts.password = variable(look_up, "REDIS_PASSWORD");
}

inline void fill_database(uri::Parts& parts, const LookUpVariable& look_up) {
    const auto database = variable(look_up, "REDIS_DB");
    if (!database || parts.database) return;
    parts.database = uri::database_number(*database);
    if (!parts.database) uri::refuse("REDIS_DB", " must be a number, 0 or more");
}

/// "60" or "0.5": digits, and a point among them or not. Nothing if it is anything else, or zero.
inline std::optional<Ttl> seconds(std::string_view text) {
    // Digits gather in one number and their scale in another, so that decimal fractions stay exact
    // to the nanosecond.
    long double digits = 0, scale = 1;
    bool point = false;
    for (const char c : text) {
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (!uri::is_digit(c)) return {};
        digits = digits * 10 + static_cast<long double>(c - '0');
        if (point) scale *= 10;
    }
    const Ttl ttl =
        std::chrono::duration<long double, std::nano>(digits * 1'000'000'000.0L / scale);
    if (ttl.nanoseconds() <= 0) return {};
    return ttl;
}

inline std::optional<std::string> of_process(const char* name) {
    const char* const value = std::getenv(name);
    return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

}  // namespace detail::environment

/// The options that these variables give; everything else has its default, to be set afterwards.
///
/// | variable | meaning |
/// | --- | --- |
/// | REDIS_URL | a uri; what it names, it decides |
/// | REDIS_HOST, REDIS_PORT | used where REDIS_URL names no host, no port |
/// | REDIS_USERNAME, REDIS_PASSWORD | used where REDIS_URL has no password |
/// | REDIS_DB | used where REDIS_URL names no database |
/// | CACHE_DEFAULT_TTL_SECONDS | `ttl`: "300" or "0.5"; unset: never |
///
/// An empty variable counts as unset. A TTL of 0 is refused: to some it means "never expires" and
/// to others "never cached". The password in `uri` is percent-encoded, so any will do.
///
/// Throws std::invalid_argument that names the variable and shows no value.
inline RedisOptions redis_options_from_env(const LookUpVariable& look_up) {
    namespace environment = detail::environment;
    namespace uri = detail::uri;

    uri::Parts parts;
    if (const auto url = environment::variable(look_up, "REDIS_URL"))
        parts = uri::Parser("REDIS_URL").parse(*url);
    environment::fill_server(parts, look_up);
    environment::fill_credentials(parts, look_up);
    environment::fill_database(parts, look_up);

    RedisOptions options;
    options.uri = uri::compose(uri::endpoint(std::move(parts)));
    if (const auto text = environment::variable(look_up, "CACHE_DEFAULT_TTL_SECONDS")) {
        const auto ttl = environment::seconds(*text);
        if (!ttl)
            uri::refuse("CACHE_DEFAULT_TTL_SECONDS",
                        " must be a positive number; unset, entries do not expire");
        options.ttl = *ttl;
    }
    return options;
}

/// The same from the environment of this process. No other thread may change it meanwhile.
inline RedisOptions redis_options_from_env() {
    return redis_options_from_env(detail::environment::of_process);
}

}  // namespace drey
