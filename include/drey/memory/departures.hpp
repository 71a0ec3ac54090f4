#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "drey/memory/retired.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

namespace drey {

/// What one call leaves to be done after the lock: the entries that it made leave, if a listener
/// is to be told of them, and what to reclaim. Allocates only beyond the first 16 entries.
class Departures {
public:
    Reclaim reclaim = Reclaim::nothing;

    struct Departure {
        Slot slot;
        Removal cause;
    };

    /// Makes sure that one more can be added. May throw std::bad_alloc.
    void reserve_one() {
        if (count_ >= first_.size()) more_.reserve(geometric(count_ - first_.size() + 1));
    }

    void add(Slot slot, Removal cause) noexcept {
        if (count_ < first_.size()) {
            first_[count_] = {slot, cause};
        } else {
            more_.push_back({slot, cause});
        }
        ++count_;
    }

    bool full_without_allocating() const noexcept { return count_ == first_.size(); }
    std::size_t size() const noexcept { return count_; }
    Departure operator[](std::size_t i) const noexcept {
        return i < first_.size() ? first_[i] : more_[i - first_.size()];
    }

private:
    std::size_t geometric(std::size_t n) const noexcept {
        return n <= more_.capacity() ? n : 2 * n;
    }

    std::array<Departure, 16> first_;
    std::vector<Departure> more_;
    std::size_t count_ = 0;
};

}  // namespace drey
