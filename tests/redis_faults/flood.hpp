#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/process.hpp"

/// Servers that only a test would write.
namespace faults {

/// A TCP port where somebody listens.
inline std::pair<support::Descriptor, std::uint16_t> listener(int backlog) {
    support::Descriptor socket = support::bound_socket(0);
    support::must(::listen(socket.get(), backlog), "listen");
    sockaddr_in address{};
    socklen_t size = sizeof address;
    support::must(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size),
                  "getsockname");
    return {std::move(socket), ntohs(address.sin_port)};
}

/// Sends whoever connects the beginning of a reply, and then more of it as fast as it is taken, up
/// to a number of bytes in all.
class Flood {
public:
    Flood(std::string beginning, std::string_view more, std::size_t most)
        : beginning_(std::move(beginning)), most_(most), listener_(listener(16)) {
        while (more_.size() < 100'000) more_ += more;
        thread_ = std::thread([this] { run(); });
    }
    Flood(const Flood&) = delete;
    Flood& operator=(const Flood&) = delete;
    ~Flood() {
        stopped_ = true;
        thread_.join();
    }

    std::string uri() const { return "redis://127.0.0.1:" + std::to_string(listener_.second); }
    bool dried_up() const { return sent_ >= most_; }

private:
    void run() {
        support::Descriptor client;
        std::string left;
        while (!stopped_) {
            pollfd polled[] = {{listener_.first.get(), POLLIN, 0},
                               {client ? client.get() : -1, POLLOUT, 0}};
            ::poll(polled, 2, 10);
            if (support::Descriptor next(::accept4(listener_.first.get(), nullptr, nullptr,
                                                   SOCK_CLOEXEC | SOCK_NONBLOCK));
                next) {
                client = std::move(next);
                left = beginning_;
            }
            if (!client || dried_up()) continue;
            if (left.empty()) left = more_;
            const ssize_t count = ::send(client.get(), left.data(), left.size(), MSG_NOSIGNAL);
            if (count < 0 && errno != EAGAIN) client.close();
            if (count <= 0) continue;
            left.erase(0, static_cast<std::size_t>(count));
            sent_ += static_cast<std::size_t>(count);
        }
    }

    const std::string beginning_;
    std::string more_;
    const std::size_t most_;
    const std::pair<support::Descriptor, std::uint16_t> listener_;
    std::atomic<std::size_t> sent_{0};
    std::atomic<bool> stopped_{false};
    std::thread thread_;
};

/// A listener that accepts nobody and whose backlog is full: connecting to it takes for ever.
class FullBacklog {
public:
    explicit FullBacklog(bool is_unix) {
        if (is_unix) {
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            const std::string path = folder_ / "socket";
            path.copy(address.sun_path, sizeof address.sun_path - 1);
            uri_ = "unix://" + path;
            listener_ = support::Descriptor(
                support::must(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
            support::must(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address),
                                 sizeof address),
                          "bind");
            support::must(::listen(listener_.get(), 0), "listen");
            fill(address);
        } else {
            auto [socket, port] = listener(0);
            listener_ = std::move(socket);
            uri_ = "redis://127.0.0.1:" + std::to_string(port);
            fill(support::loopback(port));
        }
    }

    std::string uri() const { return uri_; }

private:
    template <class Address>
    void fill(const Address& address) {
        for (int i = 0; i < 4; ++i) {
            support::Descriptor client(support::must(
                ::socket(address_family(address), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                "socket"));
            ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
            clients_.push_back(std::move(client));
        }
    }
    static int address_family(const sockaddr_un&) { return AF_UNIX; }
    static int address_family(const sockaddr_in&) { return AF_INET; }

    support::TemporaryFolder folder_;
    support::Descriptor listener_;
    std::vector<support::Descriptor> clients_;
    std::string uri_;
};

}  // namespace faults
