#pragma once

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "drey/redis/connection.hpp"
#include "drey/redis/endpoint.hpp"
#include "drey/redis/options.hpp"
#include "drey/redis/resolver.hpp"
#include "drey/redis/socket.hpp"
#if defined(DREY_WITH_OPENSSL)
#include "drey/redis/tls.hpp"
#endif

namespace drey::redis {

/// How to reach an endpoint: over TCP, a unix socket, or TLS. Throws std::invalid_argument if the
/// endpoint or the TLS options cannot work here.
inline Dial dial_to(const RedisEndpoint& endpoint, [[maybe_unused]] const TlsOptions& tls) {
    if (!endpoint.path.empty()) {
        return [address = Address::unix_path(endpoint.path)](
                   TimePoint deadline, Outcome& outcome) -> std::unique_ptr<Transport> {
            return Socket::connect({&address, 1}, deadline, outcome);
        };
    }
    auto resolver = std::make_shared<Resolver>(endpoint.host, endpoint.port);
    const auto tcp = [resolver](TimePoint deadline, Outcome& outcome) -> std::unique_ptr<Socket> {
        std::vector<Address> addresses;
        outcome = resolver->resolve(addresses, deadline);
        if (!outcome.ok()) return nullptr;
        return Socket::connect(addresses, deadline, outcome);
    };
    if (!endpoint.tls) return tcp;
#if defined(DREY_WITH_OPENSSL)
    auto context = std::make_shared<TlsContext>(tls, endpoint.host);
    return [tcp, context](TimePoint deadline, Outcome& outcome) -> std::unique_ptr<Transport> {
        auto socket = tcp(deadline, outcome);
        if (socket == nullptr) return nullptr;
        return context->secure(std::move(socket), deadline, outcome);
    };
#else
    throw std::invalid_argument(
        "drey: uri: rediss:// needs drey to be built with OpenSSL, which was not found");
#endif
}

}  // namespace drey::redis
