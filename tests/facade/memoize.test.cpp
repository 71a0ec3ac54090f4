#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "drey/memoize.hpp"
#include "drey/policy/fifo.hpp"
#include "support/catch.hpp"

TEST_CASE("memoised function runs once for the same arguments") {
    int runs = 0;
    auto add = drey::memoize([&](int a, const std::string& b) {
        ++runs;
        return std::to_string(a) + b;
    });
    CHECK(add(1, "x") == "1x");
    CHECK(add(1, std::string("x")) == "1x");
    CHECK(add(2, "x") == "2x");
    CHECK(runs == 2);
    CHECK(add.stats().hits == 1);
}

TEST_CASE("memoised function remembers 128 results unless told otherwise") {
    auto twice = drey::memoize([](int n) { return 2 * n; });
    CHECK(twice.cache().capacity() == 128);
    auto few = drey::memoize<drey::Fifo>([](int n) { return 2 * n; }, {.capacity = 3});
    for (int n = 0; n < 10; ++n) few(n);
    CHECK(few.cache().size() == 3);
}

TEST_CASE("memoised function forgets what it is told to") {
    int runs = 0;
    auto square = drey::memoize([&](int n) {
        ++runs;
        return n * n;
    });
    square(3);
    square.forget(3);
    square(3);
    CHECK(runs == 2);
    square.clear();
    square(3);
    CHECK(runs == 3);
}

TEST_CASE("memoised function that throws remembers nothing") {
    int runs = 0;
    auto fails_once = drey::memoize([&](int n) {
        if (++runs == 1) throw std::runtime_error("first");
        return n;
    });
    CHECK_THROWS_AS(fails_once(1), std::runtime_error);
    CHECK(fails_once(1) == 1);
    CHECK(fails_once(1) == 1);
    CHECK(runs == 2);
}

TEST_CASE("text arguments are remembered by their characters, not by their place") {
    auto copy = drey::memoize([](const char* text) { return std::string(text); });
    char buffer[] = "one";
    CHECK(copy(static_cast<const char*>(buffer)) == "one");
    buffer[0] = 't';
    CHECK(copy(static_cast<const char*>(buffer)) == "tne");

    auto length = drey::memoize([](std::string_view text) { return text.size(); });
    CHECK(length(std::string(100, 'a')) == 100);  // the string is gone when this returns
    CHECK(length(std::string(100, 'a')) == 100);
    CHECK(length.stats().hits == 1);
}

TEST_CASE("memoised function may recurse") {
    std::function<long(int)> recurse;
    auto fibonacci =
        drey::memoize([&](int n) -> long { return n < 2 ? n : recurse(n - 1) + recurse(n - 2); },
                      {.capacity = 100});
    recurse = [&](int n) { return fibonacci(n); };
    CHECK(fibonacci(80) == 23416728348467685);
    CHECK(fibonacci.stats().loads == 81);
}
