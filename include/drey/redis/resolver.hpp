#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "drey/redis/outcome.hpp"
#include "drey/redis/socket.hpp"

namespace drey::redis {

/// Looks up the addresses of one host within a deadline. Thread-safe.
///
/// The system's resolver has no deadline and can take half a minute, so it runs on a thread of its
/// own, at most one at a time; whoever asks meanwhile waits for the same answer. A caller that
/// cannot wait longer leaves it running: the thread owns all that it touches.
class Resolver {
public:
    Resolver(std::string host, std::uint16_t port)
        : host_(std::move(host)), port_(std::to_string(port)) {}

    /// Throws std::system_error if no thread can be started.
    Outcome resolve(std::vector<Address>& addresses, TimePoint deadline) {
        if (numeric(addresses)) return {};
        const std::shared_ptr<Query> query = current();
        std::unique_lock lock(query->mutex);
        if (!query->done.wait_until(lock, deadline, [&] { return query->is_done; }))
            return {Errc::unreachable, "the name was not resolved in time"};
        addresses = query->addresses;
        if (query->error != 0) return {Errc::unreachable, ::gai_strerror(query->error)};
        return {};
    }

private:
    struct Query {
        std::mutex mutex;
        std::condition_variable done;
        bool is_done = false;
        int error = 0;
        std::vector<Address> addresses;
    };

    static int ask(const std::string& host, const std::string& port, int flags,
                   std::vector<Address>& addresses) {
        addrinfo hints{};
        hints.ai_family = AF_UNSPEC;
        hints.ai_socktype = SOCK_STREAM;
        hints.ai_flags = flags | AI_NUMERICSERV;
        addrinfo* list = nullptr;
        if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list); error != 0)
            return error;
        const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, ::freeaddrinfo);
        for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
            Address& address = addresses.emplace_back();
            std::memcpy(&address.bytes, one->ai_addr, one->ai_addrlen);
            address.size = one->ai_addrlen;
        }
        return 0;
    }

    bool numeric(std::vector<Address>& addresses) const {
        return ask(host_, port_, AI_NUMERICHOST, addresses) == 0;
    }

    std::shared_ptr<Query> current() {
        const std::lock_guard lock(mutex_);
        if (const auto running = query_.lock()) return running;
        auto query = std::make_shared<Query>();
        std::thread([query, host = host_, port = port_] {
            std::vector<Address> addresses;
            int error = EAI_MEMORY;
            try {
                error = ask(host, port, 0, addresses);
            } catch (const std::bad_alloc&) {
            }
            const std::lock_guard done(query->mutex);
            query->addresses = std::move(addresses);
            query->error = error;
            query->is_done = true;
            query->done.notify_all();
        }).detach();
        query_ = query;
        return query;
    }

    const std::string host_;
    const std::string port_;
    std::mutex mutex_;
    std::weak_ptr<Query> query_;  // the one that is running, or whose answer is being read
};

}  // namespace drey::redis
