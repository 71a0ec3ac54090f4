#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace drey {

/// Remembers about the keys evicted last, in 2.1 bytes a key; for policies that need not know them
/// exactly (Ghost does). Keys are 32-bit names that nobody can choose who does not know the seed.
///
/// A key's name chooses one of many small rings, and 16 bits of it go there in place of the oldest
/// in that ring. As names are spread evenly, that one is about as old as the oldest of all: of
/// rings of 31, a key is remembered for as long as it was asked, give or take a fifth. Who is
/// looked up is mistaken for another once in 2,000 times.
///
/// Every call but `resize` is O(1), and reads one cache line.
///
/// Invariant: marks are 0 from cells_ on.
class RoughGhost {
    static constexpr unsigned ring_cells = 31;

public:
    /// Makes it one for this many keys, more or fewer, and forgets some if they are fewer. False,
    /// and nothing has changed, when memory is refused. Linear.
    bool resize(std::size_t keys) noexcept {
        const std::size_t count = (keys + ring_cells - 1) / ring_cells;
        if (count != rings_count_ && !replace(count)) return false;
        const auto cells = static_cast<unsigned>(count == 0 ? 0 : (keys + count - 1) / count);
        for (std::size_t i = 0; cells < cells_ && i < count; ++i)
            std::fill(rings_[i].marks.begin() + cells, rings_[i].marks.end() - 1, std::uint16_t{0});
        cells_ = cells;
        return true;
    }

    /// Of as many keys, or a few more.
    std::size_t room() const noexcept { return rings_count_ * cells_; }
    std::size_t memory() const noexcept { return rings_count_ * sizeof(Ring); }

    void add(std::uint32_t name) noexcept {
        if (rings_count_ == 0) return;
        Ring& ring = ring_of(name);
        std::uint16_t& next = ring.marks[ring_cells];
        if (next >= cells_) next = 0;
        ring.marks[next++] = mark_of(name);
    }

    /// Whether `name` was remembered; it is not any more.
    bool remove(std::uint32_t name) noexcept {
        if (rings_count_ == 0) return false;
        Ring& ring = ring_of(name);
        const std::uint16_t mark = mark_of(name);
        // Usually it is not there. Compilers make this vector instructions, as it has no way out.
        std::uint16_t there = 0;
        for (const std::uint16_t each : ring.marks) there |= each == mark ? 0xffff : 0;
        if (there == 0) return false;
        unsigned at = 0;
        while (ring.marks[at] != mark) ++at;
        ring.marks[at] = 0;
        return true;
    }

    bool validate() const {
        for (std::size_t i = 0; i < rings_count_; ++i) {
            const auto& marks = rings_[i].marks;
            if (std::any_of(marks.begin() + cells_, marks.end() - 1, [](auto m) { return m != 0; }))
                return false;
        }
        return true;
    }

private:
    /// The last is no mark, but says where the next comes: in place of the oldest. It is too small
    /// to be taken for a mark, so that all can be compared with one; 0 is none.
    struct alignas(64) Ring {
        std::array<std::uint16_t, ring_cells + 1> marks{};
    };

    Ring& ring_of(std::uint32_t name) noexcept {
        return rings_[static_cast<std::size_t>(std::uint64_t{name} * rings_count_ >> 32)];
    }
    static std::uint16_t mark_of(std::uint32_t name) noexcept {
        return std::max(std::uint16_t{ring_cells + 1}, static_cast<std::uint16_t>(name));
    }

    /// Names are spread over the rings in order, so that some rings come from one, or one from
    /// some.
    bool replace(std::size_t count) noexcept {
        std::unique_ptr<Ring[]> rings(count == 0 ? nullptr : new (std::nothrow) Ring[count]());
        if (count > 0 && !rings) return false;
        for (std::size_t i = 0; rings_count_ > 0 && i < count; ++i)
            rings[i] = rings_[static_cast<std::size_t>(static_cast<double>(i) /
                                                       static_cast<double>(count) *
                                                       static_cast<double>(rings_count_))];
        rings_ = std::move(rings);
        rings_count_ = count;
        return true;
    }

    std::unique_ptr<Ring[]> rings_;
    std::size_t rings_count_ = 0;
    unsigned cells_ = 0;  // that are in use, of each ring
};

}  // namespace drey
