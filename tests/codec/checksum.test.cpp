#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "codec/random_value.hpp"
#include "drey/codec/checksum.hpp"
#include "support/catch.hpp"

namespace {

using drey::crc32c;

/// The definition: one bit at a time.
std::uint32_t bit_by_bit(std::string_view bytes) {
    std::uint32_t crc = 0xffffffff;
    for (const char byte : bytes) {
        crc ^= static_cast<unsigned char>(byte);
        for (int bit = 0; bit != 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

}  // namespace

static_assert(crc32c("123456789") == 0xe3069283, "it can be computed by the compiler");

TEST_CASE("CRC-32C has the values of RFC 3720, appendix B.4") {
    std::string ascending, descending;
    for (int i = 0; i != 32; ++i) {
        ascending += static_cast<char>(i);
        descending += static_cast<char>(31 - i);
    }
    CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);
    CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
    CHECK(crc32c(ascending) == 0x46dd794e);
    CHECK(crc32c(descending) == 0x113fdb5c);
    const std::string_view read_command(
        "\x01\xc0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
        "\x14\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x14\x00\x00\x00\x18"
        "\x28\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00",
        48);
    CHECK(crc32c(read_command) == 0xd9963a56);
    CHECK(crc32c("") == 0);
    CHECK(crc32c("123456789") == 0xe3069283);
}

TEST_CASE("CRC-32C of every length and alignment is what one bit at a time gives") {
    codec_test::Dice dice(20260);
    std::string bytes(96, '\0');
    for (char& byte : bytes) byte = dice.any<char>();
    for (std::size_t begin = 0; begin != 8; ++begin)
        for (std::size_t size = 0; size != 80; ++size) {
            const auto part = std::string_view(bytes).substr(begin, size);
            const std::uint32_t expected = bit_by_bit(part);
            if (crc32c(part) != expected ||
                ~drey::detail::crc32c_by_tables(part, 0xffffffff) != expected)
                FAIL("begin " << begin << ", size " << size);
        }
    SUCCEED();
}

TEST_CASE("CRC-32C of parts is that of the whole, wherever it is cut") {
    const std::string_view whole = "a value that is longer than one step of eight bytes";
    for (std::size_t cut = 0; cut <= whole.size(); ++cut)
        CHECK(crc32c(whole.substr(cut), crc32c(whole.substr(0, cut))) == crc32c(whole));
}
