/// Many threads while servers and connections come and go. Every value is a function of its key, so
/// that an answer which went to the wrong caller shows.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "redis_faults/faulty.hpp"

using namespace faults;

namespace {

std::string value_of(const std::string& key) {
    // Of very different lengths, up to what does not fit a buffer.
    const std::size_t length = std::size_t{1} << (std::stoul(key) % 17);
    std::string value;
    while (value.size() < length) value += key + ",";
    return value;
}

/// One call of a random kind; whether its answer was right, if there was one.
bool one_call(Cache& cache, support::Random& random) {
    const auto some_key = [&] { return std::to_string(random.below(40)); };
    const std::string key = some_key();
    const auto right = [](const std::string& of, const std::optional<std::string>& value) {
        return !value || *value == value_of(of);
    };
    switch (random.below(10)) {
        case 0:
            cache.put(key, value_of(key));
            return true;
        case 1:
            cache.erase(key);
            return true;
        case 2:
            return right(key, cache.take(key));
        case 3:
            cache.put_if_absent(key, value_of(key));
            return true;
        case 4: {
            bool good = true;
            cache.update(key, [&](std::optional<std::string> value) {
                good = good && right(key, value);
                return std::optional(value_of(key));
            });
            return good;
        }
        case 5: {
            const std::vector<std::string> keys{key, some_key(), some_key()};
            const auto values = cache.get_many(keys);
            bool good = values.size() == keys.size();
            for (std::size_t i = 0; good && i < keys.size(); ++i) good = right(keys[i], values[i]);
            return good;
        }
        case 6:
            return right(key, cache.get(key));
        default:
            return cache.get_or_load(key, [&] { return value_of(key); }) == value_of(key);
    }
}

/// Sixteen threads call while `disturb(i)` is done time and again; wrong answers, and how many
/// calls there were.
template <class Disturb>
void check_answers_under(Cache& cache, int times, Disturb&& disturb) {
    support::Failures failures;
    std::atomic<std::size_t> calls{0};
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 16; ++i)
        threads.emplace_back([&, i] {
            support::Random random(i);
            while (!stop) {
                failures.expect(one_call(cache, random));
                ++calls;
            }
        });
    for (int i = 0; i < times; ++i) {
        const std::size_t seen = calls;
        CHECK(eventually([&] { return calls > seen + 64; }, 20s));  // nothing hangs
        disturb(i);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(failures.count() == 0);
}

drey::RedisOptions hasty(Faulty& f) {
    auto options = f.options();
    options.mode = both_modes();
    options.connections = GENERATE(std::size_t{1}, std::size_t{3});
    options.breaker = {.failures = 20, .window = 1s, .open_for = 5ms};
    options.lease_wait = 20ms;  // leases die with their fills
    options.clock = {};
    options.on_error = {};
    return options;
}

void check_works_again(Faulty& f) {
    CHECK(eventually([&] { return f.works(); }, ample));
    CHECK(eventually([&] { return f.cache().status().unconfirmed == 0 && f.works(); }, ample));
    for (int i = 0; i < 40; ++i) {
        const std::string key = std::to_string(i);
        const auto found = f.cache().get(key);
        CHECK((!found || *found == value_of(key)));
    }
}

}  // namespace

TEST_CASE("threads get right answers while the server is killed and restarted",
          "[redis][faults][concurrent]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = hasty(f);
    options.uri = options.connections == 1 ? f.server.socket_uri() : f.server.uri();
    Cache& cache = f.make(options);
    check_answers_under(cache, 6, [&](int i) { i % 2 == 0 ? f.server.kill() : f.server.start(); });
    check_works_again(f);
}

TEST_CASE("threads get right answers while the server hangs and goes on",
          "[redis][faults][concurrent]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = hasty(f);
    options.timeout = 30ms;
    Cache& cache = f.make(options);
    check_answers_under(cache, 6,
                        [&](int i) { i % 2 == 0 ? f.server.pause() : f.server.resume(); });
    f.server.resume();
    check_works_again(f);
}

TEST_CASE("threads get right answers while connections break", "[redis][faults][concurrent]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make(hasty(f));
    support::Random random(7);
    check_answers_under(cache, 30, [&](int i) {
        switch (i % 4) {
            case 0:
                return f.proxy.reset();
            case 1:
                return f.proxy.cut_reply_after(random.below(100'000), 4);
            case 2:
                return f.proxy.reset_on_reply(4);
            default:
                return f.proxy.heal();
        }
    });
    f.proxy.heal();
    check_works_again(f);
}

TEST_CASE("threads get right answers while replies come late", "[redis][faults][concurrent]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = hasty(f);
    options.timeout = 20ms;
    Cache& cache = f.make(options);
    check_answers_under(cache, 9, [&](int i) {
        f.proxy.delay(std::chrono::milliseconds(6 * (i % 3)));  // both ways: 0, 12 or 24 ms
    });
    f.proxy.heal();
    check_works_again(f);
}

TEST_CASE("one caller's failure is not that of those who share its connection",
          "[redis][faults][concurrent]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = f.options();
    options.breaker.failures = 1'000'000;
    Cache& cache = f.make(options);
    f.server.command({"LPUSH", "drey:list", "x"});
    REQUIRE(cache.put("key", "value"));
    support::Failures failures;
    support::in_threads(8, [&](std::size_t i) {
        for (std::size_t n = 0; n < support::ops(300); ++n) {
            if (i % 2 == 0)
                failures.expect(cache.find("list").error() == Errc::wrong_type);
            else
                failures.expect(cache.get("key") == "value");
        }
    });
    CHECK(failures.count() == 0);
    CHECK(f.proxy.accepted() == 1);
}

TEST_CASE("breaker lets one of many threads try", "[redis][faults][concurrent]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make(both_modes());
    f.proxy.nonsense("!");
    f.check_fails({Errc::protocol});
    for (int round = 0; round < 5; ++round) {
        f.clock.advance(Faulty::rest);
        const std::size_t accepted = f.proxy.accepted();
        support::in_threads(16, [&](std::size_t) { cache.get("key"); });
        CHECK(f.proxy.accepted() <= accepted + 2);  // the probe, and its repetition
    }
    f.proxy.heal();
    f.check_recovers();
}
