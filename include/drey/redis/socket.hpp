#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "drey/redis/outcome.hpp"
#include "drey/redis/transport.hpp"

namespace drey::redis {

/// Where a socket can connect to.
struct Address {
    sockaddr_storage bytes{};
    socklen_t size = 0;

    const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&bytes); }

    /// Throws std::invalid_argument if the path is too long for a socket's name.
    static Address unix_path(std::string_view path) {
        sockaddr_un name{};
        if (path.size() >= sizeof name.sun_path)
            throw std::invalid_argument("drey: uri: the path of the unix socket is too long");
        name.sun_family = AF_UNIX;
        std::memcpy(name.sun_path, path.data(), path.size());
        Address address;
        std::memcpy(&address.bytes, &name, sizeof name);
        address.size = sizeof name;
        return address;
    }
};

/// A connected TCP or unix socket with a deadline for everything.
///
/// Why not hiredis' own: a write to a peer that has gone raises SIGPIPE there, its connect timeout
/// does not bound commands, and `redisReconnect` of 0.14 forgets the command timeout.
///
/// The socket is in blocking mode and every call but one says MSG_DONTWAIT, then polls with what is
/// left of the deadline. The exception is what makes a round trip as cheap as with a bare blocking
/// socket, two system calls instead of four: where the deadline is far, the first `recv` blocks,
/// but for `patience` at most (SO_RCVTIMEO), and the exact waiting is left to poll.
///
/// Before it sleeps it looks again and again for a moment: on one machine the reply often comes
/// sooner than a sleeping thread can be woken. Where that was in vain a few times, because the
/// server is far away or needs this core, it is rarely tried.
class Socket final : public Transport {
public:
    /// Tries the addresses in turn, each with a fair share of the time that is left.
    static std::unique_ptr<Socket> connect(std::span<const Address> addresses, TimePoint deadline,
                                           Outcome& outcome) {
        outcome = {Errc::unreachable, "the name has no address"};
        for (std::size_t i = 0; i < addresses.size(); ++i) {
            const auto now = Clock::now();
            const auto share = (deadline - now) / static_cast<int>(addresses.size() - i);
            std::unique_ptr<Socket> socket(new Socket);
            outcome = socket->open(addresses[i], now + share);
            if (outcome.ok()) return socket;
        }
        return nullptr;
    }

    ~Socket() override {
        if (fd_ >= 0) ::close(fd_);
    }

    Outcome send(std::span<const std::string_view> parts, TimePoint deadline) override {
        std::array<iovec, 64> window;
        std::size_t skip = 0;  // bytes of the first part that are sent already
        while (!parts.empty()) {
            const std::size_t count = std::min(parts.size(), window.size());
            for (std::size_t i = 0; i < count; ++i)
                window[i] = {const_cast<char*>(parts[i].data()), parts[i].size()};
            window[0] = {const_cast<char*>(parts[0].data()) + skip, parts[0].size() - skip};
            msghdr message{};
            message.msg_iov = window.data();
            message.msg_iovlen = count;
            const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent < 0) {
                if (errno == EINTR) continue;
                if (errno != EAGAIN && errno != EWOULDBLOCK) return broken(errno);
                if (auto waited = wait(POLLOUT, deadline); !waited.ok()) return waited;
                continue;
            }
            skip += static_cast<std::size_t>(sent);
            while (!parts.empty() && skip >= parts[0].size()) {
                skip -= parts[0].size();
                parts = parts.subspan(1);
            }
        }
        return {};
    }

    Outcome receive(std::span<char> room, std::size_t& got, TimePoint deadline) override {
        const TimePoint now = Clock::now();
        const bool far = deadline > now + 3 * patience;
        if (far && is_worth_looking()) {
            const TimePoint until = now + looking;
            do {
                const ssize_t count = ::recv(fd_, room.data(), room.size(), MSG_DONTWAIT);
                if (count > 0) {
                    hope_ = most_hope;
                    got = static_cast<std::size_t>(count);
                    return {};
                }
                if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) break;
            } while (Clock::now() < until);
            --hope_;
        }
        for (int flags = far ? 0 : MSG_DONTWAIT;; flags = MSG_DONTWAIT) {
            const ssize_t count = ::recv(fd_, room.data(), room.size(), flags);
            if (count > 0) {
                got = static_cast<std::size_t>(count);
                return {};
            }
            if (count == 0) return {Errc::disconnected, "closed by the server"};
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) return broken(errno);
            if (auto waited = wait(POLLIN, deadline); !waited.ok()) return waited;
        }
    }

    void abort() noexcept override {
        const linger now{1, 0};  // a reset instead of a farewell
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }

    bool is_quiet() override {
        char byte = 0;
        const ssize_t count = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr auto patience = std::chrono::milliseconds(10);
    static constexpr auto looking = std::chrono::microseconds(50);
    static constexpr int most_hope = 8;
    static constexpr unsigned rarely = 256;

    Socket() = default;

    Outcome open(const Address& address, TimePoint deadline) {
        fd_ = ::socket(address.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd_ < 0) return failed(errno);
        while (::connect(fd_, address.get(), address.size) != 0) {
            if (errno == EINTR || errno == EINPROGRESS) {
                if (auto waited = wait(POLLOUT, deadline); !waited.ok())
                    return {Errc::unreachable, "no connection in time"};
                int error = 0;
                socklen_t size = sizeof error;
                ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
                if (error != 0) return failed(error);
                break;
            }
            // A unix socket whose backlog is full cannot be polled for room.
            if (errno != EAGAIN) return failed(errno);
            if (Clock::now() >= deadline) return {Errc::unreachable, "no connection in time"};
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        const int on = 1;
        if (address.bytes.ss_family != AF_UNIX) {
            ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            ::setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        }
        const timeval limit{0, std::chrono::microseconds(patience).count()};
        if (::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
            return failed(errno);
        const int flags = ::fcntl(fd_, F_GETFL);
        if (flags < 0 || ::fcntl(fd_, F_SETFL, flags & ~O_NONBLOCK) != 0) return failed(errno);
        return {};
    }

    Outcome wait(short events, TimePoint deadline) const {
        for (;;) {
            const TimePoint now = Clock::now();
            if (now >= deadline) return {Errc::timed_out};
            const auto left = deadline - now;
            pollfd one{fd_, events, 0};
            const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
            const timespec limit{
                static_cast<time_t>(seconds.count()),
                static_cast<long>(std::chrono::nanoseconds(left - seconds).count())};
            const int ready = ::ppoll(&one, 1, &limit, nullptr);
            if (ready > 0) return {};
            if (ready < 0 && errno != EINTR) return broken(errno);
        }
    }

    static Outcome failed(int error) {
        return {Errc::unreachable, std::system_category().message(error)};
    }
    static Outcome broken(int error) {
        return {Errc::disconnected, std::system_category().message(error)};
    }

    /// Whether to look for a reply has not been in vain lately, or it is time to try again.
    bool is_worth_looking() noexcept {
        if (hope_ <= 0 && ++waits_ % rarely == 0) hope_ = 1;
        return hope_ > 0;
    }

    int fd_ = -1;
    int hope_ = most_hope;  // how often looking may still be in vain
    unsigned waits_ = 0;    // without looking
};

}  // namespace drey::redis
