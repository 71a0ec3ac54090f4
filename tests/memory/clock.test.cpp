#include "drey/clock.hpp"

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ratio>

#include "support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using drey::deadline_after;
using drey::no_deadline;
using drey::Ttl;

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();

}  // namespace

TEST_CASE("TTL is what the duration says, in nanoseconds", "[clock]") {
    STATIC_REQUIRE(Ttl(5s).nanoseconds() == 5'000'000'000);
    STATIC_REQUIRE(Ttl(1ns).nanoseconds() == 1);
    STATIC_REQUIRE(Ttl(-1ns).nanoseconds() == -1);
    STATIC_REQUIRE(Ttl(0h).nanoseconds() == 0);
    CHECK(Ttl(std::chrono::duration<double>(0.5)).nanoseconds() == 500'000'000);
    CHECK(Ttl(std::chrono::duration<float, std::milli>(0.25f)).nanoseconds() == 250'000);
    CHECK(Ttl(std::chrono::duration<int, std::pico>(1999)).nanoseconds() == 1);
    CHECK(Ttl(std::chrono::duration<std::uint8_t>(200)).nanoseconds() == 200'000'000'000);
}

TEST_CASE("TTL is exact up to the last nanosecond", "[clock]") {
    CHECK(Ttl(std::chrono::nanoseconds(most)).nanoseconds() == most);
    CHECK(Ttl(std::chrono::nanoseconds(most - 1)).nanoseconds() == most - 1);
    CHECK(Ttl(std::chrono::nanoseconds(least + 1)).nanoseconds() == least + 1);
    CHECK(Ttl(std::chrono::microseconds(most / 1000)).nanoseconds() == most / 1000 * 1000);
}

TEST_CASE("TTL saturates in both directions and from every representation", "[clock]") {
    STATIC_REQUIRE(Ttl(std::chrono::hours::max()).nanoseconds() == most);
    STATIC_REQUIRE(Ttl(std::chrono::hours::min()).nanoseconds() == least);
    CHECK(Ttl(std::chrono::nanoseconds::max()) == drey::never);
    CHECK(Ttl(std::chrono::microseconds(most / 1000 + 1)).nanoseconds() == most);
    CHECK(Ttl(std::chrono::duration<std::uint64_t, std::nano>(
                  std::numeric_limits<std::uint64_t>::max()))
              .nanoseconds() == most);
    CHECK(Ttl(std::chrono::duration<double>(1e300)).nanoseconds() == most);
    CHECK(Ttl(std::chrono::duration<float>(-1e30f)).nanoseconds() == least);
    CHECK(Ttl(std::chrono::duration<double, std::nano>(0x1p63)).nanoseconds() == most);
    CHECK(Ttl(std::chrono::duration<double, std::nano>(0x1p63 - 1024)).nanoseconds() ==
          most - 1023);
    CHECK(Ttl(std::chrono::duration<long double, std::nano>(1e19L)).nanoseconds() == most);
    CHECK(Ttl(std::chrono::duration<long double>(std::numeric_limits<long double>::infinity()))
              .nanoseconds() == most);
    CHECK(Ttl(std::chrono::duration<double>(-std::numeric_limits<double>::infinity()))
              .nanoseconds() == least);
}

TEST_CASE("TTL that is not a number is as negative as can be, so that it is refused", "[clock]") {
    CHECK(Ttl(std::chrono::duration<double>(std::nan(""))).nanoseconds() == least);
    CHECK(Ttl(std::chrono::duration<float, std::nano>(std::nanf(""))).nanoseconds() == least);
    CHECK(Ttl(std::chrono::duration<long double>(std::nanl(""))).nanoseconds() == least);
}

TEST_CASE("deadline saturates and never lies before now", "[clock]") {
    STATIC_REQUIRE(deadline_after(100, 5) == 105);
    STATIC_REQUIRE(deadline_after(100, 0) == 100);
    STATIC_REQUIRE(deadline_after(100, -5) == 100);
    STATIC_REQUIRE(deadline_after(-100, 5) == -95);
    STATIC_REQUIRE(deadline_after(0, most) == no_deadline);
    STATIC_REQUIRE(deadline_after(1, most) == no_deadline);
    STATIC_REQUIRE(deadline_after(most, 1) == no_deadline);
    STATIC_REQUIRE(deadline_after(most - 5, 4) == most - 1);
    STATIC_REQUIRE(deadline_after(least, most) == -1);
}

TEST_CASE("manual clock moves when told to and not otherwise", "[clock]") {
    drey::ManualClock clock(5s);
    CHECK(clock.now() == 5s);
    CHECK(clock.now() == 5s);
    clock.advance(1ms);
    CHECK(clock.now() == 5001ms);
    clock.advance(0ns);
    CHECK(clock.now() == 5001ms);
}

TEST_CASE("steady clock does not go back", "[clock]") {
    const drey::SteadyClock clock;
    const auto before = clock.now();
    CHECK(clock.now() >= before);
    CHECK(drey::ClockRef().now() >= before.count());
}
