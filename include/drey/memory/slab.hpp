#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "drey/detail/stable_column.hpp"
#include "drey/types.hpp"

namespace drey {

/// Slot -> entry: raw storage that never moves, and the slots that are free.
///
/// A slot is free or holds an entry. The free ones form a stack in their own storage, so the slot
/// that was freed last, still warm, is reused first. For the holder of the shard's lock, except
/// `at`.
template <class E>
class Slab {
public:
    /// The entry in s, which was published. Safe without the lock for who protects it.
    E& at(Slot s) noexcept { return *std::launder(reinterpret_cast<E*>(cells_.address(s))); }
    const E& at(Slot s) const noexcept {
        return *std::launder(reinterpret_cast<const E*>(cells_.address(s)));
    }

    /// Where s's entry is, to be protected before it is looked at.
    const E* pointer(Slot s) const noexcept {
        return std::launder(reinterpret_cast<const E*>(cells_.address(s)));
    }

    /// How many slots have ever held an entry; all of them are below.
    std::size_t size() const noexcept { return used_; }

    /// Makes sure that there is a slot for one more entry. May throw std::bad_alloc.
    void reserve_one() {
        if (free_ == no_slot) cells_.grow(used_ + 1);
    }

    /// The slot of the next entry that is made.
    Slot next() const noexcept { return free_ != no_slot ? free_ : static_cast<Slot>(used_); }

    /// Makes an entry in the next slot, which was reserved. Strong guarantee.
    template <class... Args>
    Slot make(Args&&... args) {
        const Slot s = next();
        const Slot free_after = free_ != no_slot ? link(free_) : no_slot;
        try {
            ::new (static_cast<void*>(cells_.address(s))) E(std::forward<Args>(args)...);
        } catch (...) {
            if (free_ != no_slot) set_link(s, free_after);
            throw;
        }
        if (free_ == no_slot) ++used_;
        free_ = free_after;
        return s;
    }

    /// Takes back the slot of an entry that was destroyed.
    void give_back(Slot s) noexcept {
        set_link(s, free_);
        free_ = s;
    }

private:
    struct Cell {
        alignas(E) alignas(
            Slot) std::byte bytes[sizeof(E) > sizeof(Slot) ? sizeof(E) : sizeof(Slot)];
    };

    void set_link(Slot s, Slot to) noexcept {
        ::new (static_cast<void*>(cells_.address(s))) Slot(to);
    }
    Slot link(Slot s) const noexcept {
        return *std::launder(reinterpret_cast<const Slot*>(cells_.address(s)));
    }

    detail::StableColumn<Cell> cells_;
    Slot free_ = no_slot;
    std::size_t used_ = 0;
};

}  // namespace drey
