#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "drey/types.hpp"

namespace drey {

/// For each slot two other slots, its neighbours in a queue, and a bit that says which queue, in as
/// many bytes as numbers below that of all slots need: 4 up to 2^15 slots, 5 up to 2^19, 6 up to
/// 2^23, 7 up to 2^27, 8 up to 2^31.
///
/// A record is read and written as a part of the 8 bytes that begin (or, on big-endian machines,
/// end) with it. O(1) but for `grow`. Not thread-safe.
class SlotLinks {
public:
    struct Link {
        Slot newer = 0;
        Slot older = 0;
        unsigned queue = 0;
    };

    std::size_t size() const noexcept { return size_; }

    /// Makes room for every slot below `n`. May throw std::bad_alloc, changing nothing. Linear.
    void grow(std::size_t n) {
        if (n <= size_) return;
        SlotLinks wider;
        wider.size_ = n;
        wider.bits_ = static_cast<unsigned>(std::bit_width(n - 1));
        wider.bytes_ = (2 * wider.bits_ + 1 + 7) / 8;
        wider.mask_ = (std::uint64_t{1} << wider.bits_) - 1;
        wider.storage_.resize(margin + n * wider.bytes_ + margin);
        for (Slot s = 0; s < size_; ++s) wider.set(s, get(s));
        *this = std::move(wider);
    }

    Link get(Slot s) const noexcept {
        const std::uint64_t record = load(s);
        return {static_cast<Slot>(record >> bits_ & mask_), static_cast<Slot>(record & mask_),
                static_cast<unsigned>(record >> 2 * bits_ & 1)};
    }
    Slot newer(Slot s) const noexcept { return static_cast<Slot>(load(s) >> bits_ & mask_); }
    Slot older(Slot s) const noexcept { return static_cast<Slot>(load(s) & mask_); }
    unsigned queue(Slot s) const noexcept { return load(s) >> 2 * bits_ & 1; }

    void set(Slot s, Link link) noexcept {
        change(s, ~std::uint64_t{0} >> (63 - 2 * bits_),
               (std::uint64_t{link.queue} << bits_ | link.newer) << bits_ | link.older);
    }
    void set_newer(Slot s, Slot newer) noexcept {
        change(s, mask_ << bits_, std::uint64_t{newer} << bits_);
    }
    void set_older(Slot s, Slot older) noexcept { change(s, mask_, older); }

private:
    static constexpr std::size_t margin = 8;  // before and after, for what is read along

    std::size_t place(Slot s) const noexcept {
        const std::size_t at = margin + s * bytes_;
        return std::endian::native == std::endian::little ? at : at + bytes_ - 8;
    }
    std::uint64_t load(Slot s) const noexcept {
        std::uint64_t record;
        std::memcpy(&record, storage_.data() + place(s), sizeof record);
        return record;
    }
    void change(Slot s, std::uint64_t which, std::uint64_t to) noexcept {
        const std::uint64_t record = (load(s) & ~which) | to;
        std::memcpy(storage_.data() + place(s), &record, sizeof record);
    }

    std::vector<unsigned char> storage_;
    std::size_t size_ = 0;
    std::size_t bytes_ = 0;   // of a record
    unsigned bits_ = 0;       // of a slot
    std::uint64_t mask_ = 0;  // so many ones
};

}  // namespace drey
