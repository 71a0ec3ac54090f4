#include "drey/writing/retry.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"
#include "writing/behind.hpp"

using Log = std::vector<std::string>;
using drey::Resting;

namespace {

std::chrono::nanoseconds delay(const drey::Retry& retry, std::size_t failures) {
    return std::chrono::nanoseconds(drey::detail::delay_after(retry, failures));
}

}  // namespace

TEST_CASE("delays grow by the factor, up to the longest, and never overflow") {
    const drey::Retry retry{.first_delay = 100ms, .factor = 3.0, .max_delay = 1s};
    CHECK(delay(retry, 1) == 100ms);
    CHECK(delay(retry, 2) == 300ms);
    CHECK(delay(retry, 3) == 900ms);
    CHECK(delay(retry, 4) == 1s);
    CHECK(delay(retry, std::numeric_limits<std::size_t>::max()) == 1s);
    CHECK(delay({.factor = 1.0}, 1000) == 100ms);
    CHECK(delay({.first_delay = 0s}, 1000) == 0s);
    const drey::Retry endless{.factor = 1e300, .max_delay = drey::never};
    CHECK(delay(endless, 1000) == std::chrono::nanoseconds::max());
}

TEST_CASE("what fails is tried again after longer and longer delays, and then given up") {
    Behind b({.flush_every = 0s, .retry = {.attempts = 3, .first_delay = 1s, .factor = 2.0}});
    b.database.down = true;
    b.behind.put(1, "a");
    b.behind.poll();
    CHECK(b.database.batches.size() == 1);
    b.pass(999ms);
    CHECK(b.database.batches.size() == 1);
    b.pass(1ms);
    CHECK(b.database.batches.size() == 2);
    b.pass(1999ms);
    CHECK(b.database.batches.size() == 2);
    CHECK(b.behind.get(1) == "a");
    CHECK(b.lost.empty());
    b.pass(1ms);
    CHECK(b.database.batches.size() == 3);
    REQUIRE(b.lost.size() == 1);
    CHECK(b.lost[0].key() == 1);
    CHECK(b.lost[0].value() == "a");
    CHECK(b.lost[0].attempts() == 3);
    CHECK(b.lost[0].is_final());
    CHECK(message_of(b.lost[0].why()) == "the database is down");
    const auto stats = b.behind.stats();
    CHECK(stats.failed == 1);
    CHECK(stats.retried == 2);
    CHECK(stats.pending == 0);
}

TEST_CASE(
    "the cache does not keep what was given up, nor what a load took from the queue meanwhile") {
    Behind<>* self = nullptr;
    Behind b({.retry = {.attempts = 1}});
    self = &b;
    b.database.write(1, "old");
    b.database.refused = {1};
    b.behind.put(1, "never written");
    b.cache.erase(1);
    // A load is under way, with the queued value, when the write is given up.
    CHECK(b.cache.get_or_load(1, [&] {
        auto queued = *self->behind.get(1);
        support::elsewhere([&] { self->behind.flush(); });
        return queued;
    }) == "never written");
    CHECK(b.lost.size() == 1);
    CHECK_FALSE(b.cache.contains(1));
    CHECK(b.load(1) == "old");
}

TEST_CASE("only the keys that a batch writer names are tried again") {
    Behind b({.flush_every = 1s, .retry = {.first_delay = 1s}});
    b.database.refused = {2};
    for (int key = 1; key <= 3; ++key) b.behind.put(key, "a");
    b.pass(1s);
    CHECK(b.database.log() == Log{"1=a", "3=a"});
    b.database.refused.clear();
    b.pass(1s);
    CHECK(b.database.log() == Log{"1=a", "3=a", "2=a"});
    CHECK(b.lost.empty());
}

