#pragma once

#include <cstdint>

#include "drey/types.hpp"

namespace drey {

/// Where a hash's home is among some groups: its upper half, scaled to their number. The homes of
/// the 2^n shards of a cache lie one after another, so the first n bits choose the shard, and those
/// after them the home among the shard's own groups: `among(h, groups << n)` is number
/// `among(h, groups, n)` of the groups of that shard.
struct Home {
    static std::uint32_t among(Hash h, std::uint32_t groups, unsigned shard_bits = 0) noexcept {
        const auto place = static_cast<std::uint32_t>(h >> 32);
        return scaled(static_cast<std::uint32_t>(std::uint64_t{place} << shard_bits), groups);
    }
    static std::uint32_t scaled(std::uint32_t word, std::uint32_t below) noexcept {
        return static_cast<std::uint32_t>(std::uint64_t{word} * below >> 32);
    }
};

/// The order in which the groups of a segment are searched for a hash: first its home, then by a
/// stride of the hash's own, so that those who find their home full spread over the whole segment
/// instead of crowding its neighbours; then all, one by one, so that any free place is found.
/// A group may come twice, to whoever adds, looks up and removes alike.
class ProbePath {
public:
    ProbePath(Hash h, std::uint32_t groups, unsigned shard_bits = 0) noexcept
        : stride_(1 + Home::scaled(static_cast<std::uint32_t>(h), groups - 1)), groups_(groups),
          home_(Home::among(h, groups, shard_bits)), at_(home_) {}

    std::uint32_t group() const noexcept { return at_; }

    /// Goes on; false if all were visited.
    bool next() noexcept {
        if (++visited_ >= strides + groups_) return false;
        const std::uint64_t at = visited_ < strides ? std::uint64_t{at_} + stride_
                                                    : std::uint64_t{home_} + (visited_ - strides);
        at_ = static_cast<std::uint32_t>(at < groups_ ? at : at - groups_);
        return true;
    }

private:
    static constexpr std::uint32_t strides = 8;

    std::uint32_t stride_;
    std::uint32_t groups_;
    std::uint32_t home_;
    std::uint32_t at_;
    std::uint32_t visited_ = 0;
};

}  // namespace drey
