#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "drey/redis/outcome.hpp"

namespace drey::redis {

/// A stream of bytes to a server and back: TCP, a unix socket, TLS over either, or a fake in tests.
/// Virtual rather than a template parameter, because a URI chooses it at run time; a virtual call
/// is nothing beside a system call.
///
/// For one thread at a time. No call outlasts its deadline by more than the scheduler's whim,
/// raises SIGPIPE or throws anything but std::bad_alloc. After a failure other than `timed_out` of
/// `receive`, the stream is of no use.
class Transport {
public:
    virtual ~Transport() = default;

    /// Sends all bytes of all parts, in order, or fails.
    virtual Outcome send(std::span<const std::string_view> parts, TimePoint deadline) = 0;

    /// Waits for bytes. `got` is how many came, at least 1 if this went well.
    virtual Outcome receive(std::span<char> room, std::size_t& got, TimePoint deadline) = 0;

    /// Closing will discard what was sent but not delivered: it should not reach the server later,
    /// when it may overtake what others have sent by then.
    virtual void abort() noexcept = 0;

    /// Whether the stream is open and nothing has come that nobody asked for, as far as is known
    /// here. Does not wait.
    virtual bool is_quiet() = 0;

protected:
    Transport() = default;
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;
};

}  // namespace drey::redis
