#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "drey/types.hpp"

namespace drey {

/// A set of slots: a bit a slot, and above it a bit for each word that is not empty, so that
/// finding the members of a sparse set is quick. Nothing but `grow` allocates. Not thread-safe.
class SlotSet {
public:
    /// Makes room for slots below n. May throw std::bad_alloc, changing nothing.
    void grow(std::size_t n) {
        if (n <= words_.size() * 64) return;
        summary_.resize((n + 4095) / 4096);
        words_.resize((n + 63) / 64);
    }

    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }

    bool contains(Slot s) const noexcept {
        return s / 64 < words_.size() && (words_[s / 64] & bit(s)) != 0;
    }

    /// Adds s, which is not in.
    void add(Slot s) noexcept {
        words_[s / 64] |= bit(s);
        summary_[s / 4096] |= bit(s / 64);
        ++size_;
    }

    /// Removes s, which is in.
    void remove(Slot s) noexcept {
        words_[s / 64] &= ~bit(s);
        if (words_[s / 64] == 0) summary_[s / 4096] &= ~bit(s / 64);
        --size_;
    }

    /// The first member at or after `from`, or `no_slot`.
    Slot next(Slot from) const noexcept {
        std::size_t word = from / 64;
        if (word >= words_.size()) return no_slot;
        if (const auto rest = words_[word] & ~(bit(from) - 1); rest != 0) return member(word, rest);
        ++word;
        for (std::size_t block = word / 64; block < summary_.size(); ++block, word = block * 64)
            if (const auto rest = summary_[block] & ~(bit(word) - 1); rest != 0) {
                word = block * 64 + static_cast<std::size_t>(std::countr_zero(rest));
                return member(word, words_[word]);
            }
        return no_slot;
    }

private:
    static std::uint64_t bit(std::size_t i) noexcept { return std::uint64_t{1} << (i % 64); }
    static Slot member(std::size_t word, std::uint64_t bits) noexcept {
        return static_cast<Slot>(word * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
    }

    std::vector<std::uint64_t> words_;
    std::vector<std::uint64_t> summary_;  // bit w: words_[w] is not 0
    std::size_t size_ = 0;
};

}  // namespace drey
