#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace drey {

namespace detail {

/// Entry [0][b] is the checksum of the byte b; entry [n][b] that of b and n zero bytes after it.
using Crc32cTables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Crc32cTables make_crc32c_tables() noexcept {
    constexpr std::uint32_t polynomial = 0x82f63b78;  // Castagnoli's, lowest power in the top bit
    Crc32cTables tables{};
    for (std::uint32_t byte = 0; byte != 256; ++byte) {
        std::uint32_t remainder = byte;
        for (int bit = 0; bit != 8; ++bit)
            remainder = remainder >> 1 ^ (remainder & 1 ? polynomial : 0);
        tables[0][byte] = remainder;
    }
    for (std::size_t n = 1; n != tables.size(); ++n)
        for (std::size_t byte = 0; byte != 256; ++byte) {
            const std::uint32_t before = tables[n - 1][byte];
            tables[n][byte] = before >> 8 ^ tables[0][before & 0xff];
        }
    return tables;
}

inline constexpr Crc32cTables crc32c_tables = make_crc32c_tables();

}  // namespace detail

namespace detail {

/// By tables, eight bytes a step.
constexpr std::uint32_t crc32c_by_tables(std::string_view bytes, std::uint32_t crc) noexcept {
    const Crc32cTables& tables = crc32c_tables;
    const auto byte = [&](std::size_t at) -> std::uint32_t {
        return static_cast<unsigned char>(bytes[at]);
    };
    std::size_t at = 0;
    for (; bytes.size() - at >= 8; at += 8) {
        crc = tables[7][byte(at) ^ (crc & 0xff)] ^ tables[6][byte(at + 1) ^ (crc >> 8 & 0xff)] ^
              tables[5][byte(at + 2) ^ (crc >> 16 & 0xff)] ^ tables[4][byte(at + 3) ^ crc >> 24] ^
              tables[3][byte(at + 4)] ^ tables[2][byte(at + 5)] ^ tables[1][byte(at + 6)] ^
              tables[0][byte(at + 7)];
    }
    for (; at != bytes.size(); ++at) crc = crc >> 8 ^ tables[0][(crc ^ byte(at)) & 0xff];
    return crc;
}

#if defined(__x86_64__) && defined(__GNUC__)
/// By the instruction that some processors have for it.
[[gnu::target("sse4.2")]] inline std::uint32_t crc32c_by_instruction(std::string_view bytes,
                                                                     std::uint32_t crc) noexcept {
    std::uint64_t wide = crc;
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data(), 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    auto narrow = static_cast<std::uint32_t>(wide);
    for (const char byte : bytes)
        narrow = __builtin_ia32_crc32qi(narrow, static_cast<unsigned char>(byte));
    return narrow;
}
#endif

}  // namespace detail

/// CRC-32C of `bytes`. Sees every change within 32 neighbouring bits, and every three flipped bits
/// in up to 256 MiB (Koopman, "32-Bit Cyclic Redundancy Codes for Internet Applications", DSN
/// 2002).
///
/// `crc32c(b, crc32c(a))` is the checksum of a followed by b. Linear; never throws.
///
/// The polynomial is that of Castagnoli, Bräuer, Herrmann, "Optimization of Cyclic
/// Redundancy-Check Codes with 24 and 32 Parity Bits", IEEE Trans. Commun. 41 (1993); conventions
/// as in iSCSI (RFC 3720, 12.1 and B.4). Eight bytes a step by as many tables: Kounavis, Berry,
/// "Novel Table Lookup-Based Algorithms for High-Performance CRC Generation", IEEE Trans. Comput.
/// 57 (2008).
constexpr std::uint32_t crc32c(std::string_view bytes, std::uint32_t seed = 0) noexcept {
#if defined(__x86_64__) && defined(__GNUC__)
    if (!std::is_constant_evaluated() && __builtin_cpu_supports("sse4.2"))
        return ~detail::crc32c_by_instruction(bytes, ~seed);
#endif
    return ~detail::crc32c_by_tables(bytes, ~seed);
}

}  // namespace drey
