#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codec/random_value.hpp"
#include "drey/codec/envelope.hpp"
#include "support/catch.hpp"

namespace {

using drey::EnvelopeError;
using drey::EnvelopeHeader;
using drey::EnvelopeKind;
using drey::open_envelope;
using namespace std::chrono_literals;
using namespace std::string_literals;

std::string sealed(const EnvelopeHeader& header, std::string_view payload) {
    std::string bytes;
    const std::size_t begin = drey::begin_envelope(bytes);
    bytes += payload;
    drey::seal_envelope(bytes, begin, header);
    return bytes;
}

constexpr EnvelopeHeader some_header{.kind = EnvelopeKind::value,
                                     .codec = 2,
                                     .schema = 0x0a0b0c0d,
                                     .stamp = 0x1122334455667788,
                                     .fresh_until_ms = 1700000000123,
                                     .load_cost_us = 2500};

/// Puts the right checksum into bytes that were changed on purpose.
std::string resealed(std::string bytes) {
    drey::detail::store_little(bytes.data() + 12, drey::detail::envelope_checksum(bytes, {}));
    return bytes;
}

}  // namespace

TEST_CASE("envelope is laid out, byte for byte, as it has always been") {
    const std::string bytes =
        "drey"                              // magic
        "\x01"                              // version
        "v"                                 // kind
        "\x02"                              // codec
        "\x00"                              // flags
        "\x0d\x0c\x0b\x0a"                  // schema
        "\x4a\x9b\x29\x96"                  // checksum
        "\x88\x77\x66\x55\x44\x33\x22\x11"  // stamp
        "\x7b\x68\xe5\xcf\x8b\x01\x00\x00"  // fresh until
        "\xc4\x09\x00\x00"                  // load cost
        "{\"a\":1}"s;
    CHECK(sealed(some_header, "{\"a\":1}") == bytes);
    const auto opened = open_envelope(bytes);
    REQUIRE(opened);
    CHECK(opened.header == some_header);
    CHECK(opened.payload == "{\"a\":1}");
    CHECK(opened.payload.data() == bytes.data() + drey::envelope_header_size);
}

TEST_CASE("every header comes back as it was") {
    const auto seed = codec_test::random_seed();
    CAPTURE(seed);
    codec_test::Dice dice(seed);
    constexpr EnvelopeKind kinds[]{EnvelopeKind::value, EnvelopeKind::lease, EnvelopeKind::absent};
    for (int turn = 0; turn != 2000; ++turn) {
        const EnvelopeHeader header{.kind = kinds[dice.below(3)],
                                    .codec = dice.any<std::uint8_t>(),
                                    .schema = dice.any<std::uint32_t>(),
                                    .stamp = dice.any<std::uint64_t>(),
                                    .fresh_until_ms = dice.any<std::int64_t>(),
                                    .load_cost_us = dice.any<std::uint32_t>()};
        const auto payload = dice.any<std::string>();
        const std::string bytes = sealed(header, payload);
        const auto opened = open_envelope(bytes);
        if (!opened || opened.header != header || opened.payload != payload) FAIL("turn " << turn);
    }
    SUCCEED();
}

TEST_CASE("tags stand between header and payload, and only where there are any") {
    const std::vector<drey::EnvelopeTag> tags{{"a", 0x0102030405060708}, {"", 1}};
    std::string bytes;
    const std::size_t begin = drey::begin_envelope(bytes);
    drey::append_envelope_tags(bytes, tags);
    bytes += "payload";
    EnvelopeHeader header = some_header;
    header.tagged = true;
    drey::seal_envelope(bytes, begin, header);
    CHECK(bytes[7] == '\1');
    CHECK(bytes.substr(36) ==
          "\x19\0\0\0"
          "\x08\x07\x06\x05\x04\x03\x02\x01"
          "\x01\0\0\0"
          "a"
          "\x01\0\0\0\0\0\0\0"
          "\0\0\0\0"
          "payload"s);

    const auto opened = open_envelope(bytes);
    REQUIRE(opened);
    CHECK(opened.header == header);
    CHECK(opened.payload == "payload");
    CHECK(drey::read_envelope_tags(opened.tags) == tags);
    CHECK(drey::peek_envelope_tags(bytes.substr(0, 36 + 4 + 25)) == opened.tags);
    CHECK(drey::peek_envelope_tags(bytes.substr(0, 36 + 4 + 24)).empty());
    CHECK(drey::peek_envelope_tags(sealed(some_header, "payload")).empty());
}

