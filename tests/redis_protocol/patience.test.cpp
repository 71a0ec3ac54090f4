#include <chrono>

#include "drey/redis/patience.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;

TEST_CASE("patience lasts longer by what it was paused, once, however often one says so") {
    drey::redis::Patience patience(1h);
    const auto first = patience.deadline();
    patience.resume();
    CHECK(patience.deadline() == first);
    patience.pause();
    patience.pause();
    patience.resume();
    const auto second = patience.deadline();
    CHECK(second >= first);
    patience.resume();
    CHECK(patience.deadline() == second);
}
