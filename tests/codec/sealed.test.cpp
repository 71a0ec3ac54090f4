#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "drey/codec/raw.hpp"
#include "drey/codec/sealed.hpp"
#include "support/catch.hpp"

namespace {

using drey::Raw;
using drey::Undecodable;
using namespace std::string_literals;

constexpr std::uint32_t schema = 7;
constexpr std::uint64_t stamp = 1234567890123;

template <class Codec = Raw, class V>
std::string sealed(const V& value) {
    std::string bytes;
    drey::seal_value<Codec>(bytes, value, schema, stamp);
    return bytes;
}

/// Why there is no V in these bytes.
template <class Codec, class V>
Undecodable why_not(std::string_view bytes, std::uint32_t expected_schema = schema) {
    Undecodable why{};
    const auto value = drey::open_value<Codec, V>(bytes, expected_schema, why);
    CHECK(value.has_value() == (why == Undecodable::none));
    return why;
}

struct Even {
    unsigned number;
};

/// A codec of one's own: decimal, and picky.
struct EvenCodec {
    static void encode(const Even& even, std::string& out) {
        out += "even ";
        if (even.number % 2 != 0) throw std::domain_error("odd");
        out += std::to_string(even.number);
    }
    static std::optional<Even> decode(std::string_view bytes) {
        if (!bytes.starts_with("even ")) return std::nullopt;
        return Even{static_cast<unsigned>(std::stoul(std::string(bytes.substr(5))))};
    }
};

}  // namespace

TEST_CASE("sealed value opens with all that was said of it") {
    std::string bytes = "before";
    drey::seal_value<Raw>(bytes, "a value"s, schema, stamp, 1700000000000, 42);
    bytes.erase(0, 6);

    Undecodable why = Undecodable::corrupt;
    CHECK(drey::open_value<Raw, std::string>(bytes, schema, why) == "a value");
    CHECK(why == Undecodable::none);

    const auto opened = drey::open_envelope(bytes);
    CHECK(opened.header == drey::EnvelopeHeader{.kind = drey::EnvelopeKind::value,
                                                .codec = 1,
                                                .schema = schema,
                                                .stamp = stamp,
                                                .fresh_until_ms = 1700000000000,
                                                .load_cost_us = 42});
    CHECK(drey::open_value<Raw, std::string>(opened, schema, why) == "a value");
    CHECK(why == Undecodable::none);
}

TEST_CASE("sealed value may have an empty payload") {
    CHECK(sealed(""s).size() == drey::envelope_header_size);
    CHECK(why_not<Raw, std::string>(sealed(""s)) == Undecodable::none);
    CHECK(why_not<Raw, int>(sealed(""s)) == Undecodable::payload);
}

TEST_CASE("value under a codec of one's own makes the round trip") {
    Undecodable why{};
    const auto even = drey::open_value<EvenCodec, Even>(sealed<EvenCodec>(Even{42}), schema, why);
    REQUIRE(even);
    CHECK(even->number == 42);
}

TEST_CASE("each reason why there is no value is told apart") {
    const std::string bytes = sealed("a value"s);
    CHECK(why_not<Raw, std::string>(bytes) == Undecodable::none);
    CHECK(why_not<Raw, std::string>("a value") == Undecodable::foreign);
    CHECK(why_not<Raw, std::string>(bytes.substr(0, 20)) == Undecodable::truncated);
    CHECK(why_not<Raw, std::string>(bytes.substr(0, 40)) == Undecodable::corrupt);
    CHECK(why_not<Raw, std::string>("drey\2 from the future") == Undecodable::other_version);
    CHECK(why_not<Raw, std::string>(bytes, schema + 1) == Undecodable::other_schema);
    CHECK(why_not<EvenCodec, Even>(bytes) == Undecodable::other_codec);
    CHECK(why_not<Raw, int>(bytes) == Undecodable::payload);
}

TEST_CASE("decode that refuses or throws is a payload that cannot be read") {
    const auto with_payload = [](std::string_view payload) {
        std::string bytes;
        const auto begin = drey::begin_envelope(bytes);
        bytes += payload;
        drey::seal_envelope(bytes, begin, {.codec = 0xff, .schema = schema, .stamp = stamp});
        return bytes;
    };
    CHECK(why_not<EvenCodec, Even>(with_payload("even 2")) == Undecodable::none);
    CHECK(why_not<EvenCodec, Even>(with_payload("odd 1")) == Undecodable::payload);
    CHECK(why_not<EvenCodec, Even>(with_payload("even more")) == Undecodable::payload);
}

TEST_CASE("encode that throws leaves what was in the buffer, and nothing else") {
    std::string bytes = "before";
    CHECK_THROWS_AS(drey::seal_value<EvenCodec>(bytes, Even{1}, schema, stamp), std::domain_error);
    CHECK(bytes == "before");
}

TEST_CASE("lease and the mark of an absent row are not values") {
    std::string lease, absent;
    drey::seal_lease(lease, schema, stamp);
    drey::seal_absent(absent, schema, stamp, 5000, 42);
    CHECK(why_not<Raw, std::string>(lease) == Undecodable::not_a_value);
    CHECK(why_not<Raw, std::string>(absent) == Undecodable::not_a_value);
    CHECK(why_not<Raw, std::string>(absent, schema + 1) == Undecodable::other_schema);

    CHECK(
        drey::open_envelope(lease).header ==
        drey::EnvelopeHeader{.kind = drey::EnvelopeKind::lease, .schema = schema, .stamp = stamp});
    CHECK(drey::open_envelope(absent).header ==
          drey::EnvelopeHeader{.kind = drey::EnvelopeKind::absent,
                               .schema = schema,
                               .stamp = stamp,
                               .fresh_until_ms = 5000,
                               .load_cost_us = 42});
}

TEST_CASE("sealed value with any bit flipped is never a value") {
    std::string bytes = sealed("the payload of a value"s);
    for (std::size_t bit = 0; bit != bytes.size() * 8; ++bit) {
        char& byte = bytes[bit / 8];
        byte = static_cast<char>(byte ^ 1 << bit % 8);
        if (why_not<Raw, std::string>(bytes) == Undecodable::none) FAIL("bit " << bit);
        byte = static_cast<char>(byte ^ 1 << bit % 8);
    }
    CHECK(why_not<Raw, std::string>(bytes) == Undecodable::none);
}

TEST_CASE("every reason why there is no value has a name") {
    CHECK(to_text(Undecodable::none) == "none");
    CHECK(to_text(Undecodable::foreign) == "foreign");
    CHECK(to_text(Undecodable::truncated) == "truncated");
    CHECK(to_text(Undecodable::corrupt) == "corrupt");
    CHECK(to_text(Undecodable::other_version) == "other version");
    CHECK(to_text(Undecodable::other_codec) == "other codec");
    CHECK(to_text(Undecodable::other_schema) == "other schema");
    CHECK(to_text(Undecodable::not_a_value) == "not a value");
    CHECK(to_text(Undecodable::payload) == "payload");
    CHECK(to_text(static_cast<Undecodable>(99)) == "unknown");
}
