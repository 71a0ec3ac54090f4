#include "drey/key.hpp"

#include <algorithm>
#include <array>
#include <clocale>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "support/alloc_failure.hpp"
#include "support/catch.hpp"

namespace {

using drey::key;
using namespace std::string_literals;

enum class Colour : unsigned char { red = 1, green = 200 };
enum class Letter : char { a = 'a' };
enum Plain { first, second };

struct Order {
    std::string customer;
    int number;
};
auto to_key(const Order& order) { return std::tie(order.customer, order.number); }

enum class Country { norway };
std::string_view to_key(Country) { return "no"; }

struct Asked {
    int* times;
};
int to_key(const Asked& asked) { return ++*asked.times; }

/// Converts to text, but says itself what it is called.
struct Named {
    operator std::string_view() const { return "text"; }
};
int to_key(const Named&) { return 7; }

struct NoText {
    int a;
};

static_assert(drey::detail::has_key_text<std::string>);
static_assert(drey::detail::has_key_text<std::optional<std::pair<Order, Colour>>>);
static_assert(!drey::detail::has_key_text<NoText>);
static_assert(!drey::detail::has_key_text<std::pair<int, NoText>>);
static_assert(!drey::detail::has_key_text<std::optional<NoText>>);
static_assert(!drey::detail::has_key_text<int*>);
static_assert(!drey::detail::has_key_text<std::nullptr_t>);
static_assert(!drey::detail::has_key_text<long double>);

}  // namespace

TEST_CASE("parts are joined by colons, which are escaped within them") {
    CHECK(key("product", "books", 42) == "product:books:42");
    CHECK(key("a", "b:c") == "a:b%3Ac");
    CHECK(key("a:b", "c") == "a%3Ab:c");
    CHECK(key("a:b") == "a%3Ab");
    CHECK(key("100%", "a b") == "100%25:a%20b");
}

TEST_CASE("any bytes are text, and come out printable") {
    CHECK(key("\0\n\x7f\x80\xff"s) == "%00%0A%7F%80%FF");
    CHECK(key("é") == "%C3%A9");
    CHECK(key(std::string_view("a\0b", 3), "c") == "a%00b:c");
    std::map<std::string, int> keys;
    for (int byte = 0; byte < 256; ++byte) {
        const std::string one = key(std::string(1, static_cast<char>(byte)));
        CHECK(std::ranges::all_of(one, [](char c) { return c >= '!' && c <= '~' && c != ':'; }));
        ++keys[one];
    }
    CHECK(keys.size() == 256);
}

TEST_CASE("C strings end at their zero, and arrays at their end if they have none") {
    CHECK(key("a\0b", 1) == "a:1");
    const std::array<char, 3> unterminated{'a', 'b', 'c'};
    const char(&raw)[3] = *reinterpret_cast<const char(*)[3]>(unterminated.data());
    CHECK(key(raw) == "abc");
    const char* pointer = "text";
    CHECK(key(pointer) == "text");
}

TEST_CASE("a null pointer is refused, and not read") {
    const char* nothing = nullptr;
    CHECK_THROWS_AS(key("a", nothing), std::invalid_argument);
}

TEST_CASE("empty parts count, and no parts at all are not one empty part") {
    CHECK(key("") == "");
    CHECK(key("", "") == ":");
    CHECK(key("a", "") == "a:");
    CHECK(key("", "a") == ":a");
    CHECK(key() == "%-");
    CHECK(key("a", std::tuple<>()) == "a:%-");
}

