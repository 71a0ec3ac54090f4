#pragma once

#include <concepts>
#include <cstddef>

/// Numbers in little-endian order, whatever this machine's: byte by byte, so that any address does.
/// Compilers make one load or store of it.
namespace drey::detail {

template <std::unsigned_integral U>
constexpr U load_little(const char* from) noexcept {
    U value = 0;
    for (std::size_t i = 0; i != sizeof(U); ++i) {
        const U byte = static_cast<unsigned char>(from[i]);
        value = static_cast<U>(value | byte << 8 * i);
    }
    return value;
}

template <std::unsigned_integral U>
constexpr void store_little(char* to, U value) noexcept {
    for (std::size_t i = 0; i != sizeof(U); ++i) {
        to[i] = static_cast<char>(static_cast<unsigned char>(value >> 8 * i & 0xff));
    }
}

}  // namespace drey::detail
