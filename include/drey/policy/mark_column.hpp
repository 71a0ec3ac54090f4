#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "drey/detail/stable_column.hpp"
#include "drey/types.hpp"

namespace drey {

/// What a hit leaves for a policy that marks: one byte.
using Mark = std::atomic<std::uint8_t>;

/// The marks of some slots, which the store keeps beside what a hit reads anyway: `count` slots
/// from `first` on. Those of 16 neighbours lie together, one such run every 32 bytes.
struct LentMarks {
    static constexpr Slot run = 16;
    static constexpr Slot stride = 32;

    Slot first = 0;
    Slot count = 0;
    Mark* marks = nullptr;

    /// Of the slot `first + i`.
    Mark& operator[](Slot i) const noexcept {
        static_assert(stride == 2 * run);
        return marks[i + (i & ~(run - 1))];
    }
};

/// A mark a slot, in memory of its own or, from the first that are lent on, the store's.
///
/// Thread safety: its own may be read and written by any thread beside every other member. What is
/// lent may be, too, by who finds it in the store; here it is for the holder of the lock.
class MarkColumn {
public:
    /// The marks of slots that come after all before them. May throw std::bad_alloc, changing
    /// nothing.
    void lend(const LentMarks& more) {
        lent_.push_back(more);
        newest_ = more;
    }

    /// Makes room for every slot below `n`, unless marks are lent. May throw std::bad_alloc.
    void grow(std::size_t n) {
        if (lent_.empty()) own_.grow(n);
    }

    /// Starts the mark of a slot that enters the policy. Nobody can be touching it yet.
    void start(Slot s, std::uint8_t at) noexcept {
        if (lent_.empty()) {
            own_.emplace(s, at);
        } else {
            set(s, at);
        }
    }

    // Order does not matter for a mark: every access is relaxed.
    std::uint8_t get(Slot s) const noexcept { return (*this)[s].load(std::memory_order_relaxed); }
    void set(Slot s, std::uint8_t to) noexcept { (*this)[s].store(to, std::memory_order_relaxed); }

    Mark& operator[](Slot s) const noexcept {
        if (const Slot i = s - newest_.first; i < newest_.count) [[likely]]
            return newest_[i];
        return elsewhere(s);
    }

    /// Sets a mark to `to` if `wanted`. Whether it is cannot be foreseen, and to guess wrong costs
    /// more than to write: else it writes where nobody looks, so that there is no branch. (The
    /// assembler is empty; it keeps compilers from making one again.) A mark that is saturated is
    /// not written to, so that a hot entry's cache line stays shared between those that hit it.
    [[gnu::always_inline]] static void set_if(bool wanted, Mark& mark, unsigned to) noexcept {
        Mark nowhere;
        Mark* where = wanted ? &mark : &nowhere;
#ifdef __GNUC__
        asm volatile("" : "+r"(where));
#endif
        where->store(static_cast<std::uint8_t>(to), std::memory_order_relaxed);
    }

private:
    Mark& elsewhere(Slot s) const noexcept {
        if (lent_.empty()) return *own_.address(s);
        auto lent = lent_.rbegin();
        while (s < lent->first) ++lent;
        return (*lent)[s - lent->first];
    }

    LentMarks newest_;
    std::vector<LentMarks> lent_;
    detail::StableColumn<Mark> own_;
};

}  // namespace drey
