#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "drey/memory/slot_set.hpp"
#include "drey/types.hpp"

namespace drey {

/// How much to reclaim; the later ones include the earlier.
enum class Reclaim {
    nothing,
    some,  ///< what needs no fence of our own, if there is any
    all,   ///< all that nobody reads
};

/// Slots in no order, the first hundred or so at hand. Not thread-safe.
class SlotPile {
public:
    static constexpr std::size_t at_hand = 128;

    /// Makes room for all slots below n. May throw std::bad_alloc, changing nothing.
    void grow(std::size_t n) { more_.grow(n); }

    bool empty() const noexcept { return size() == 0; }
    std::size_t size() const noexcept { return count_ + more_.size(); }

    void add(Slot s) noexcept {
        if (count_ < at_hand) [[likely]] {
            first_[count_++] = s;
        } else {
            more_.add(s);
        }
    }

    /// Takes up to `at_hand` of them out; returns how many.
    std::size_t take_some(std::array<Slot, at_hand>& out) noexcept {
        std::size_t taken = count_;
        std::copy_n(first_.begin(), count_, out.begin());
        count_ = 0;
        for (Slot s = 0; taken < at_hand && (s = more_.next(s)) != no_slot; more_.remove(s))
            out[taken++] = s;
        return taken;
    }

    template <class F>
    void for_each(F&& f) const {
        std::for_each(first_.begin(), first_.begin() + count_, f);
        for (Slot s = more_.next(0); s != no_slot; s = more_.next(s + 1)) f(s);
    }

private:
    std::array<Slot, at_hand> first_;
    std::size_t count_ = 0;
    SlotSet more_;
};

/// The retired entries of a shard: those that nobody can find any more and somebody may still
/// read. Some wait for a fence of the readers, which any thread may make; the rest came later.
/// For the holder of the shard's lock.
template <class Moment>
class Retired {
public:
    Weight weight = 0;  ///< of those retired since the last reclaim began

    void grow(std::size_t n) {
        waiting_.grow(n);
        recent_.grow(n);
    }

    void add(Slot s) noexcept { recent_.add(s); }
    std::size_t size() const noexcept { return waiting_.size() + recent_.size(); }
    std::size_t recent() const noexcept { return recent_.size(); }

    /// Those that wait were all retired before `since()`.
    SlotPile& waiting() noexcept { return waiting_; }
    Moment since() const noexcept { return since_; }

    /// Lets all that came later wait too; `now` is after they were retired. None must be waiting.
    void wait(Moment now) noexcept {
        std::swap(waiting_, recent_);
        since_ = now;
    }

    template <class F>
    void for_each(F&& f) const {
        waiting_.for_each(f);
        recent_.for_each(f);
    }

private:
    SlotPile waiting_, recent_;
    Moment since_{};
};

}  // namespace drey