TEST_CASE("a batch writer that names a key which is not in its batch has written nothing") {
    drey::Cache<int, int> cache{{.capacity = 10}};
    std::vector<std::string> reasons;
    auto behind = drey::write_behind(
        cache,
        [](std::span<const drey::Write<int, int>>) {
            drey::Unwritten<int> unwritten;
            unwritten.add(7);
            return unwritten;
        },
        {.on_failure = [&](const auto& failure) { reasons.push_back(message_of(failure.why())); },
         .retry = {.attempts = 1},
         .own_thread = false});
    behind.put(1, 1);
    behind.put(2, 2);
    CHECK(behind.flush().size() == 2);
    CHECK(reasons == Log(2, "drey: the batch writer returned a key that is not in its batch"));
}

TEST_CASE("a key without a reason gets one") {
    drey::Cache<int, int> cache{{.capacity = 10}};
    auto behind = drey::write_behind(
        cache,
        [](std::span<const drey::Write<int, int>> batch) {
            drey::Unwritten<int> unwritten;
            unwritten.add(batch[0].key);
            return unwritten;
        },
        {.on_failure = [&](const auto&) {}, .retry = {.attempts = 1}, .own_thread = false});
    behind.put(1, 1);
    const auto failures = behind.flush();
    REQUIRE(failures.size() == 1);
    CHECK_THROWS_AS(std::rethrow_exception(failures[0].why()), drey::NotWritten);
}

TEST_CASE("a new value for a key that rests waits for the rest, and has all attempts again") {
    Behind b({.flush_every = 0s, .retry = {.attempts = 2, .first_delay = 10s, .factor = 1.0}});
    b.database.down = true;
    b.behind.put(1, "a");
    b.behind.poll();
    b.behind.put(1, "b");
    b.pass(9s);
    CHECK(b.database.batches.size() == 1);
    b.pass(1s);
    CHECK(b.database.batches.size() == 2);
    CHECK(b.lost.empty());
    b.database.down = false;
    b.pass(10s);
    CHECK(b.database.log() == Log{"1=b"});
    CHECK(b.behind.stats().coalesced == 1);
}

TEST_CASE("a value that failed is not tried again once there is a newer one") {
    Behind b({.flush_every = 0s, .retry = {.attempts = 1, .first_delay = 10s}});
    b.behind.put(1, "a");
    b.database.before_batch = [&] {
        b.database.before_batch = nullptr;
        b.behind.put(1, "b");
        throw FakeDatabase::Down();
    };
    b.behind.poll();
    CHECK(b.lost.empty());
    CHECK(b.behind.validate());
    b.pass(10s);
    CHECK(b.database.log() == Log{"1=b"});
    const auto stats = b.behind.stats();
    CHECK((stats.queued == 2 && stats.coalesced == 1 && stats.written == 1));
}

TEST_CASE("a flush that reports tries everything once, whatever its rest, and keeps what fails") {
    Behind b({.flush_every = 1h, .retry = {.attempts = 3, .first_delay = 1h, .max_delay = 1h}});
    b.database.refused = {2};
    for (int key = 1; key <= 3; ++key) b.behind.put(key, "a");
    for (std::size_t attempt = 1; attempt <= 2; ++attempt) {
        const auto failures = b.behind.flush(Resting::report);
        REQUIRE(failures.size() == 1);
        CHECK(failures[0].key() == 2);
        CHECK(failures[0].value() == "a");
        CHECK(failures[0].attempts() == attempt);
        CHECK_FALSE(failures[0].is_final());
    }
    const auto failures = b.behind.flush(Resting::report);
    REQUIRE(failures.size() == 1);
    CHECK(failures[0].is_final());
    CHECK(b.lost.size() == 1);
    CHECK(b.behind.flush(Resting::report).empty());
    CHECK(b.database.log() == Log{"1=a", "3=a"});
}

