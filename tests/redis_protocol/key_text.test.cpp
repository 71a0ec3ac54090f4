#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "drey/redis/key_text.hpp"
#include "drey/redis/keyspace.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

namespace {

using drey::key_text;
using drey::redis::Keyspace;
using namespace std::string_literals;

enum class Colour : unsigned char { red = 1, green = 200 };
enum Plain { first, second };

struct Order {
    int number;
};
int to_key(const Order& order) { return order.number; }

struct Named {
    std::string name;
};
std::string to_key(const Named& named) { return named.name; }

/// Text from few characters, so that the same comes twice and what is escaped comes often.
std::string random_text(support::Random& random) {
    constexpr std::string_view characters{":%%3Aa\0\n \xff/2", 12};
    std::string text;
    for (std::size_t size = random.below(4); size > 0; --size)
        text += characters[random.below(characters.size())];
    return text;
}

/// As the server matches names: '*', '?', '[...]' and '\'.
bool matches(std::string_view pattern, std::string_view name) {
    if (pattern.empty()) return name.empty();
    if (pattern[0] == '*')
        return matches(pattern.substr(1), name) ||
               (!name.empty() && matches(pattern, name.substr(1)));
    if (name.empty()) return false;
    if (pattern[0] == '?') return matches(pattern.substr(1), name.substr(1));
    if (pattern[0] == '[') {
        const std::size_t end = pattern.find(']');
        return pattern.substr(1, end - 1).find(name[0]) != std::string_view::npos &&
               matches(pattern.substr(end + 1), name.substr(1));
    }
    if (pattern[0] == '\\' && pattern.size() > 1) pattern.remove_prefix(1);
    return pattern[0] == name[0] && matches(pattern.substr(1), name.substr(1));
}

}  // namespace

TEST_CASE("text stands for itself, but for what is escaped") {
    CHECK(key_text("user-1.a/b~"s) == "user-1.a/b~");
    CHECK(key_text("a:b"s) == "a:b");
    CHECK(key_text("100%"s) == "100%25");
    CHECK(key_text("a b"s) == "a%20b");
    CHECK(key_text("\0\n\x7f\x80\xff"s) == "%00%0A%7F%80%FF");
    CHECK(key_text("é"s) == "%C3%A9");
    CHECK(key_text(""s).empty());
    CHECK(key_text(std::string_view("view")) == "view");
    CHECK(key_text("literal") == "literal");
}

TEST_CASE("every byte comes out printable, and no two alike") {
    std::map<std::string, int> texts;
    for (int byte = 0; byte < 256; ++byte) {
        const std::string text = key_text(std::string(1, static_cast<char>(byte)));
        CHECK(std::ranges::all_of(text, [](char c) { return c >= '!' && c <= '~'; }));
        ++texts[text];
    }
    CHECK(texts.size() == 256);
}

TEST_CASE("numbers and enumerators are decimal") {
    CHECK(key_text(0) == "0");
    CHECK(key_text(-17) == "-17");
    CHECK(key_text(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
    CHECK(key_text(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
    CHECK(key_text(std::int8_t{-128}) == "-128");
    CHECK(key_text(std::uint8_t{255}) == "255");
    CHECK(key_text(std::int16_t{-32768}) == "-32768");
    CHECK(key_text('A') == "A");
    CHECK(key_text(static_cast<signed char>(65)) == "65");
    CHECK(key_text(true) == "1");
    CHECK(key_text(false) == "0");
    CHECK(key_text(Colour::green) == "200");
    CHECK(key_text(second) == "1");
}

TEST_CASE("parts are joined by colons, which are escaped within them") {
    CHECK(key_text(std::pair("a"s, 1)) == "a:1");
    CHECK(key_text(std::tuple("a:b"s, "c"s)) == "a%3Ab:c");
    CHECK(key_text(std::tuple("a"s, "b:c"s)) == "a:b%3Ac");
    CHECK(key_text(std::tuple(""s, ""s)) == ":");
    CHECK(key_text(std::tuple(std::pair(1, 2), "x"s)) == "1:2:x");
    CHECK(key_text(std::tuple("a:b"s)) == "a%3Ab");
    CHECK(key_text(std::tuple(Colour::red, true, -1)) == "1:1:-1");
}

TEST_CASE("own types say what they are called") {
    CHECK(key_text(Order{7}) == "7");
    CHECK(key_text(Named{"a:b"}) == "a:b");
    CHECK(key_text(std::pair(Named{"a:b"}, Order{7})) == "a%3Ab:7");
}

TEST_CASE("different keys have different texts") {
    support::Random random(1);
    std::map<std::string, std::string> strings;
    std::map<std::string, std::tuple<std::string, std::string, std::string>> tuples;
    std::map<std::string, std::pair<std::pair<std::string, int>, std::string>> nested;
    bool unique = true;
    for (int i = 0; i < 100000; ++i) {
        const std::string a = random_text(random), b = random_text(random), c = random_text(random);
        const int n = static_cast<int>(random.below(12));
        unique = unique && strings.try_emplace(key_text(a), a).first->second == a;
        const auto tuple = std::tuple(a, b, c);
        unique = unique && tuples.try_emplace(key_text(tuple), tuple).first->second == tuple;
        const auto pair = std::pair(std::pair(a, n), b);
        unique = unique && nested.try_emplace(key_text(pair), pair).first->second == pair;
    }
    CHECK(unique);
    CHECK(tuples.size() > 10000);
}

TEST_CASE("names begin with the prefix, escaped but for its colons") {
    CHECK(Keyspace("app").name("k"s) == "app:k");
    CHECK(Keyspace("app:v1").name(7) == "app:v1:7");
    CHECK(Keyspace("my app%").name("a b"s) == "my%20app%25:a%20b");
    CHECK(Keyspace("p").name(std::pair("a:b"s, 1)) == "p:a%3Ab:1");
    CHECK(Keyspace("p").name(""s) == "p:");
}

TEST_CASE("pattern takes the prefix literally and the glob as it is") {
    CHECK(Keyspace("app").pattern("*") == "app:*");
    CHECK(Keyspace("a*?[b]^c-\\").pattern("x?") == "a\\*\\?\\[b\\]\\^c\\-\\\\:x?");
}

TEST_CASE("pattern of a keyspace matches its own names and no other's") {
    const std::vector<std::string> prefixes{"a",   "ab",    "a*",  "a?", "a[b]", "a\\",
                                            "\\a", "[ab]",  "a-b", "^a", "*",    "?",
                                            "a b", "a%20b", "a]",  "[",  "a\n",  "%"};
    for (const std::string& own : prefixes)
        for (const std::string& other : prefixes)
            for (const std::string key : {"", "x", "user:1", "*"}) {
                INFO(own << " " << other << " " << key);
                CHECK(matches(Keyspace(own).pattern("*"), Keyspace(other).name(key)) ==
                      (own == other));
            }
    CHECK(matches(Keyspace("a*").pattern("user:?"), Keyspace("a*").name("user:1"s)));
    CHECK_FALSE(matches(Keyspace("a*").pattern("user:?"), Keyspace("a*").name("user:12"s)));
}
