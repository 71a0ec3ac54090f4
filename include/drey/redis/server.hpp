#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "drey/redis/breaker.hpp"
#include "drey/redis/call.hpp"
#include "drey/redis/channel.hpp"
#include "drey/redis/dial.hpp"
#include "drey/redis/endpoint.hpp"
#include "drey/redis/lane.hpp"
#include "drey/redis/options.hpp"
#include "drey/redis/pool.hpp"

namespace drey::redis {

/// One server: the connections to it, and the breaker that says whether it is asked. Thread-safe.
class Server {
public:
    /// `dial` is how tests put another transport in.
    explicit Server(const RedisOptions& options, Dial dial = {})
        : endpoint_(parse_redis_uri(options.uri)),
          connecting_{dial ? std::move(dial) : dial_to(endpoint_, options.tls),
                      {endpoint_.user, endpoint_.password, endpoint_.database},
                      detail::limit_of(options.connect_timeout)},
          breaker_(options.breaker, options.clock) {
        const std::size_t count = detail::connection_count(options.mode, options.connections);
        if (options.mode == RedisMode::pool) {
            pool_.emplace(connecting_, count);
        } else {
            for (std::size_t i = 0; i < count; ++i) lanes_.emplace_back(connecting_);
        }
    }

    /// Runs the call to its end, or finishes it at once while the breaker is open.
    void run(Call& call) {
        const Breaker::Admission admitted = breaker_.admit();
        if (admitted == Breaker::Admission::refused) return call.finish(Errc::breaker_open);
        Report report(breaker_, admitted);
        if (pool_) {
            pool_->run(call);
        } else {
            lane().run(call);
        }
        report.health = health_by(call);
    }

    bool connected() const {
        if (pool_) return pool_->connected();
        for (const Lane& lane : lanes_)
            if (lane.connected()) return true;
        return false;
    }

    BreakerState breaker() const noexcept { return breaker_.state(); }
    const RedisEndpoint& endpoint() const noexcept { return endpoint_; }

private:
    enum class Health { good, bad, unknown };

    /// A breaker that is not told how its probe went would never close, so it is told even if the
    /// call throws.
    struct Report {
        Report(Breaker& to, Breaker::Admission how) : breaker(to), admitted(how) {}
        Report(const Report&) = delete;
        Report& operator=(const Report&) = delete;
        ~Report() {
            if (health == Health::good) {
                breaker.succeeded(admitted);
            } else if (health == Health::bad || admitted == Breaker::Admission::probe) {
                breaker.failed(admitted);
            }
        }

        Breaker& breaker;
        const Breaker::Admission admitted;
        Health health = Health::unknown;
    };

    /// What a call tells of the server. A refused command is the command's fault, a crowded pool
    /// ours.
    static Health health_by(const Call& call) {
        if (call.outcome.error == Errc::saturated) return Health::unknown;
        if (!call.outcome.ok()) return Health::bad;
        if (call.replies.empty() || !call.replies[0].is_error()) return Health::good;
        const std::string_view error = call.replies[0].text;
        const bool serves = meaning_of(error) != Errc::unavailable && !error.starts_with("NOAUTH");
        return serves ? Health::good : Health::bad;
    }

    Lane& lane() {
        if (lanes_.size() == 1) return lanes_.front();
        return lanes_[turn_.fetch_add(1, std::memory_order_relaxed) % lanes_.size()];
    }

    const RedisEndpoint endpoint_;
    const Connecting connecting_;
    Breaker breaker_;
    std::deque<Lane> lanes_;  // or
    std::optional<Pool> pool_;
    std::atomic<std::size_t> turn_{0};
};

}  // namespace drey::redis