TEST_CASE("a flush waits for retries, as the clock goes, and reports what was given up",
          "[concurrent]") {
    Behind b({.flush_every = 1h, .retry = {.attempts = 3, .first_delay = 1min, .max_delay = 1h}});
    b.database.refused = {2};
    b.behind.put(1, "a");
    b.behind.put(2, "b");
    support::Gate flushing;
    b.database.before_batch = [&] {
        if (b.database.batches.empty()) flushing.open();
    };
    std::vector<drey::WriteFailure<int, std::string>> failures;
    std::atomic<bool> done = false;
    std::thread flusher([&] {
        failures = b.behind.flush();
        done = true;
    });
    flushing.wait();  // the first attempt is the flush's own
    while (!done) {
        b.pass(1s);
        std::this_thread::yield();
    }
    flusher.join();
    REQUIRE(failures.size() == 1);
    CHECK(failures[0].key() == 2);
    CHECK(failures[0].attempts() == 3);
    CHECK(b.lost.size() == 1);
    CHECK(b.clock.now() >= 3min);
    CHECK(b.database.log() == Log{"1=a"});
}

TEST_CASE("destruction tries once more without waiting, and hands over what fails") {
    std::vector<drey::WriteFailure<int, std::string>> lost;
    FakeDatabase database;
    drey::ManualClock clock;
    drey::Cache<int, std::string> cache{{.capacity = 10}};
    {
        auto behind =
            drey::write_behind(cache, database.batch_writer(),
                               {.on_failure = [&](const auto& failure) { lost.push_back(failure); },
                                .flush_every = 0s,
                                .retry = {.attempts = 10, .first_delay = 1h, .max_delay = 1h},
                                .clock = clock,
                                .own_thread = false});
        database.refused = {1, 2, 3};
        behind.put(1, "a");
        behind.put(2, "b");
        behind.poll();
        behind.erase(3);
        database.refused = {2, 3};
    }
    CHECK(database.log() == Log{"1=a"});
    REQUIRE(lost.size() == 2);
    CHECK(lost[0].attempts() + lost[1].attempts() == 3);
    for (const auto& failure : lost) {
        CHECK(failure.is_final());
        CHECK(failure.value().has_value() == (failure.key() == 2));
    }
    CHECK(cache.get(1) == "a");
    CHECK_FALSE(cache.contains(2));
}

TEST_CASE("a handler that throws is counted, and the next failure is told all the same") {
    int told = 0;
    Behind b({.on_failure =
                  [&](const auto&) {
                      ++told;
                      throw std::runtime_error("handler");
                  },
              .retry = {.attempts = 1}});
    b.database.down = true;
    b.behind.put(1, "a");
    b.behind.put(2, "b");
    CHECK(b.behind.flush().size() == 2);
    CHECK(told == 2);
    CHECK(b.behind.stats().handler_failures == 2);
}

TEST_CASE("a handler may queue again what failed") {
    Behind<>* self = nullptr;
    Behind b({.on_failure =
                  [&](const auto& failure) { self->behind.put(failure.key(), *failure.value()); },
              .flush_every = 1s,
              .retry = {.attempts = 1}});
    self = &b;
    b.database.down = true;
    b.behind.put(1, "a");
    b.pass(1s);
    CHECK(b.behind.get(1) == "a");
    CHECK(b.cache.get(1) == "a");
    b.database.down = false;
    b.pass(1s);
    CHECK(b.database.log() == Log{"1=a"});
}

