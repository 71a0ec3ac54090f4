#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

/// Where a server is, who we are there, and the uri that says so. Nothing here does I/O.
namespace drey {

/// Where a Redis server is, and who we are there.
struct RedisEndpoint {
    std::string host = "localhost";  ///< a name or an address, IPv6 without brackets
    std::uint16_t port = 6379;
    std::string path = {};      ///< of a unix socket, instead of host and port; empty: TCP
    bool tls = false;           ///< TLS over TCP
    std::string user = {};      ///< of an ACL; empty: the default user
    std::string password = {};  ///< empty: none
    int database = 0;

    /// "host:port", "[::1]:6379" or "unix:/path": for logs, so never a credential.
    std::string address() const {
        if (!path.empty()) return "unix:" + path;
        const bool ipv6 = host.find(':') != std::string::npos;
        return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
    }

    bool operator==(const RedisEndpoint&) const = default;
};

namespace detail::uri {

/// What a uri names; the rest is for defaults to fill.
struct Parts {
    bool tls = false;
    std::optional<std::string> user = {}, password = {}, host = {}, path = {};
    std::optional<std::uint16_t> port = {};
    std::optional<int> database = {};
};

/// Every refusal goes through here with a literal. No message shows what it refuses: where a uri is
/// wrong one cannot know which piece of it is the secret, since a password with an unescaped ':' or
/// '/' turns up as a port or a database.
[[noreturn]] inline void refuse(std::string_view source, const char* why) {
    throw std::invalid_argument("drey: " + std::string(source) + why);
}

inline bool is_control(char c) noexcept {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}
inline bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
inline bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// What RFC 3986 calls unreserved: means itself everywhere in a uri.
inline bool is_plain(char c) noexcept {
    return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

inline std::optional<unsigned> hex_digit(char c) noexcept {
    if (is_digit(c)) return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
    return {};
}

/// Resolves percent escapes; nothing if one is not '%' and two hex digits.
inline std::optional<std::string> decoded(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            result += text[i];
            continue;
        }
        if (text.size() - i < 3) return {};
        const auto high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
        if (!high || !low) return {};
        result += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    return result;
}

/// Escapes all but the plain characters and those `kept`.
inline std::string encoded(std::string_view text, std::string_view kept = {}) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string result;
    result.reserve(text.size());
    for (const char c : text) {
        if (is_plain(c) || kept.find(c) != kept.npos) {
            result += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            result += {'%', digits[byte / 16], digits[byte % 16]};
        }
    }
    return result;
}

/// A number written in digits alone: no sign, no space.
inline std::optional<std::uint32_t> number(std::string_view text) noexcept {
    std::uint32_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end) return {};
    return value;
}

inline std::optional<std::uint16_t> port_number(std::string_view text) noexcept {
    const auto value = number(text);
    if (!value || *value == 0 || *value > std::numeric_limits<std::uint16_t>::max()) return {};
    return static_cast<std::uint16_t>(*value);
}

inline std::optional<int> database_number(std::string_view text) noexcept {
    const auto value = number(text);
    if (!value || *value > static_cast<std::uint32_t>(std::numeric_limits<int>::max())) return {};
    return static_cast<int>(*value);
}

/// Without brackets; a zone may follow ("fe80::1%eth0").
inline bool is_ipv6(std::string_view host) {
    const std::size_t percent = host.find('%');
    if (percent != host.npos) {
        const std::string_view zone = host.substr(percent + 1);
        if (zone.empty() || !std::all_of(zone.begin(), zone.end(), is_plain)) return false;
    }
    in6_addr address;
    // The copy ends the text with a NUL, which also hides what follows a NUL within it.
    const std::string text(host.substr(0, percent));
    return text.find('\0') == text.npos && inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

/// A name or an IPv4 address. Underscores are not for host names, but compose files have them.
inline bool is_name(std::string_view host) {
    return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), is_plain);
}

inline bool is_socket_path(std::string_view path) {
    return !path.empty() && path.front() == '/' && path.size() < sizeof(sockaddr_un{}.sun_path) &&
           std::none_of(path.begin(), path.end(), is_control);
}

/// Reads a uri once, from left to right. `source` is what messages call it.
class Parser {
public:
    explicit Parser(std::string_view source) : source_(source) {}

    Parts parse(std::string_view text) {
        const bool unix_socket = take_scheme(text);

        // The authority ends where RFC 3986 says. In it the *last* '@' splits, so that a password
        // may have an unescaped one. A password with an unescaped '/', '?' or '#' ends the
        // authority early and leaves its '@' behind, by which it is told: silently connecting to a
        // host named like half a password would put it in every log.
        const std::string_view authority = text.substr(0, text.find_first_of("/?#"));
        const std::string_view rest = text.substr(authority.size());
        if (rest.find('@') != rest.npos)
            refuse(
                ": '/', '?' and '#' in user or password must be percent-encoded, as '@' in path");
        if (rest.find('#') != rest.npos) refuse(": fragment is not allowed; '#' is %23");

        const std::size_t at = authority.rfind('@');
        if (at != authority.npos) take_credentials(authority.substr(0, at));
        const std::string_view server = authority.substr(at == authority.npos ? 0 : at + 1);

        const std::string_view path = rest.substr(0, rest.find('?'));
        if (unix_socket) {
            if (!server.empty()) refuse(": host is not allowed before the path of a unix socket");
            take_path(path);
        } else {
            take_server(server);
            if (path.size() > 1) take_database(path.substr(1));
        }
        if (path.size() != rest.size()) take_query(rest.substr(path.size() + 1));
        return std::move(parts_);
    }

private:
    [[noreturn]] void refuse(const char* why) const { uri::refuse(source_, why); }

