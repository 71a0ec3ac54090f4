#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace drey {

/// A loader asked for the very key that it is loading, itself or by way of another thread's load
/// that waits for it; waiting would never end.
class ReentrantLoad : public std::logic_error {
public:
    ReentrantLoad()
        : std::logic_error(
              "drey::ReentrantLoad: the loader of a key asked the cache to load that same key") {}
};

/// A load took longer than `.hard_timeout`, and no stale value was at hand. It goes on without the
/// caller, and what it brings is stored.
class LoadTimeout : public std::runtime_error {
public:
    LoadTimeout()
        : std::runtime_error("drey::LoadTimeout: the loader took longer than hard_timeout") {}
};

/// Who awaited a load has cancelled that; the load goes on.
class LoadCancelled : public std::runtime_error {
public:
    LoadCancelled()
        : std::runtime_error("drey::LoadCancelled: the wait for a load was cancelled") {}
};

/// The executor dropped a load, or the cache was destroyed before it began.
class LoadAbandoned : public std::runtime_error {
public:
    LoadAbandoned() : std::runtime_error("drey::LoadAbandoned: the load was never begun") {}
};

/// Why a snapshot could not be written or restored.
enum class SnapshotFault {
    unwritable,     ///< the stream took no more: a full disk, perhaps
    unreadable,     ///< the stream could not be opened or failed
    foreign,        ///< something else than a snapshot
    truncated,      ///< it ends early
    corrupt,        ///< it is not what was written
    trailing,       ///< something follows it
    other_version,  ///< a drey of another version wrote it, and this one cannot read it
    other_codec,    ///< another codec wrote keys or values
    other_schema,   ///< it was written under another schema
    undecodable,    ///< the codec refused a key or a value: a change without a new schema
};

/// A snapshot could not be written, or not be restored: then the cache is as it was.
class SnapshotError : public std::runtime_error {
public:
    explicit SnapshotError(SnapshotFault fault)
        : std::runtime_error(std::string("drey::SnapshotError: ") + text(fault)), fault_(fault) {}

    SnapshotFault fault() const noexcept { return fault_; }

private:
    static const char* text(SnapshotFault fault) noexcept {
        switch (fault) {
            case SnapshotFault::unwritable:
                return "the stream could not be written to";
            case SnapshotFault::unreadable:
                return "the stream could not be read";
            case SnapshotFault::foreign:
                return "this is not a snapshot";
            case SnapshotFault::truncated:
                return "the snapshot ends early";
            case SnapshotFault::corrupt:
                return "the snapshot is corrupt: its checksum or a field is wrong";
            case SnapshotFault::trailing:
                return "something follows the snapshot";
            case SnapshotFault::other_version:
                return "a drey of another version wrote the snapshot";
            case SnapshotFault::other_codec:
                return "another codec wrote the snapshot";
            case SnapshotFault::other_schema:
                return "the snapshot was written under another schema";
            case SnapshotFault::undecodable:
                return "the codec refused a key or a value of the snapshot";
        }
        return "unknown";
    }

    SnapshotFault fault_;
};

/// What can go wrong between a cache and a server. The values are stable: they index
/// `Stats::errors`.
enum class Errc {
    unreachable = 1,  ///< no connection: refused, no route, unknown name
    timed_out,        ///< the server did not answer in time
    disconnected,     ///< the connection ended before the answer was complete
    tls,              ///< no secure connection: certificate, handshake
    protocol,         ///< the answer made no sense
    denied,           ///< wrong password, or the user may not do this
    unavailable,      ///< the server is there and does not serve: loading, busy, no master
    read_only,        ///< a write to a replica
    out_of_memory,    ///< the server is full and evicts nothing
    wrong_type,       ///< what is at the key is not a string
    command_failed,   ///< any other error the server replied with
    saturated,        ///< every connection of the pool was in use all the time
    breaker_open,     ///< not tried: the server failed too often just now
    contended,        ///< others wrote the key each time between our look and our write
    unencodable,      ///< the codec refused a value that was to be stored
    undecodable,      ///< the bytes at the key are not a value of this cache; read as a miss
    too_large,        ///< the value is larger than the server takes (512 MiB)
};
inline constexpr std::size_t error_kinds = 18;  // index 0 is no error

}  // namespace drey

template <>
struct std::is_error_code_enum<drey::Errc> : std::true_type {};

namespace drey {

/// The category of Errc, named "drey".
inline const std::error_category& error_category() noexcept {
    class Category final : public std::error_category {
        const char* name() const noexcept override { return "drey"; }
        std::string message(int value) const override {
            switch (static_cast<Errc>(value)) {
                case Errc::unreachable:
                    return "the server cannot be reached";
                case Errc::timed_out:
                    return "the server did not answer in time";
                case Errc::disconnected:
                    return "the connection ended early";
                case Errc::tls:
                    return "no secure connection could be made";
                case Errc::protocol:
                    return "the server's answer made no sense";
                case Errc::denied:
                    return "the server denied access";
                case Errc::unavailable:
                    return "the server does not serve at the moment";
                case Errc::read_only:
                    return "the server is a read-only replica";
                case Errc::out_of_memory:
                    return "the server is out of memory";
                case Errc::wrong_type:
                    return "the key holds something that is not a string";
                case Errc::command_failed:
                    return "the server refused the command";
                case Errc::saturated:
                    return "every connection is in use";
                case Errc::breaker_open:
                    return "the server failed too often to be asked now";
                case Errc::contended:
                    return "others kept writing the key";
                case Errc::unencodable:
                    return "the codec refused the value";
                case Errc::undecodable:
                    return "the key holds bytes that are no value of this cache";
                case Errc::too_large:
                    return "the value is too large for the server";
            }
            return "unknown error";
        }
    };
    static const Category category;
    return category;
}

inline std::error_code make_error_code(Errc code) noexcept {
    return {static_cast<int>(code), error_category()};
}

/// One failure of a remote cache, as `.on_error` gets it. Holds no credentials and no values.
struct Error {
    std::error_code code;   ///< of `error_category()`; compares with Errc
    std::string operation;  ///< the facade's call: "get", "put", ...
    std::string key;        ///< as the server knows it, with its prefix; empty if there is none
    std::string reason;     ///< what the server or the system said
};

/// Thrown by a remote cache with `.on_failure = OnFailure::throws`, and only then.
class RemoteError : public std::system_error {
public:
    explicit RemoteError(Error error)
        : std::system_error(error.code, text(error)), error_(std::move(error)) {}

    const Error& error() const noexcept { return error_; }

private:
    static std::string text(const Error& error) {
        std::string text = "drey: " + error.operation;
        if (!error.key.empty()) text += " '" + error.key + "'";
        if (!error.reason.empty()) text += ": " + error.reason;
        return text;
    }

    Error error_;
};

}  // namespace drey
