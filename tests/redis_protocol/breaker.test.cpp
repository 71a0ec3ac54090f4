#include <atomic>
#include <chrono>
#include <cstddef>
#include <vector>

#include "drey/clock.hpp"
#include "drey/redis/breaker.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// When a server is asked at all.

namespace {

using drey::BreakerState;
using namespace std::chrono_literals;

/// A breaker that remembers how each thread was admitted last.
class Breaker : public drey::redis::Breaker {
public:
    Breaker(const drey::BreakerOptions& options, drey::ClockRef clock)
        : drey::redis::Breaker(options, clock) {
        last = Admission::usual;
    }
    bool admits() { return (last = admit()) != Admission::refused; }
    void succeeded() { drey::redis::Breaker::succeeded(last); }
    void failed() { drey::redis::Breaker::failed(last); }

    static inline thread_local Admission last = Admission::usual;
};

struct Fixture {
    /// Admitted and failed.
    void fail(std::size_t times = 1) {
        for (std::size_t i = 0; i < times; ++i) {
            REQUIRE(breaker.admits());
            breaker.failed();
        }
    }
    void open() {
        fail(3);
        REQUIRE(breaker.state() == BreakerState::open);
    }
    void half_open() {
        open();
        clock.advance(1s);
        REQUIRE(breaker.admits());
        REQUIRE(breaker.state() == BreakerState::half_open);
    }

    drey::ManualClock clock{1h};
    Breaker breaker{{.failures = 3, .window = 10s, .open_for = 1s}, clock};
};

}  // namespace

TEST_CASE("breaker is closed at first, and failures below the number leave it so") {
    Fixture f;
    CHECK(f.breaker.state() == BreakerState::closed);
    f.fail(2);
    CHECK(f.breaker.state() == BreakerState::closed);
    CHECK(f.breaker.admits());
}

TEST_CASE("breaker opens at the last failure of the number") {
    Fixture f;
    f.fail(3);
    CHECK(f.breaker.state() == BreakerState::open);
    CHECK_FALSE(f.breaker.admits());
}

TEST_CASE("breaker of one failure opens at once") {
    drey::ManualClock clock;
    Breaker breaker({.failures = 1, .window = 1ns, .open_for = 1ns}, clock);
    breaker.failed();
    CHECK_FALSE(breaker.admits());
    clock.advance(1ns);
    CHECK(breaker.admits());
}

TEST_CASE("old failures age out of the window") {
    Fixture f;
    f.fail(2);
    f.clock.advance(10s + 1ns);
    f.fail(2);
    CHECK(f.breaker.state() == BreakerState::closed);
    f.clock.advance(10s);
    f.fail();
    CHECK(f.breaker.state() == BreakerState::open);
}

TEST_CASE("successes between failures do not hide them") {
    Fixture f;
    f.fail(2);
    REQUIRE(f.breaker.admits());
    f.breaker.succeeded();
    f.fail();
    CHECK(f.breaker.state() == BreakerState::open);
}

TEST_CASE("open breaker admits nobody until its time is over, then one") {
    Fixture f;
    f.open();
    f.clock.advance(1s - 1ns);
    CHECK_FALSE(f.breaker.admits());
    f.clock.advance(1ns);
    CHECK(f.breaker.admits());
    CHECK(f.breaker.state() == BreakerState::half_open);
    CHECK_FALSE(f.breaker.admits());
    f.clock.advance(1h);
    CHECK_FALSE(f.breaker.admits());
}

TEST_CASE("probe that goes well closes the breaker, which has forgotten its failures") {
    Fixture f;
    f.half_open();
    f.breaker.succeeded();
    CHECK(f.breaker.state() == BreakerState::closed);
    f.fail(2);
    CHECK(f.breaker.state() == BreakerState::closed);
    f.fail();
    CHECK(f.breaker.state() == BreakerState::open);
}

TEST_CASE("probe that fails opens the breaker for its whole time again") {
    Fixture f;
    f.half_open();
    f.breaker.failed();
    CHECK(f.breaker.state() == BreakerState::open);
    f.clock.advance(1s - 1ns);
    CHECK_FALSE(f.breaker.admits());
    f.clock.advance(1ns);
    CHECK(f.breaker.admits());
    f.breaker.succeeded();
    CHECK(f.breaker.state() == BreakerState::closed);
}

TEST_CASE("calls that fail late do not hold the breaker open longer") {
    Fixture f;
    for (int i = 0; i < 6; ++i) REQUIRE(f.breaker.admits());
    for (int i = 0; i < 3; ++i) f.breaker.failed();
    f.clock.advance(500ms);
    f.breaker.failed();
    f.breaker.succeeded();
    CHECK(f.breaker.state() == BreakerState::open);
    f.clock.advance(500ms);
    CHECK(f.breaker.admits());
}

TEST_CASE("what was admitted before says nothing about the probe's server") {
    Fixture f;
    f.half_open();
    drey::redis::Breaker& breaker = f.breaker;
    breaker.failed(Breaker::Admission::usual);
    CHECK(f.breaker.state() == BreakerState::half_open);
    breaker.succeeded(Breaker::Admission::usual);
    CHECK(f.breaker.state() == BreakerState::half_open);
    breaker.succeeded(Breaker::Admission::probe);
    CHECK(f.breaker.state() == BreakerState::closed);
}

TEST_CASE("times without end do not overflow") {
    drey::ManualClock clock{1h};
    Breaker breaker({.failures = 2, .window = drey::never, .open_for = drey::never}, clock);
    breaker.failed();
    clock.advance(24h * 365);
    breaker.failed();
    CHECK(breaker.state() == BreakerState::open);
    clock.advance(24h * 365);
    CHECK_FALSE(breaker.admits());
}

TEST_CASE("of many threads one is the probe", "[concurrent]") {
    for (std::size_t round = 0; round < support::ops(200); ++round) {
        Fixture f;
        f.open();
        f.clock.advance(1s);
        std::atomic<std::size_t> admitted{0};
        support::in_threads(4, [&](std::size_t) {
            for (int i = 0; i < 10; ++i) admitted += f.breaker.admits() ? 1 : 0;
        });
        REQUIRE(admitted == 1);
    }
}

TEST_CASE("breaker that threads use at will ends up closed once all goes well", "[concurrent]") {
    Fixture f;
    support::in_threads(4, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::size_t i = 0; i < support::ops(5000); ++i) {
            f.clock.advance(10ms);
            if (!f.breaker.admits()) continue;
            random.below(2) == 0 ? f.breaker.succeeded() : f.breaker.failed();
        }
    });
    f.clock.advance(1s);
    CHECK(f.breaker.admits());
    f.breaker.succeeded();
    CHECK(f.breaker.state() == BreakerState::closed);
}