    /// Whether it is that of a unix socket.
    bool take_scheme(std::string_view& text) {
        const std::size_t end = text.find("://");
        if (end == text.npos) refuse(": scheme must be redis://, rediss:// or unix://");
        std::string scheme(text.substr(0, end));
        for (char& c : scheme)
            if (is_letter(c)) c = static_cast<char>(c | 0x20);
        text.remove_prefix(end + 3);
        if (scheme == "unix") return true;
        parts_.tls = scheme == "rediss";
        if (!parts_.tls && scheme != "redis")
            refuse(": scheme must be redis://, rediss:// or unix://");
        return false;
    }

    /// "user", "user:password" or ":password": the first ':' splits, as users have none.
    void take_credentials(std::string_view text) {
        const std::size_t colon = text.find(':');
        const std::string_view user = text.substr(0, colon);
        if (std::any_of(text.begin(), text.end(), is_control))
            refuse(": control characters in user or password must be percent-encoded");
        if (!user.empty()) {
            parts_.user = decoded(user);
            if (!parts_.user) refuse(": user has a bad percent escape");
        }
        if (colon != text.npos && colon + 1 < text.size()) {
            parts_.password = decoded(text.substr(colon + 1));
            if (!parts_.password) refuse(": password has a bad percent escape");
        }
    }

    /// "host", "host:port", ":port", "[v6]" or "[v6]:port".
    void take_server(std::string_view text) {
        std::string_view port;
        if (text.starts_with('[')) {
            const std::size_t end = text.find(']');
            if (end == text.npos) refuse(": host has a '[' without a ']'");
            const auto host = decoded(text.substr(1, end - 1));  // its zone follows "%25"
            if (!host || !is_ipv6(*host)) refuse(": host in brackets must be an IPv6 address");
            parts_.host = host;
            port = text.substr(end + 1);
            if (!port.empty() && port.front() != ':') refuse(": port must follow a ':'");
        } else {
            const std::size_t colon = text.find(':');
            const std::string_view host = text.substr(0, colon);
            if (colon != text.npos) port = text.substr(colon);
            if (port.find(':', 1) != port.npos)
                refuse(": host or port has one ':' too many; an IPv6 address needs brackets");
            if (!host.empty()) {
                if (!is_name(host))
                    refuse(": host must be a name, an IPv4 address or an IPv6 address in brackets");
                parts_.host = host;
            }
        }
        if (port.empty()) return;
        parts_.port = port_number(port.substr(1));
        if (!parts_.port) refuse(": port must be a number from 1 to 65535");
    }

    void take_path(std::string_view text) {
        parts_.path = decoded(text);
        if (!parts_.path) refuse(": path has a bad percent escape");
        if (!is_socket_path(*parts_.path))
            refuse(": path must be absolute, fit a socket address and have no control characters");
    }

    void take_database(std::string_view text) {
        if (parts_.database) refuse(": database is given twice");
        parts_.database = database_number(text);
        if (!parts_.database) refuse(": database must be a number, 0 or more");
    }

    void take_query(std::string_view text) {
        while (!text.empty()) {
            const std::string_view parameter = text.substr(0, text.find('&'));
            if (!parameter.starts_with("db=")) refuse(": query may only have db=N");
            take_database(parameter.substr(3));
            text.remove_prefix(std::min(text.size(), parameter.size() + 1));
        }
    }

    std::string_view source_;
    Parts parts_;
};

inline RedisEndpoint endpoint(Parts parts) {
    RedisEndpoint result;
    result.tls = parts.tls;
    if (parts.host) result.host = *std::move(parts.host);
    if (parts.port) result.port = *parts.port;
    if (parts.path) result.path = *std::move(parts.path);
    if (parts.user) result.user = *std::move(parts.user);
    if (parts.password) result.password = *std::move(parts.password);
    if (parts.database) result.database = *parts.database;
    return result;
}

/// The uri that parses to this endpoint. Contains the password.
inline std::string compose(const RedisEndpoint& to) {
    std::string credentials = encoded(to.user);
    if (!to.password.empty()) credentials += ":" + encoded(to.password);
    if (!credentials.empty()) credentials += "@";
    const std::string database = std::to_string(to.database);
    if (!to.path.empty())
        return "unix://" + credentials + encoded(to.path, "/") + "?db=" + database;
    const bool ipv6 = to.host.find(':') != std::string::npos;
    const std::string host = ipv6 ? "[" + encoded(to.host, ":") + "]" : encoded(to.host);
    return (to.tls ? "rediss://" : "redis://") + credentials + host + ":" +
           std::to_string(to.port) + "/" + database;
}

}  // namespace detail::uri

/// Reads `redis://[user][:password]@host[:port][/database]`, `rediss://…` for TLS, or
/// `unix://[user][:password]@/path[?db=N]`. What is left out has RedisEndpoint's defaults, and the
/// database may be `?db=N` everywhere. User, password and path are percent-decoded; an IPv6 host
/// stands in brackets. A user alone is a user without a password.
///
/// Throws std::invalid_argument that names the wrong part and shows nothing of the uri, whose
/// pieces may be secret.
inline RedisEndpoint parse_redis_uri(std::string_view uri) {
    return detail::uri::endpoint(detail::uri::Parser("uri").parse(uri));
}

}  // namespace drey
