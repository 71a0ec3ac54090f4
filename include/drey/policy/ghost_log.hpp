#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "drey/policy/policy.hpp"

namespace drey {

/// The order in which a ghost's keys came: a ring of places, in which a key is known by its age, 1
/// for the newest. A place is one bit, which says that its key was taken out and left a hole, and
/// the key's weight if keys differ in weight. A hole is gone when it has become the oldest place,
/// or when all are squeezed out.
///
/// Invariants: the oldest place in use is no hole, and the bits of those not in use are 0; count()
/// is the number of places in use that are no holes.
class GhostLog {
    using Bits = std::uint64_t;
    static constexpr std::uint32_t word_bits = 64;

public:
    /// Makes an empty log of `n` places, n > 0. False, and the log is not to be used, when memory
    /// is refused.
    bool allocate(std::uint32_t n, bool weighed) noexcept {
        *this = GhostLog{};
        holes_.reset(new (std::nothrow) Bits[words_for(n)]());
        if (weighed) weights_.reset(new (std::nothrow) Weight[n]);
        size_ = n;
        return holes_ && (!weighed || weights_);
    }

    /// Places, those in use (holes included), and those with a key.
    std::uint32_t size() const noexcept { return size_; }
    std::uint32_t length() const noexcept { return length_; }
    std::uint32_t count() const noexcept { return count_; }
    bool full() const noexcept { return length_ == size_; }

    bool is_hole(std::uint32_t age) const noexcept { return is_hole_at(at(age)); }
    Weight weight(std::uint32_t age) const noexcept { return weight_at(at(age)); }

    /// Adds the newest key. Needs a log that is not full.
    void push(Weight w) noexcept {
        if (weights_) weights_[next_] = w;
        next_ = after(next_);
        ++length_;
        ++count_;
    }

    /// Takes a key out and returns what it weighed.
    Weight erase(std::uint32_t age) noexcept {
        if (age == length_) return erase_oldest();
        const std::uint32_t place = at(age);
        flip(place);
        --count_;
        return weight_at(place);
    }

    /// The same for the oldest key. Needs one.
    Weight erase_oldest() noexcept {
        const Weight w = weight_at(oldest_);
        --count_;
        --length_;
        oldest_ = after(oldest_);
        if (count_ < length_) drop_holes();
        return w;
    }

    /// Squeezes all holes out: a key's age becomes the number of keys no older than it.
    /// `rename(rank)` is called before, with a function that tells the new age of an old one.
    /// False, and nothing has changed, when memory is refused. Linear in the size.
    template <class Rename>
    bool squeeze(Rename&& rename) noexcept {
        const std::size_t words = words_for(size_);
        std::unique_ptr<std::uint32_t[]> before(new (std::nothrow) std::uint32_t[words]);
        if (!before) return false;
        std::uint32_t holes = 0;
        for (std::size_t i = 0; i < words; ++i) {
            before[i] = holes;
            holes += static_cast<std::uint32_t>(std::popcount(holes_[i]));
        }
        const auto holes_before = [&](std::uint32_t place) {
            const Bits lower = (Bits{1} << place % word_bits) - 1;
            return before[place / word_bits] +
                   static_cast<std::uint32_t>(std::popcount(holes_[place / word_bits] & lower));
        };
        const std::uint32_t before_next = holes_before(next_);
        rename([&](std::uint32_t age) {
            const std::uint32_t place = at(age);
            const std::uint32_t wrapped = place < next_ ? 0 : holes;
            return age - (before_next + wrapped - holes_before(place));
        });
        std::uint32_t kept = 0;
        for (std::uint32_t age = 1; age <= length_; ++age) {
            const std::uint32_t place = at(age);
            if (is_hole_at(place)) {
                flip(place);
            } else if (++kept; weights_) {
                weights_[at(kept)] = weights_[place];
            }
        }
        length_ = kept;
        oldest_ = length_ > 0 ? at(length_) : next_;
        return true;
    }

    /// Allocated bytes.
    std::size_t memory() const noexcept {
        return words_for(size_) * sizeof(Bits) + (weights_ ? size_ * sizeof(Weight) : 0);
    }

    bool validate() const {
        std::size_t holes = 0, holes_in_use = 0;
        for (std::size_t i = 0; i < words_for(size_); ++i)
            holes += static_cast<std::size_t>(std::popcount(holes_[i]));
        for (std::uint32_t age = 1; age <= length_; ++age) holes_in_use += is_hole(age);
        return holes == holes_in_use && count_ + holes == length_ && length_ <= size_ &&
               (length_ == 0 || (at(length_) == oldest_ && !is_hole(length_)));
    }

private:
    void drop_holes() noexcept {
        while (is_hole_at(oldest_)) {
            flip(oldest_);
            --length_;
            oldest_ = after(oldest_);
        }
    }

    static std::size_t words_for(std::uint32_t n) noexcept {
        return (std::size_t{n} + word_bits - 1) / word_bits;
    }

    std::uint32_t at(std::uint32_t age) const noexcept {
        return next_ >= age ? next_ - age : next_ + (size_ - age);
    }
    std::uint32_t after(std::uint32_t place) const noexcept {
        return place + 1 == size_ ? 0 : place + 1;
    }
    bool is_hole_at(std::uint32_t place) const noexcept {
        return holes_[place / word_bits] >> place % word_bits & 1;
    }
    void flip(std::uint32_t place) noexcept {
        holes_[place / word_bits] ^= Bits{1} << place % word_bits;
    }
    Weight weight_at(std::uint32_t place) const noexcept { return weights_ ? weights_[place] : 1; }

    std::unique_ptr<Bits[]> holes_;
    std::unique_ptr<Weight[]> weights_;  // only with weights
    std::uint32_t size_ = 0;
    std::uint32_t length_ = 0;
    std::uint32_t count_ = 0;
    std::uint32_t next_ = 0;    // where the next key goes
    std::uint32_t oldest_ = 0;  // where the oldest key is
};

}  // namespace drey