TEST_CASE("tags that are cut short, or go on beyond their end, are corrupt") {
    EnvelopeHeader header = some_header;
    header.tagged = true;
    for (const auto& wrong :
         {""s, "\1\0\0"s, "\1\0\0\0"s, "\1\0\0\0x"s, "\xff\xff\xff\xff"s,
          "\x0c\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0x"s, "\x0d\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xffx"s,
          "\x0d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x"s}) {
        CAPTURE(wrong);
        CHECK(open_envelope(sealed(header, wrong)).error == EnvelopeError::corrupt);
        CHECK(drey::peek_envelope_tags(sealed(header, wrong)).empty());
    }
    CHECK(open_envelope(sealed(header, "\0\0\0\0x"s)).payload == "x");
}

TEST_CASE("envelope may begin anywhere in a buffer") {
    std::string out = "SET key ";
    const std::size_t begin = drey::begin_envelope(out);
    CHECK(begin == 8);
    out += "payload";
    drey::seal_envelope(out, begin, some_header);
    CHECK(out.substr(0, 8) == "SET key ");
    CHECK(out.substr(8) == sealed(some_header, "payload"));
}

TEST_CASE("payload may be empty, or 8 MB") {
    const std::string payload = GENERATE(""s, std::string(std::size_t{8} << 20, '\xa5'));
    const std::string bytes = sealed(some_header, payload);
    CHECK(bytes.size() == payload.size() + drey::envelope_header_size);
    CHECK((open_envelope(bytes).payload == payload));
}

TEST_CASE("what others wrote is foreign") {
    for (const auto& bytes :
         {""s, "d"s, "dre"s, "plain text"s, "DREY"s, "42"s, std::string(100, '\0')})
        CHECK(open_envelope(bytes).error == EnvelopeError::foreign);
}

TEST_CASE("envelope cut short at any byte is never opened") {
    const std::string bytes = sealed(some_header, "a payload");
    for (std::size_t size = 0; size != bytes.size(); ++size) {
        CAPTURE(size);
        const auto expected = size < 4    ? EnvelopeError::foreign
                              : size < 36 ? EnvelopeError::truncated
                                          : EnvelopeError::corrupt;
        CHECK(open_envelope(bytes.substr(0, size)).error == expected);
    }
    CHECK(open_envelope(bytes + "x").error == EnvelopeError::corrupt);
    CHECK(open_envelope(bytes + "\0"s).error == EnvelopeError::corrupt);
}

TEST_CASE("envelope with any one bit flipped is never opened, nor with any two") {
    std::string bytes = sealed(some_header, "a payload");
    const auto flip = [&](std::size_t bit) {
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
    };
    for (std::size_t one = 0; one != bytes.size() * 8; ++one) {
        flip(one);
        for (std::size_t other = one; other != bytes.size() * 8; ++other) {
            if (other != one) flip(other);
            if (open_envelope(bytes)) FAIL("bits " << one << " and " << other);
            if (other != one) flip(other);
        }
        flip(one);
    }
    CHECK(open_envelope(bytes));
}

