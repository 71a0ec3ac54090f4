#pragma once

#include <string_view>
#include <utility>

#include "drey/redis/connection.hpp"
#include "drey/redis/options.hpp"
#include "drey/redis/server.hpp"

namespace drey::redis {

/// Which server a key lives on: the one place that knows. Today there is one. With Redis Cluster
/// this is where slots become servers, with Sentinel where the master's address comes from.
class Router {
public:
    explicit Router(const RedisOptions& options, Dial dial = {})
        : only_(options, std::move(dial)) {}

    Server& server_of(std::string_view /*key*/) noexcept { return only_; }

    /// Calls `f(Server&)` for each server, until it returns false.
    template <class F>
    void each_server(F&& f) {
        f(only_);
    }

private:
    Server only_;
};

}  // namespace drey::redis
