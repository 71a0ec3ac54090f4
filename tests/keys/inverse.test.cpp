#include <charconv>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/key.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

// A key tells its parts: whatever went in comes out again, knowing nothing but the types.

namespace {

/// The parts as they are written.
std::vector<std::string_view> split(std::string_view key) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t colon = key.find(':');
        parts.push_back(key.substr(0, colon));
        if (colon == std::string_view::npos) return parts;
        key.remove_prefix(colon + 1);
    }
}

std::string unescaped(std::string_view part) {
    std::string text;
    for (std::size_t at = 0; at < part.size(); ++at) {
        if (part[at] != '%') {
            text += part[at];
            continue;
        }
        int byte = 0;
        std::from_chars(part.data() + at + 1, part.data() + at + 3, byte, 16);
        text += static_cast<char>(byte);
        at += 2;
    }
    return text;
}

template <class T>
struct Inverse;

/// Takes the parts that make a T from the front.
template <class T>
T read_back(std::vector<std::string_view>& parts) {
    return Inverse<T>::read(parts);
}

std::string_view take_front(std::vector<std::string_view>& parts) {
    const std::string_view part = parts.at(0);
    parts.erase(parts.begin());
    return part;
}

template <class T>
    requires std::is_arithmetic_v<T>
struct Inverse<T> {
    static T read(std::vector<std::string_view>& parts) {
        const std::string_view part = take_front(parts);
        if constexpr (std::same_as<T, char>) {
            return unescaped(part).at(0);
        } else if constexpr (std::same_as<T, bool>) {
            return part == "1";
        } else {
            T number{};
            std::from_chars(part.data(), part.data() + part.size(), number);
            return number;
        }
    }
};
template <>
struct Inverse<std::string> {
    static std::string read(std::vector<std::string_view>& parts) {
        return unescaped(take_front(parts));
    }
};
template <class T>
inline constexpr bool starts_with_optional = false;
template <class T>
inline constexpr bool starts_with_optional<std::optional<T>> = true;
template <class First, class... Others>
inline constexpr bool starts_with_optional<std::tuple<First, Others...>> =
    starts_with_optional<First>;
template <class T>
struct Inverse<std::optional<T>> {
    static std::optional<T> read(std::vector<std::string_view>& parts) {
        if (parts.at(0) == "%-") {
            take_front(parts);
            return {};
        }
        if constexpr (starts_with_optional<T>) {
            REQUIRE(parts.at(0).starts_with("%+"));
            parts.at(0).remove_prefix(2);
        }
        return read_back<T>(parts);
    }
};
template <class... T>
struct Inverse<std::tuple<T...>> {
    static std::tuple<T...> read(std::vector<std::string_view>& parts) {
        return std::tuple<T...>{read_back<T>(parts)...};  // braces: from left to right
    }
};

/// Values from few choices, so that the same comes twice and what is escaped comes often.
template <class T>
struct Any;

template <class T>
T any(support::Random& random) {
    return Any<T>::make(random);
}
template <>
struct Any<std::string> {
    static std::string make(support::Random& random) {
        constexpr std::string_view characters{":%%3A-+a\0\n \xff/2", 14};
        std::string text;
        for (std::size_t size = random.below(4); size > 0; --size)
            text += characters[random.below(characters.size())];
        return text;
    }
};
template <std::integral T>
struct Any<T> {
    static T make(support::Random& random) {
        const auto bits = random();
        return static_cast<T>(bits >> (random.below(8) * 8));
    }
};
template <>
struct Any<bool> {
    static bool make(support::Random& random) { return random.below(2) == 0; }
};
template <std::floating_point T>
struct Any<T> {
    static T make(support::Random& random) {
        if (random.below(2) == 0) return static_cast<T>(random.below(20)) / 10 - 1;
        using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
        const auto bits = static_cast<Bits>(random());
        T number;
        std::memcpy(&number, &bits, sizeof number);
        return number == number ? number : T{};  // what is no number equals nothing
    }
};
template <class T>
struct Any<std::optional<T>> {
    static std::optional<T> make(support::Random& random) {
        if (random.below(3) == 0) return {};
        return any<T>(random);
    }
};
template <class... T>
struct Any<std::tuple<T...>> {
    static std::tuple<T...> make(support::Random& random) { return {any<T>(random)...}; }
};

template <class Parts>
void check_inverse(std::uint64_t seed) {
    CAPTURE(seed);
    support::Random random(seed);
    std::map<std::string, Parts> seen;
    for (std::size_t i = support::ops(20000); i > 0; --i) {
        const auto parts = any<Parts>(random);
        const std::string key =
            std::apply([](const auto&... part) { return drey::key(part...); }, parts);
        auto rest = split(key);
        const bool same = read_back<Parts>(rest) == parts && rest.empty();
        if (!same) FAIL("not read back: " << key);
        if (seen.try_emplace(key, parts).first->second != parts) FAIL("one key of two: " << key);
    }
    CHECK(seen.size() > 1);
}

using Text = std::string;
template <class... T>
using Tuple = std::tuple<T...>;
template <class T>
using Maybe = std::optional<T>;

}  // namespace

TEMPLATE_TEST_CASE(
    "what went into a key can be read out of it", "", (Tuple<Text>), (Tuple<Text, Text>),
    (Tuple<Text, Text, Text>), (Tuple<int, Text>), (Tuple<char, Text, bool>),
    (Tuple<std::int8_t, std::uint8_t, std::int64_t>), (Tuple<double, float, Text>),
    (Tuple<Maybe<Text>, Text>), (Tuple<Maybe<int>, Maybe<double>>),
    (Tuple<Maybe<Maybe<Text>>, Maybe<Text>>), (Tuple<Maybe<Maybe<Maybe<int>>>>),
    (Tuple<Maybe<Tuple<Text, int>>, Text>),
    (Tuple<Maybe<Tuple<Maybe<Text>, Maybe<int>>>, Maybe<Tuple<Maybe<int>, Maybe<Text>>>>),
    (Tuple<Maybe<Tuple<Maybe<int>, Maybe<int>>>, Maybe<Tuple<Maybe<int>, Maybe<int>>>>),
    (Tuple<Tuple<Text, Tuple<int, Text>>, Maybe<Tuple<Tuple<Maybe<Text>>, int>>>)) {
    check_inverse<TestType>(20);
}

TEST_CASE("keys of different numbers of parts are different") {
    support::Random random(21);
    std::map<std::string, std::vector<Text>> seen;
    std::set<std::size_t> sizes;
    for (std::size_t i = support::ops(100000); i > 0; --i) {
        std::vector<Text> parts;
        for (std::size_t size = random.below(4); size > 0; --size)
            parts.push_back(any<Text>(random));
        std::string key;
        if (parts.empty()) key = drey::key();
        if (parts.size() == 1) key = drey::key(parts[0]);
        if (parts.size() == 2) key = drey::key(parts[0], parts[1]);
        if (parts.size() == 3) key = drey::key(parts[0], parts[1], parts[2]);
        if (seen.try_emplace(key, parts).first->second != parts) FAIL("one key of two: " << key);
        sizes.insert(parts.size());
    }
    CHECK(sizes.size() == 4);
}