TEST_CASE(
    "whatever is put, erased, refused and waited for, nothing is lost and nothing comes back") {
    for (std::uint64_t seed = 1; seed <= support::ops(60); ++seed) {
        CAPTURE(seed);
        support::Random random(seed);
        std::map<int, std::optional<std::string>> wanted;  // what the database must have in the end
        Behind b({.flush_every = 5s,
                  .max_batch = 1 + random.below(5),
                  .max_queue = 1 + random.below(12),
                  .retry = {.attempts = 3, .first_delay = 2s}},
                 {.capacity = 1 + random.below(6)});
        std::size_t told = 0;
        bool agrees = true;
        const auto see_lost = [&] {
            for (; told < b.lost.size(); ++told) {
                const auto& failure = b.lost[told];
                agrees &= wanted.at(failure.key()) == failure.value();
                wanted[failure.key()] = b.database.read(failure.key());
            }
        };
        for (int i = 0; i < 400; ++i) {
            const int key = static_cast<int>(random.below(10));
            switch (random.below(8)) {
                case 0:
                    if (b.behind.try_erase(key)) wanted[key] = std::nullopt;
                    break;
                case 1:
                    b.database.refused = {static_cast<int>(random.below(10)), key};
                    break;
                case 2:
                    b.database.refused.clear();
                    break;
                case 3:
                    b.database.down = random.below(3) == 0;
                    break;
                case 4:
                    b.pass(std::chrono::seconds(random.below(4)));
                    break;
                case 5:
                    if (random.below(4) == 0) b.behind.flush(Resting::report);
                    break;
                default:
                    if (b.behind.try_put(key, std::to_string(i))) wanted[key] = std::to_string(i);
            }
            see_lost();
            agrees &= b.behind.validate() && b.cache.validate();
            const int other = static_cast<int>(random.below(10));
            agrees &= b.load(other) == (wanted.contains(other) ? wanted[other] : std::nullopt);
            if (!agrees) FAIL("at " << i << ", reading " << other);
        }
        b.database.refused.clear();
        b.database.down = false;
        b.behind.flush(Resting::report);
        see_lost();
        for (const auto& [key, value] : wanted) CHECK(b.database.read(key) == value);
        const auto stats = b.behind.stats();
        CHECK(stats.pending == 0);
        CHECK(stats.failed == b.lost.size());
        CHECK(stats.queued == stats.written + stats.coalesced + stats.failed);
    }
}

TEST_CASE("delays grow for a key that is put again and again, however often it fails") {
    Behind b({.flush_every = 0s, .retry = {.attempts = 2, .first_delay = 1s, .factor = 2.0}});
    b.database.down = true;
    b.behind.put(1, "a");
    b.behind.poll();
    for (const auto delay : {1s, 2s, 4s}) {
        const std::size_t attempts = b.database.batches.size();
        b.behind.put(1, "newer");  // which has all attempts again
        b.pass(delay - 1ms);
        CHECK(b.database.batches.size() == attempts);
        b.pass(1ms);
        CHECK(b.database.batches.size() == attempts + 1);
    }
    CHECK(b.lost.empty());
    b.database.down = false;
    b.pass(8s);
    b.database.down = true;
    b.behind.put(1, "b");
    b.behind.poll();
    b.database.down = false;
    b.pass(1s);
    CHECK(b.database.log() == Log{"1=newer", "1=b"});
}

namespace {

/// Tells when a thread that is not the first to ask looks at it.
struct TellingClock final : drey::Clock {
    std::chrono::nanoseconds now() const noexcept override {
        if (std::this_thread::get_id() != first && !told.exchange(true)) asked.open();
        return {};
    }

    const std::thread::id first = std::this_thread::get_id();
    mutable std::atomic<bool> told = false;
    mutable support::Gate asked;
};

}  // namespace

TEST_CASE("each of several flushes that wait for a write is told that it was given up",
          "[concurrent]") {
    TellingClock clock;
    FakeDatabase database;
    database.refused = {1};
    drey::Cache<int, std::string> cache{{.capacity = 10}};
    std::atomic<int> told = 0;
    auto behind = drey::write_behind(cache, database.batch_writer(),
                                     {.on_failure = [&](const auto&) { ++told; },
                                      .retry = {.attempts = 1},
                                      .clock = clock,
                                      .own_thread = false});
    behind.put(1, "a");
    support::Gate writing;
    database.before_batch = [&] {
        writing.open();
        clock.asked.wait();  // the other flush is under way
    };
    std::size_t failures = 0;
    std::thread other([&] {
        writing.wait();
        failures = behind.flush().size();
    });
    CHECK(behind.flush().size() == 1);
    other.join();
    CHECK(failures == 1);
    CHECK(told == 1);
}
