#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "drey/redis.hpp"
#include "support/redis_server.hpp"

namespace redis_facade {

using namespace std::chrono_literals;
using Texts = drey::Cache<std::string, std::string, drey::Redis<>>;
using Numbers = drey::Cache<std::string, int, drey::Redis<>>;

/// Options of a cache over the server that waits long before it gives up, as nothing is to fail.
inline drey::RedisOptions patient(const support::RedisServer& server) {
    return {.uri = server.uri(),
            .prefix = "app",
            .connect_timeout = 10s,
            .timeout = 10s,
            .lease = 10s,
            .lease_wait = 10s};
}

/// Collects what `.on_error` is told.
class Errors {
public:
    auto listener() {
        return [this](const drey::Error& error) {
            const std::lock_guard lock(mutex_);
            errors_.push_back(error);
        };
    }
    std::vector<drey::Error> all() const {
        const std::lock_guard lock(mutex_);
        return errors_;
    }

private:
    mutable std::mutex mutex_;
    std::vector<drey::Error> errors_;
};

inline bool is_there(support::RedisServer& server, const std::string& key) {
    return server.command({"EXISTS", key}).integer == 1;
}

}  // namespace redis_facade
