#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include "drey/codec/envelope.hpp"

namespace drey::redis {

/// What was seen at a key, as far as it takes to tell whether it is still that: the envelope's
/// header, whose stamp no two writes share, or the beginning of whatever is there instead. Nothing:
/// the key did not exist.
class Seen {
public:
    Seen() = default;
    explicit Seen(std::string_view bytes) : size_(envelope_id(bytes).size()) {
        std::copy_n(bytes.data(), size_, bytes_.data());
    }

    bool empty() const noexcept { return size_ == 0; }
    std::string_view id() const noexcept { return {bytes_.data(), size_}; }

private:
    std::array<char, envelope_header_size> bytes_;
    std::size_t size_ = 0;
};

}  // namespace drey::redis