TEST_CASE("characters are text; bools, small integers and enumerators are numbers") {
    CHECK(key('A', ':', '\xe9') == "A:%3A:%E9");
    CHECK(key(true, false) == "1:0");
    CHECK(key(std::int8_t{-128}, std::uint8_t{65}) == "-128:65");
    CHECK(key(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
    CHECK(key(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
    CHECK(key(Colour::green, second, Letter::a) == "200:1:97");
    CHECK(key(U'é') == "233");
}

TEST_CASE("floating point has the fewest digits that give the number back") {
    CHECK(key(0.1) == "0.1");
    CHECK(key(0.1f) == "0.1");
    CHECK(key(0.1 + 0.2) == "0.30000000000000004");
    CHECK(key(1.0) == "1");
    CHECK(key(1e30) == "1e+30");
    CHECK(key(-2.5) == "-2.5");
    CHECK(key(std::numeric_limits<double>::denorm_min()) == "5e-324");
    CHECK(key(std::numeric_limits<double>::lowest()) == "-1.7976931348623157e+308");
    CHECK(key(HUGE_VAL, -HUGE_VAL) == "inf:-inf");
}

TEST_CASE(
    "numbers that are equal have equal keys: zeros of either sign, and all that is no number") {
    CHECK(key(-0.0) == key(0.0));
    CHECK(key(0.0) == "0");
    CHECK(key(std::nan("1")) == "nan");
    CHECK(key(-std::nan("2"), -std::nanf("")) == "nan:nan");
}

TEST_CASE("a whole number is written as one, of whatever type it is") {
    CHECK(key(1e5) == key(100'000));
    CHECK(key(-1e15f) == key(-999'999'986'991'104));
    CHECK(key(0x1p60) == key(1LL << 60));
    CHECK(key(-0x1p63) == key(std::numeric_limits<std::int64_t>::min()));
    CHECK(key(0x1p63) == key(1ULL << 63));
    CHECK(key(1e20) == "1e+20");
    CHECK(key(-1e19) == "-1e+19");
    CHECK(key(100'000.5) == "100000.5");
}

TEST_CASE("pairs and tuples are their parts") {
    CHECK(key("a", std::pair("b:c"s, 1), std::tuple(Colour::red, true)) == "a:b%3Ac:1:1:1");
    CHECK(key(std::tuple(std::pair(1, 2), "x"s)) == "1:2:x");
    CHECK(key(std::pair("a"s, 1)) == key("a", 1));
}

TEST_CASE("an optional is its value, or a sign that no value has") {
    using Maybe = std::optional<std::string>;
    CHECK(key(Maybe("a:b"), 1) == "a%3Ab:1");
    CHECK(key(Maybe(), 1) == "%-:1");
    CHECK(key(Maybe("")) == "");
    CHECK(key(Maybe("%-")) == "%25-");
    CHECK(key(std::nullopt) == "%-");
    CHECK(key(std::optional<Maybe>()) == "%-");
    CHECK(key(std::optional<Maybe>(Maybe())) == "%+%-");
    CHECK(key(std::optional<Maybe>(Maybe("a"))) == "%+a");
    CHECK(key(std::optional(std::pair(Maybe(), 1))) == "%+%-:1");
    CHECK(key(std::optional(std::tuple<>())) == "%+%-");
}

TEST_CASE("types of the application say what they are called") {
    CHECK(key("order", Order{"a:b", 7}) == "order:a%3Ab:7");
    CHECK(key(Country::norway) == "no");
    CHECK(key(Named()) == "7");
    CHECK(key(std::optional(Country::norway), std::pair(Order{"c", 1}, 2)) == "no:c:1:2");
}

TEST_CASE("a part is asked once for its text") {
    int times = 0;
    CHECK(key("a", Asked{&times}) == "a:1");
    CHECK(times == 1);
}

TEST_CASE("the locale has no say") {
    const std::string before = std::setlocale(LC_ALL, nullptr);
    std::setlocale(LC_ALL, "");
    for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8", "tr_TR.UTF-8"})
        if (std::setlocale(LC_ALL, name) != nullptr) break;
    CHECK(key(1234567, 0.5, "\xe4I") == "1234567:0.5:%E4I");
    std::setlocale(LC_ALL, before.c_str());
}

TEST_CASE("a key of a megabyte is whole") {
    const std::string plain(1 << 20, 'x'), escaped(1 << 18, ':');
    const std::string long_key = key(plain, escaped);
    CHECK(long_key.size() == plain.size() + 1 + 3 * escaped.size());
    CHECK(long_key.substr((1 << 20) - 1, 5) == "x:%3A");
    CHECK(long_key.ends_with("%3A%3A"));
}

TEST_CASE("a short key allocates nothing, and any other once") {
    const std::string text(100, ':');
    std::size_t size = 0;  // Catch's own assertions allocate
    bool allocated = true;
    {
        const support::FailAllocation first_one(0, true);
        size = key("user", 42, true).size();
        allocated = first_one.happened();
    }
    CHECK(size == 9);
    CHECK_FALSE(allocated);
    {
        const support::FailAllocation second_one(1, true);
        size = key("a long first part", text, 0.1, std::optional<int>(), 'c').size();
        allocated = second_one.happened();
    }
    CHECK(size == 23 + 1 + 300 + 1 + 3 + 1 + 2 + 1 + 1);
    CHECK_FALSE(allocated);
}
