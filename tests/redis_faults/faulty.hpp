#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <drey/redis.hpp>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/process.hpp"
#include "support/redis_server.hpp"
#include "support/threads.hpp"

/// A cache, a real server, and something between the two that can go wrong.
namespace faults {

using namespace std::chrono_literals;
using namespace std::string_literals;
using drey::BreakerState;
using drey::Errc;
using drey::RedisMode;
using support::eventually;
using support::FaultProxy;
using support::no_redis_server;
using support::RedisServer;

using Cache = drey::Cache<std::string, std::string, drey::Redis<>>;

/// For calls that are to be answered, however busy the machine is, and for calls that are not.
inline constexpr std::chrono::milliseconds ample = 10s, brief = 150ms;

inline const std::string large(std::size_t{8} << 20, 'x');

/// What a cache told its `on_error`. Thread-safe.
class ErrorLog {
public:
    void add(const drey::Error& error) {
        const std::lock_guard lock(mutex_);
        errors_.push_back(error);
    }
    std::vector<drey::Error> all() const {
        const std::lock_guard lock(mutex_);
        return errors_;
    }
    std::size_t size() const { return all().size(); }
    drey::Error last() const { return all().at(size() - 1); }
    void clear() {
        const std::lock_guard lock(mutex_);
        errors_.clear();
    }

private:
    mutable std::mutex mutex_;
    std::vector<drey::Error> errors_;
};

/// How often the server has executed a command.
inline std::size_t executed(RedisServer& server, const std::string& command) {
    const std::string info = server.command({"INFO", "commandstats"}).text;
    const std::string line = "cmdstat_" + command + ":calls=";
    const std::size_t at = info.find(line);
    return at == info.npos ? 0 : std::stoul(info.substr(at + line.size()));
}

/// Checks at its end that no descriptor and no thread is left of what was made after it.
class LeakCheck {
public:
    LeakCheck() = default;
    LeakCheck(const LeakCheck&) = delete;
    LeakCheck& operator=(const LeakCheck&) = delete;
    ~LeakCheck() {
        // The other ends of connections are in this process too, and end a little later.
        CHECK(eventually([&] { return support::open_descriptors() <= descriptors_; }));
        CHECK(eventually([&] { return support::running_threads() <= threads_; }));
    }

private:
    const std::size_t descriptors_ = support::open_descriptors();
    const std::size_t threads_ = support::running_threads();
};

/// A cache that reaches its server through a proxy. The breaker opens after three failures and
/// rests for a second of a clock that the test moves.
class Faulty {
public:
    static constexpr std::size_t failures_to_open = 3;
    static constexpr auto window = 10s, rest = 1s;

    RedisServer server;
    FaultProxy proxy{server.port()};
    drey::ManualClock clock{1h};
    ErrorLog errors;

    explicit Faulty(support::RedisServerOptions options = {}) : server(std::move(options)) {
        server.command({"PING"});  // its own connection is there before descriptors are counted
        leak_check_.emplace();
    }

    drey::RedisOptions options() {
        return {.uri = server.uri_at(proxy.port()),
                .connect_timeout = ample,
                .timeout = ample,
                .breaker = {.failures = failures_to_open, .window = window, .open_for = rest},
                .on_error = [this](const drey::Error& error) { errors.add(error); },
                .clock = clock};
    }

    /// Makes the cache, with those options or what these leave out.
    Cache& make(drey::RedisOptions options) {
        cache_.emplace(std::move(options));
        return *cache_;
    }
    Cache& make(RedisMode mode = RedisMode::pipeline, drey::Ttl timeout = ample) {
        auto chosen = options();
        chosen.mode = mode;
        chosen.timeout = timeout;
        return make(std::move(chosen));
    }
    /// Makes it and uses it, so that it has a connection.
    Cache& make_connected(RedisMode mode = RedisMode::pipeline, drey::Ttl timeout = ample) {
        Cache& cache = make(mode, timeout);
        works();
        return cache;
    }
    Cache& cache() { return *cache_; }

    bool works() {
        const std::string value = "value" + std::to_string(++written_);
        return cache().put("works", value) && cache().get("works") == value &&
               cache().find("nothing").is_miss() && cache().erase("works") == 1;
    }

    /// What must be so while the server fails: calls end as promised and tell why; after enough of
    /// them the server is left alone.
    void check_fails(std::initializer_list<Errc> kinds) {
        clock.advance(window + 1ns);  // what failed before this does not count
        check_answers(kinds);
        CHECK(cache().status().breaker == BreakerState::open);
        const std::size_t accepted = proxy.accepted();
        check_answers({Errc::breaker_open});
        CHECK(proxy.accepted() == accepted);
    }

    /// The same where the server is well and only refuses: it is asked again each time.
    void check_refuses(std::initializer_list<Errc> kinds) {
        check_answers(kinds);
        check_answers(kinds);
        CHECK(cache().status().breaker == BreakerState::closed);
    }

    /// What must be so once the fault is over: one probe, as soon as the breaker has rested, and
    /// all is well.
    void check_recovers() {
        clock.advance(rest);
        CHECK(cache().find("probe").is_miss());
        CHECK(works());
        const drey::RedisStatus status = cache().status();
        CHECK(status.connected);
        CHECK(status.breaker == BreakerState::closed);
        CHECK(status.unconfirmed == 0);
        errors.clear();
        CHECK(cache().get_or_load("loaded", [] { return "loaded"s; }) == "loaded");
        CHECK(cache().get("loaded") == "loaded");
        CHECK(cache().erase("loaded") == 1);
        CHECK(errors.size() == 0);
    }

private:
    /// Three calls, each of which fails.
    void check_answers(std::initializer_list<Errc> kinds) {
        const auto expected = [&](const std::error_code& code) {
            return std::ranges::any_of(kinds, [&](Errc kind) { return code == kind; });
        };
        const auto counted = [&] {
            std::size_t count = 0;
            for (const Errc kind : kinds) count += cache().stats().failed(kind);
            return count;
        };
        errors.clear();
        const std::size_t before = counted();

        const auto found = cache().find("key");
        CHECK(found.is_failed());
        INFO("it was " << found.error().message());
        CHECK(expected(found.error()));
        CHECK(cache().get("key") == std::nullopt);
        CHECK(cache().get_or_load("key", [] { return "loaded"s; }) == "loaded");

        const auto told = errors.all();
        REQUIRE(told.size() == 3);
        constexpr std::array operations{"find", "get", "get_or_load"};
        for (std::size_t i = 0; i < told.size(); ++i) {
            INFO("told: " << told[i].code.message() << ": " << told[i].reason);
            CHECK(expected(told[i].code));
            CHECK(told[i].operation == operations[i]);
            CHECK(told[i].key == "drey:key");
        }
        CHECK(counted() == before + 3);
    }

    std::optional<LeakCheck> leak_check_;
    std::optional<Cache> cache_;
    int written_ = 0;
};

inline auto both_modes() { return GENERATE(RedisMode::pipeline, RedisMode::pool); }

}  // namespace faults
