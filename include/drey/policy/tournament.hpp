#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "drey/policy/miniature.hpp"
#include "drey/policy/sketch.hpp"

namespace drey {

/// Which share of a cache newcomers should be tried out in: miniatures with a share each see a
/// sample of the requests, and the share of the one that misses least of late is taken. Of the
/// keys, as many in a hundred are in the sample as a miniature holds of the entries.
///
/// At most 5 KB. O(1) a request, some 1,000 instructions.
class Tournament {
public:
    /// In parts of a hundred; the first is taken to begin with.
    static constexpr std::array<unsigned, 4> shares{15, 5, 40, 1};

    /// Miniatures of this size; `least` keys at least, though that be all keys of a small cache.
    static constexpr unsigned least = 32, one_in = 16, most = Miniature::most;
    static unsigned size_for(std::uint64_t entries) noexcept {
        const std::uint64_t some = std::min<std::uint64_t>(entries / one_in, most);
        return static_cast<unsigned>(std::max(some, std::clamp<std::uint64_t>(entries, 1, least)));
    }

    /// Begins anew, with miniatures of at most `room` keys, at least 1. False, and the old ones go
    /// on, when memory is refused. Must have succeeded once before the first request.
    bool begin(unsigned room) noexcept {
        try {
            Tournament begun;
            for (std::size_t i = 0; i < shares.size(); ++i)
                begun.players_[i] = Miniature(room, shares[i]);
            begun.set_size(room);
            *this = std::move(begun);
            return true;
        } catch (const std::bad_alloc&) {
            return false;
        }
    }

    /// Changes the size of the miniatures to another that there is room for.
    void set_size(unsigned size) noexcept {
        for (Miniature& player : players_) player.set_capacity(size);
        size_ = size;
        round_ = std::max(8u, size / 8);
    }

    unsigned size() const noexcept { return size_; }

    unsigned share_percent() const noexcept { return shares[leader_]; }

    /// A request for a key of the sample. Whether another share leads now.
    bool request(std::uint32_t name, const Sketch& sketch) noexcept {
        bool leader_missed = false;
        for (std::size_t i = 0; i < players_.size(); ++i) {
            if (players_[i].access(name, sketch)) continue;
            misses_[i] += 1;
            leader_missed |= i == leader_;
        }
        return leader_missed && ++in_round_ >= round_ && end_round();
    }

    std::size_t memory() const noexcept {
        std::size_t sum = sizeof(*this);
        for (const Miniature& player : players_) sum += player.memory();
        return sum;
    }

private:
    /// Rounds are short, that what is seen soon counts soon, and fade slowly, that it counts for
    /// long.
    bool end_round() noexcept {
        in_round_ = 0;
        const auto best = static_cast<std::size_t>(
            std::min_element(misses_.begin(), misses_.end()) - misses_.begin());
        const bool changes = misses_[best] < lead * misses_[leader_];
        if (changes) leader_ = best;
        for (float& misses : misses_) misses *= decay;
        return changes;
    }

    static constexpr float lead = 0.99f;         // a tie changes nothing
    static constexpr float decay = 0.98922802f;  // half after 64 rounds

    std::array<Miniature, shares.size()> players_;
    std::array<float, shares.size()> misses_{};
    std::size_t leader_ = 0;
    unsigned size_ = 0;
    unsigned in_round_ = 0;
    unsigned round_ = 8;  // misses of the leader
};

}  // namespace drey
