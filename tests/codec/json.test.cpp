#ifdef DREY_WITH_JSON

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "codec/random_value.hpp"
#include "drey/codec/sealed.hpp"
#include "drey/json.hpp"
#include "support/catch.hpp"

// What a program whose nlohmann_json is older than 3.12 has somewhere, and drey must not.
#if NLOHMANN_JSON_VERSION_MAJOR == 3 && NLOHMANN_JSON_VERSION_MINOR < 12
template <class T>
struct nlohmann::adl_serializer<std::optional<T>> {
    static void to_json(json& document, const std::optional<T>& value) {
        if (value) {
            document = *value;
        } else {
            document = nullptr;
        }
    }
    static void from_json(const json& document, std::optional<T>& value) {
        if (document.is_null()) {
            value.reset();
        } else {
            value = document.get<T>();
        }
    }
};
#endif

namespace shop {

struct Article {
    std::string name;
    std::int64_t cents = 0;
    std::vector<std::string> tags;
    std::optional<double> weight;

    bool operator==(const Article&) const = default;
    void roll(codec_test::Dice& dice) {
        name = dice.any<std::string>();
        cents = dice.any<std::int64_t>();
        tags = dice.any<std::vector<std::string>>();
        if (dice.any<bool>()) weight = dice.any<double>();
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Article, name, cents, tags, weight)

struct Unknown {};

}  // namespace shop

namespace {

using codec_test::Dice;
using drey::Cbor;
using drey::CodecFor;
using drey::Json;
using drey::MessagePack;
using nlohmann::json;
using shop::Article;
using namespace std::string_literals;

static_assert(CodecFor<Json, Article> && CodecFor<MessagePack, Article> && CodecFor<Cbor, Article>);
static_assert(CodecFor<Json, int> && CodecFor<Json, std::map<std::string, std::vector<int>>>);
static_assert(CodecFor<Json, json> && CodecFor<Cbor, std::optional<std::string>>);
static_assert(!CodecFor<Json, shop::Unknown> && !CodecFor<Json, std::vector<shop::Unknown>>);
static_assert(!CodecFor<MessagePack, shop::Unknown> && !CodecFor<Cbor, shop::Unknown>);
static_assert(!CodecFor<Json, std::string_view> && !CodecFor<Json, const std::string*> &&
                  !CodecFor<Json, std::vector<std::vector<std::string_view>>> &&
                  !CodecFor<Json, std::map<std::string, std::string_view>>,
              "they would point into a document that is gone");

template <class Codec, class T>
std::string encoded(const T& value) {
    std::string bytes;
    Codec::encode(value, bytes);
    return bytes;
}

template <class Codec, class T>
std::optional<T> decoded(std::string_view bytes) {
    return drey::detail::decode_with<Codec, T>(bytes);
}

template <class Codec, class T>
void make_round_trips(Dice& dice) {
    for (int turn = 0; turn != 60; ++turn) {
        const T value = dice.any<T>();
        const std::string bytes = encoded<Codec>(value);
        if (decoded<Codec, T>(bytes) != value) FAIL("turn " << turn << ": " << bytes);
    }
}

/// `depth` arrays inside each other.
template <class Codec>
std::string nested_arrays(std::size_t depth) {
    if constexpr (std::is_same_v<Codec, Json>) {
        return std::string(depth, '[') + std::string(depth, ']');
    } else if constexpr (std::is_same_v<Codec, MessagePack>) {
        return std::string(depth - 1, '\x91') + '\x90';
    } else {
        return std::string(depth - 1, '\x81') + '\x80';
    }
}

/// The same of objects.
template <class Codec>
std::string nested_objects(std::size_t depth) {
    constexpr bool text = std::is_same_v<Codec, Json>;
    const std::string open = text                          ? "{\"a\":"
                             : std::is_same_v<Codec, Cbor> ? "\xa1\x61\x61"
                                                           : "\x81\xa1\x61";
    std::string bytes;
    for (std::size_t i = 0; i != depth; ++i) bytes += open;
    bytes += text ? "1" : "\1";
    if (text) bytes.append(depth, '}');
    return bytes;
}

json deep_document(std::size_t depth) {
    json document = json::array();
    while (--depth != 0) document = json::array({std::move(document)});
    return document;
}

struct Picky {};
[[maybe_unused]] void to_json(json& document, const Picky&) { document = 1; }
[[maybe_unused]] void from_json(const json&, Picky&) { throw std::runtime_error("never"); }

}  // namespace

TEMPLATE_TEST_CASE("document codec makes the round trip with every type that it knows", "", Json,
                   MessagePack, Cbor) {
    const auto seed = codec_test::random_seed();
    CAPTURE(seed);
    Dice dice(seed);
    make_round_trips<TestType, bool>(dice);
    make_round_trips<TestType, std::int8_t>(dice);
    make_round_trips<TestType, std::int64_t>(dice);
    make_round_trips<TestType, std::uint64_t>(dice);
    make_round_trips<TestType, float>(dice);
    make_round_trips<TestType, double>(dice);
    make_round_trips<TestType, std::string>(dice);
    make_round_trips<TestType, std::array<int, 3>>(dice);
    make_round_trips<TestType, std::vector<bool>>(dice);
    make_round_trips<TestType, std::vector<std::string>>(dice);
    make_round_trips<TestType, std::map<std::string, std::vector<int>>>(dice);
    make_round_trips<TestType, Article>(dice);
    make_round_trips<TestType, std::vector<Article>>(dice);
}

TEMPLATE_TEST_CASE("document codec makes the round trip with optionals that have a serializer", "",
                   Json, MessagePack, Cbor) {
    using Numbers = std::vector<std::optional<int>>;
    using Maybe = std::optional<Numbers>;
    for (const Maybe& value : {Maybe(), Maybe(Numbers()), Maybe(Numbers{1, std::nullopt, 2})}) {
        const auto again = decoded<TestType, Maybe>(encoded<TestType>(value));
        REQUIRE(again);
        CHECK((*again == value));
    }
}

TEST_CASE("JSON is compact text that others can read") {
    CHECK(encoded<Json>(Article{"nut", 250, {"food", "new"}, 1.5}) ==
          R"({"cents":250,"name":"nut","tags":["food","new"],"weight":1.5})");
    CHECK(decoded<Json, Article>(
              R"( { "name": "nut", "cents": 250, "tags": [], "weight": null, "more": 1 } )") ==
          Article{"nut", 250, {}, {}});
}

TEST_CASE("MessagePack and CBOR are what their specifications say") {
    const std::vector<int> numbers{1, -1, 300};
    CHECK(encoded<MessagePack>(numbers) == "\x93\x01\xff\xcd\x01\x2c");
    CHECK(encoded<Cbor>(numbers) == "\x83\x01\x20\x19\x01\x2c");
}

TEMPLATE_TEST_CASE("document cut short anywhere, or with more behind it, is no value", "", Json,
                   MessagePack, Cbor) {
    const std::string bytes = encoded<TestType>(Article{"nut", -250, {"food", "new"}, 1.5});
    for (std::size_t size = 0; size != bytes.size(); ++size) {
        CAPTURE(size);
        CHECK_FALSE(decoded<TestType, Article>(bytes.substr(0, size)));
        CHECK_FALSE(decoded<TestType, json>(bytes.substr(0, size)));
    }
    CHECK_FALSE(decoded<TestType, Article>(bytes + bytes));
    CHECK_FALSE(decoded<TestType, Article>(bytes + '\0'));
    CHECK_FALSE(decoded<TestType, Article>(bytes + '\0' + bytes));
    CHECK_FALSE(decoded<TestType, Article>(bytes + "x"));
    CHECK(decoded<TestType, Article>(bytes));
}

TEMPLATE_TEST_CASE("document of another shape is no value", "", Json, MessagePack, Cbor) {
    CHECK_FALSE(decoded<TestType, Article>(encoded<TestType>(42)));
    CHECK_FALSE(
        decoded<TestType, Article>(encoded<TestType>(std::map<std::string, int>{{"a", 1}})));
    CHECK_FALSE(decoded<TestType, int>(encoded<TestType>("42"s)));
    CHECK_FALSE(decoded<TestType, int>(encoded<TestType>(json())));
    CHECK_FALSE(decoded<TestType, std::vector<int>>(encoded<TestType>("text"s)));
    CHECK_FALSE(decoded<TestType, Picky>(encoded<TestType>(Picky())));
}

TEMPLATE_TEST_CASE("document nests as deep as it may, and no deeper", "", Json, MessagePack, Cbor) {
    const auto deepest = drey::deepest_json;
    CHECK(decoded<TestType, json>(nested_arrays<TestType>(deepest)));
    CHECK(decoded<TestType, json>(nested_objects<TestType>(deepest)));
    CHECK_FALSE(decoded<TestType, json>(nested_arrays<TestType>(deepest + 1)));
    CHECK_FALSE(decoded<TestType, json>(nested_objects<TestType>(deepest + 1)));

    const json document = deep_document(deepest);
    CHECK(decoded<TestType, json>(encoded<TestType>(document)) == document);
    CHECK_THROWS_AS(encoded<TestType>(deep_document(deepest + 1)), std::length_error);
}

TEMPLATE_TEST_CASE("million arrays inside each other do not overflow the stack", "", Json,
                   MessagePack, Cbor) {
    CHECK_FALSE(decoded<TestType, json>(nested_arrays<TestType>(1'000'000)));
    CHECK_FALSE(decoded<TestType, json>(nested_arrays<TestType>(1'000'000).substr(0, 999'999)));
    CHECK_FALSE(decoded<TestType, json>(nested_objects<TestType>(1'000'000)));
}

TEST_CASE("CBOR string of indefinite length is refused before its chunks nest") {
    for (const char head : {'\x7f', '\x5f'}) {
        CHECK_FALSE(decoded<Cbor, json>(std::string(1'000'000, head)));
        std::string with_text_between;
        for (int i = 0; i != 300'000; ++i) (with_text_between += head) += "\x61\x61";
        CHECK_FALSE(decoded<Cbor, json>(with_text_between));
        CHECK_FALSE(decoded<Cbor, json>("\x82\x01"s + head + "\x61\x61\xff"));
        CHECK_FALSE(decoded<Cbor, json>("\xbf\x61\x61"s + head + "\xff\xff"));
        // Within a string it is only a byte.
        CHECK(decoded<Cbor, std::string>("\x61"s + head) == std::string(1, head));
    }
    CHECK(decoded<Cbor, json>("\x9f\x01\x9f\xff\xff") == json::parse("[1, []]"));
}

TEST_CASE("length that a document only claims allocates nothing") {
    // Arrays, maps, byte strings and text of 2^32 - 1 and, in CBOR, 2^64 - 1 elements.
    for (const char head : {'\xdd', '\xdf', '\xc6', '\xc9', '\xdb'})
        CHECK_FALSE(decoded<MessagePack, json>(head + "\xff\xff\xff\xff\1"s));
    for (const char head : {'\x9a', '\xba', '\x5a', '\x7a'})
        CHECK_FALSE(decoded<Cbor, json>(head + "\xff\xff\xff\xff\1"s));
    for (const char head : {'\x9b', '\xbb', '\x5b', '\x7b'})
        CHECK_FALSE(decoded<Cbor, json>(head + "\xff\xff\xff\xff\xff\xff\xff\xff\1"s));
}

TEST_CASE("JSON refuses to write what it could not read back") {
    std::string bytes = "before";
    CHECK_THROWS_AS(drey::seal_value<Json>(bytes, "\xff"s, 1, 1), json::type_error);
    CHECK_THROWS_AS(drey::seal_value<Json>(bytes, std::map<std::string, int>{{"\xc3", 1}}, 1, 1),
                    json::type_error);
    for (const double number : {NAN, INFINITY, -INFINITY})
        CHECK_THROWS_AS(drey::seal_value<Json>(bytes, std::vector{1.0, number}, 1, 1),
                        std::domain_error);
    CHECK_THROWS_AS(drey::seal_value<Json>(bytes, json::binary({1, 2}), 1, 1), std::domain_error);
    CHECK_THROWS_AS(drey::seal_value<Json>(bytes, json(json::value_t::discarded), 1, 1),
                    std::invalid_argument);
    CHECK(bytes == "before");
}

TEMPLATE_TEST_CASE("binary document takes every float, any text and byte strings", "", MessagePack,
                   Cbor) {
    CHECK(std::isnan(*decoded<TestType, double>(encoded<TestType>(double{NAN}))));
    CHECK(decoded<TestType, double>(encoded<TestType>(-HUGE_VAL)) == -HUGE_VAL);
    CHECK(decoded<TestType, std::string>(encoded<TestType>("\xff\0\xc3"s)) == "\xff\0\xc3"s);
    const json document = json::binary({1, 2, 3});
    CHECK(decoded<TestType, json>(encoded<TestType>(document)) == document);
}

TEST_CASE("subtype of a byte string is kept or refused") {
    const json document = json::binary({1, 2, 3}, 200);
    CHECK(decoded<MessagePack, json>(encoded<MessagePack>(document)) == document);
    CHECK_THROWS_AS(encoded<MessagePack>(json::binary({1}, 256)), std::domain_error);
    CHECK_THROWS_AS(encoded<Cbor>(document), std::domain_error);
}

TEMPLATE_TEST_CASE("sealed document with a bit flipped or another codec is no value", "", Json,
                   MessagePack, Cbor) {
    std::string bytes;
    drey::seal_value<TestType>(bytes, Article{"nut", 250, {"food"}, {}}, 1, 2);
    drey::Undecodable why{};
    CHECK((drey::open_value<TestType, Article>(bytes, 1, why)));
    CHECK_FALSE((drey::open_value<TestType, int>(bytes, 1, why)));
    CHECK(why == drey::Undecodable::payload);

    using Other = std::conditional_t<std::is_same_v<TestType, Json>, Cbor, Json>;
    CHECK_FALSE((drey::open_value<Other, Article>(bytes, 1, why)));
    CHECK(why == drey::Undecodable::other_codec);

    for (std::size_t bit = 0; bit != bytes.size() * 8; ++bit) {
        char& byte = bytes[bit / 8];
        byte = static_cast<char>(byte ^ 1 << bit % 8);
        if (drey::open_value<TestType, Article>(bytes, 1, why)) FAIL("bit " << bit);
        byte = static_cast<char>(byte ^ 1 << bit % 8);
    }
}

TEMPLATE_TEST_CASE("8 MB of text make the round trip", "", Json, MessagePack, Cbor) {
    const std::string text(std::size_t{8} << 20, 'x');
    CHECK((decoded<TestType, std::string>(encoded<TestType>(text)) == text));
}

#else

#include "support/catch.hpp"

TEST_CASE("tests of the json codecs were skipped, as nlohmann_json was not found") {
    WARN("skipped: there is no drey::json in this build (Debian: nlohmann-json3-dev)");
}

#endif
