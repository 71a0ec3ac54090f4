#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "drey/types.hpp"

namespace drey {

/// What a hit leaves for a policy that marks: a count of 0 to 3, two bits of a word that 16
/// neighbouring slots share. So a cache's marks are a quarter of a byte an entry, which stay near
/// the processor when the entries do not.
///
/// Any number of threads may use a mark at once. Order does not matter for one (a policy that
/// misses one errs by one hit), so every access is relaxed; and every change is a plain load and
/// store in place of a locked instruction. The price is that of two changes at once to neighbours
/// one may get lost: a hit, or what a policy has just set.
class Mark {
public:
    using Word = std::atomic<std::uint32_t>;
    static constexpr unsigned in_a_word = 16;
    static constexpr unsigned most = 3;

    /// Number i of those that begin with `words`.
    Mark(Word* words, std::size_t i) noexcept
        : word_(words + i / in_a_word), shift_(static_cast<unsigned>(i) * 2 % 32) {}

    /// Whether both are the same slot's.
    bool operator==(const Mark&) const = default;

    unsigned get() const noexcept { return bits() >> shift_ & most; }
    /// Of more than `most` only the two low bits count.
    void set(unsigned to) const noexcept {
        word_->store((bits() & ~(most << shift_)) | (to & most) << shift_,
                     std::memory_order_relaxed);
    }

    /// Adds one, up to `limit`, which is at most `most`. Whether it is there cannot be foreseen,
    /// and to guess wrong costs more than to write: else it writes where nobody looks, so that
    /// there is no branch. (The assembler is empty; it keeps compilers from making one again.) A
    /// mark that is saturated is not written to, so that a hot entry's cache line stays shared
    /// between those that hit it.
    [[gnu::always_inline]] void add(unsigned limit = most) const noexcept {
        const std::uint32_t now = bits();
        Word nowhere;
        Word* where = (now >> shift_ & most) < limit ? word_ : &nowhere;
#ifdef __GNUC__
        asm volatile("" : "+r"(where));
#endif
        where->store(now + (std::uint32_t{1} << shift_), std::memory_order_relaxed);
    }

private:
    std::uint32_t bits() const noexcept { return word_->load(std::memory_order_relaxed); }

    Word* word_;
    unsigned shift_;
};

}  // namespace drey