TEST_CASE("envelope of another version, kind or with flags is of another version, not corrupt") {
    const std::string bytes = sealed(some_header, "a payload");
    for (const auto& [at, byte] :
         {std::pair{4, '\2'}, {4, '\0'}, {5, 'x'}, {5, 'V'}, {7, '\2'}, {7, '\3'}, {7, '\x80'}}) {
        CAPTURE(at, byte);
        std::string other = bytes;
        other[static_cast<std::size_t>(at)] = byte;
        CHECK(open_envelope(resealed(other)).error == EnvelopeError::other_version);
    }
    CHECK(open_envelope("drey\2").error == EnvelopeError::other_version);
}

TEST_CASE("random bytes after the magic are never opened") {
    const auto seed = codec_test::random_seed();
    CAPTURE(seed);
    codec_test::Dice dice(seed);
    for (int turn = 0; turn != 20000; ++turn) {
        std::string bytes = "drey\1v"s;
        for (std::size_t left = dice.below(60); left != 0; --left) bytes += dice.any<char>();
        if (open_envelope(bytes)) FAIL("turn " << turn);
    }
    SUCCEED();
}

TEST_CASE("id of an envelope is its header, and another for another stamp or payload") {
    const std::string bytes = sealed(some_header, "a payload");
    CHECK(drey::envelope_id(bytes) == bytes.substr(0, 36));
    CHECK(drey::envelope_id("short") == "short");
    CHECK(drey::envelope_id("") == "");
    CHECK(drey::envelope_id(bytes) != drey::envelope_id(sealed(some_header, "a paYload")));
    EnvelopeHeader other = some_header;
    ++other.stamp;
    CHECK(drey::envelope_id(bytes) != drey::envelope_id(sealed(other, "a payload")));
}

TEST_CASE("header can be read without the payload, but of nothing else than an envelope") {
    const std::string bytes = sealed(some_header, "payload");
    const auto header = drey::peek_envelope(std::string_view(bytes).substr(0, 36));
    REQUIRE(header);
    CHECK(*header == some_header);
    CHECK_FALSE(drey::peek_envelope(std::string_view(bytes).substr(0, 35)));
    for (const std::size_t at : {std::size_t{0}, std::size_t{4}, std::size_t{5}, std::size_t{7}}) {
        std::string other = bytes;
        other[at] = static_cast<char>(other[at] + 2);  // magic, version, kind, flags
        CHECK_FALSE(drey::peek_envelope(other));
    }
    CHECK_FALSE(drey::peek_envelope(""));
}

TEST_CASE("cost of a load is in microseconds, at least one and at most what fits") {
    CHECK(drey::to_load_cost_us(2500us) == 2500);
    CHECK(drey::to_load_cost_us(2999ns) == 2);
    CHECK(drey::to_load_cost_us(1ns) == 1);
    CHECK(drey::to_load_cost_us(0ns) == 1);
    CHECK(drey::to_load_cost_us(-5s) == 1);
    CHECK(drey::to_load_cost_us(2h) == std::numeric_limits<std::uint32_t>::max());
    CHECK(drey::to_load_cost_us(std::chrono::nanoseconds::max()) ==
          std::numeric_limits<std::uint32_t>::max());
}

TEST_CASE("every reason why an envelope does not open has a name") {
    CHECK(to_text(EnvelopeError::none) == "none");
    CHECK(to_text(EnvelopeError::foreign) == "foreign");
    CHECK(to_text(EnvelopeError::truncated) == "truncated");
    CHECK(to_text(EnvelopeError::other_version) == "other version");
    CHECK(to_text(EnvelopeError::corrupt) == "corrupt");
    CHECK(to_text(static_cast<EnvelopeError>(99)) == "unknown");
}

TEST_CASE("an envelope that was sealed for one key cannot be opened as another's") {
    std::string bytes;
    const std::size_t begin = drey::begin_envelope(bytes);
    bytes += "payload";
    drey::seal_envelope(bytes, begin, some_header, "users:42");
    CHECK(open_envelope(bytes, "users:42").payload == "payload");
    CHECK(open_envelope(bytes, "users:43").error == EnvelopeError::corrupt);
    CHECK(open_envelope(bytes).error == EnvelopeError::corrupt);
}
