#pragma once

#include <cstdint>

#include "drey/types.hpp"

namespace drey {

/// The order in which the groups of a segment are searched for a hash: first its home, then by a
/// stride of the hash's own, so that those who find their home full spread over the whole segment
/// instead of crowding its neighbours; then all, one by one, so that any free place is found.
/// A group may come twice, to whoever adds, looks up and removes alike.
class ProbePath {
public:
    ProbePath(Hash h, std::uint32_t groups) noexcept
        : hash_(h), groups_(groups), at_(home(h, groups)) {}

    /// Where most searches begin and end: bits of the hash scaled to the number of groups.
    static std::uint32_t home(Hash h, std::uint32_t groups) noexcept {
        return scaled(h >> 32, groups);
    }

    std::uint32_t group() const noexcept { return at_; }

    /// Goes on; false if all were visited.
    bool next() noexcept {
        if (++visited_ >= strides + groups_) return false;
        std::uint64_t at = 0;
        if (visited_ < strides) {
            at = std::uint64_t{at_} + 1 + scaled(hash_ & 0xffffffffu, groups_ - 1);
        } else {
            at = std::uint64_t{home(hash_, groups_)} + (visited_ - strides);
        }
        at_ = static_cast<std::uint32_t>(at < groups_ ? at : at - groups_);
        return true;
    }

private:
    static constexpr std::uint32_t strides = 8;

    static std::uint32_t scaled(std::uint64_t word32, std::uint32_t below) noexcept {
        return static_cast<std::uint32_t>((word32 * below) >> 32);
    }

    Hash hash_;
    std::uint32_t groups_;
    std::uint32_t at_;
    std::uint32_t visited_ = 0;
};

}  // namespace drey
