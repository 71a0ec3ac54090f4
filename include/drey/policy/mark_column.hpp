#pragma once

#include <cstddef>
#include <vector>

#include "drey/detail/stable_column.hpp"
#include "drey/policy/mark.hpp"
#include "drey/types.hpp"

namespace drey {

/// A mark a slot. Thread safety: marks may be read and written by any thread beside `grow`.
class OwnMarks {
public:
    /// Makes room for every slot below `n`. May throw std::bad_alloc.
    void grow(std::size_t n) {
        words_.grow((n + Mark::in_a_word - 1) / Mark::in_a_word);
        for (; made_ < words_.size(); ++made_) words_.emplace(static_cast<Slot>(made_), 0u);
    }

    Mark operator[](Slot s) const noexcept {
        return {words_.address(s / Mark::in_a_word), s % Mark::in_a_word};
    }

private:
    detail::StableColumn<Mark::Word> words_;
    std::size_t made_ = 0;  // of them
};

/// The marks of some slots, which the store keeps where hits find them without asking the policy:
/// of `count` slots from `first` on. Both are multiples of `Mark::in_a_word`.
struct LentMarks {
    Slot first = 0;
    Slot count = 0;
    Mark::Word* words = nullptr;

    /// Of the slot `first + i`.
    Mark operator[](Slot i) const noexcept { return {words, i}; }
};

/// A mark a slot, in memory of its own or, from the first that are lent on, the store's.
///
/// Thread safety: its own may be read and written by any thread beside every member but
/// `lend`. What is lent may be, too, by who finds it in the store; here it is for the holder of the
/// lock.
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

    Mark operator[](Slot s) const noexcept {
        if (const Slot i = s - newest_.first; i < newest_.count) [[likely]]
            return newest_[i];
        return elsewhere(s);
    }

private:
    Mark elsewhere(Slot s) const noexcept {
        if (lent_.empty()) return own_[s];
        auto lent = lent_.rbegin();
        while (s < lent->first) ++lent;
        return (*lent)[s - lent->first];
    }

    LentMarks newest_;
    std::vector<LentMarks> lent_;
    OwnMarks own_;
};

}  // namespace drey
