#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "codec/random_value.hpp"
#include "drey/codec/raw.hpp"
#include "support/catch.hpp"

namespace {

using codec_test::Dice;
using drey::CodecFor;
using drey::Raw;
using namespace std::string_literals;

enum class Colour : std::uint16_t { red = 0x1234 };
enum class Switch : bool { off, on };

struct Point {
    std::int32_t x, y;
    bool operator==(const Point&) const = default;
    void roll(Dice& dice) {
        x = dice.any<std::int32_t>();
        y = dice.any<std::int32_t>();
    }
};

struct NoDefault {
    explicit NoDefault(int number) : n(number) {}
    bool operator==(const NoDefault&) const = default;
    const int n;
};

static_assert(CodecFor<Raw, std::string> && CodecFor<Raw, int> && CodecFor<Raw, Colour>);
static_assert(CodecFor<Raw, std::vector<double>> && CodecFor<Raw, std::vector<bool>>);
static_assert(CodecFor<Raw, std::array<std::array<int, 2>, 3>>);
static_assert(std::endian::native != std::endian::little ||
              (CodecFor<Raw, Point> && CodecFor<Raw, std::vector<NoDefault>> &&
               CodecFor<Raw, std::chrono::system_clock::time_point>));

// What refers to something else.
static_assert(!CodecFor<Raw, int*> && !CodecFor<Raw, const char*> && !CodecFor<Raw, void (*)()>);
static_assert(!CodecFor<Raw, int Point::*> && !CodecFor<Raw, std::nullptr_t>);
static_assert(!CodecFor<Raw, std::string_view> && !CodecFor<Raw, std::span<int>>);
static_assert(!CodecFor<Raw, std::reference_wrapper<int>>);
static_assert(!CodecFor<Raw, std::initializer_list<int>>);
static_assert(!CodecFor<Raw, std::vector<int*>> && !CodecFor<Raw, std::array<int*, 2>>);
static_assert(!CodecFor<Raw, std::vector<std::array<std::string_view, 2>>>);
// What owns memory elsewhere.
static_assert(!CodecFor<Raw, std::vector<std::string>> && !CodecFor<Raw, std::function<void()>>);
static_assert(!CodecFor<Raw, std::vector<std::array<std::string, 2>>>);
// What differs between platforms.
static_assert(!CodecFor<Raw, std::optional<int>> && !CodecFor<Raw, std::variant<int, char>>);
static_assert(!CodecFor<Raw, long double>);

template <class T>
std::string encoded(const T& value) {
    std::string bytes;
    Raw::encode(value, bytes);
    return bytes;
}

template <class T>
std::optional<T> decoded(std::string_view bytes) {
    return Raw::decode<T>(bytes);
}

}  // namespace

TEMPLATE_TEST_CASE("raw value makes the round trip", "", std::string, bool, char, signed char,
                   std::int8_t, std::uint16_t, std::int32_t, std::uint64_t, float, double, Point,
                   (std::array<std::int16_t, 5>), (std::array<bool, 3>), (std::array<Point, 2>),
                   std::vector<char>, std::vector<std::uint8_t>, std::vector<double>,
                   std::vector<bool>, std::vector<Point>, (std::vector<std::array<int, 3>>)) {
    const auto seed = codec_test::random_seed();
    CAPTURE(seed);
    Dice dice(seed);
    for (int turn = 0; turn != 300; ++turn) {
        const auto value = dice.any<TestType>();
        if (decoded<TestType>(encoded(value)) != value) FAIL("turn " << turn);
    }
    SUCCEED();
}

TEST_CASE("raw numbers are little-endian") {
    CHECK(encoded(std::uint32_t{0x01020304}) == "\4\3\2\1");
    CHECK(encoded(std::int16_t{-2}) == "\xfe\xff");
    CHECK(encoded(Colour::red) == "\x34\x12");
    CHECK(encoded(1.0) == "\0\0\0\0\0\0\xf0\x3f"s);
    CHECK(encoded(std::vector<std::uint16_t>{1, 2}) == "\1\0\2\0"s);
    CHECK(encoded(std::array<std::array<std::uint16_t, 1>, 2>{{{1}, {2}}}) == "\1\0\2\0"s);
    CHECK(encoded(u"né"s) == "n\0\xe9\0"s);
}

TEST_CASE("raw bytes are turned round element by element where a machine is big-endian") {
    std::string bytes = "abcdef";
    drey::detail::reverse_each(bytes.data(), 3, 2);
    CHECK(bytes == "badcfe");
    drey::detail::reverse_each(bytes.data(), 0, 8);
    CHECK(bytes == "badcfe");
}

TEST_CASE("raw text is itself, whatever is in it") {
    CHECK(encoded("a\0b\xff"s) == "a\0b\xff"s);
    CHECK(decoded<std::string>("") == "");
    CHECK(encoded(std::vector<bool>{true, false}) == "\1\0"s);
}

TEMPLATE_TEST_CASE("raw bytes of another size are no value", "", char, std::uint16_t, double, Point,
                   (std::array<std::int16_t, 5>)) {
    for (std::size_t size = 0; size != 2 * sizeof(TestType) + 2; ++size)
        CHECK(decoded<TestType>(std::string(size, '\0')).has_value() == (size == sizeof(TestType)));
}

TEMPLATE_TEST_CASE("raw bytes that are not whole elements are no vector", "", char, std::uint16_t,
                   double, Point, (std::array<std::int16_t, 5>)) {
    for (std::size_t size = 0; size != 3 * sizeof(TestType) + 2; ++size) {
        const auto vector = decoded<std::vector<TestType>>(std::string(size, '\0'));
        REQUIRE(vector.has_value() == (size % sizeof(TestType) == 0));
        if (vector) CHECK(vector->size() == size / sizeof(TestType));
    }
}

TEST_CASE("raw bool is 0 or 1 and nothing else") {
    for (int byte = 0; byte != 256; ++byte) {
        const std::string bytes(1, static_cast<char>(byte));
        CHECK(decoded<bool>(bytes).has_value() == (byte < 2));
        CHECK(decoded<Switch>(bytes).has_value() == (byte < 2));
        CHECK(decoded<std::vector<bool>>("\1" + bytes).has_value() == (byte < 2));
        CHECK(decoded<std::array<bool, 2>>("\1" + bytes).has_value() == (byte < 2));
    }
    CHECK(decoded<bool>("\1") == true);
    CHECK(decoded<Switch>("\1") == Switch::on);
}

TEST_CASE("raw value without a default constructor makes the round trip") {
    CHECK(decoded<NoDefault>(encoded(NoDefault(7))) == NoDefault(7));
    const std::vector<NoDefault> many{NoDefault(1), NoDefault(2)};
    CHECK(decoded<std::vector<NoDefault>>(encoded(many)) == many);
}

TEST_CASE("raw encoding appends") {
    std::string bytes = "before";
    Raw::encode(std::uint16_t{0x6261}, bytes);
    Raw::encode("cd"s, bytes);
    CHECK(bytes == "beforeabcd");
}
