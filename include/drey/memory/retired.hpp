#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "drey/memory/slot_set.hpp"
#include "drey/types.hpp"

namespace drey {

/// How much to reclaim; the later ones include the earlier.
enum class Reclaim {
    nothing,
    some,  ///< what needs no fence of our own, if there is any
    all,   ///< all that nobody reads
};

/// No more than this many entries of a shard wait for one fence.
inline constexpr std::size_t retired_batch = 128;

/// The retired entries of a shard: those that nobody can find any more and somebody may still
/// read. A batch waits for a fence of the readers, which any thread may make; the rest came later.
/// For the holder of the shard's lock.
template <class Moment>
class Retired {
public:
    using Batch = std::array<Slot, retired_batch>;

    Weight weight = 0;  ///< of those retired since the last reclaim began

    /// Makes room for all slots below n. May throw std::bad_alloc, changing nothing.
    void grow(std::size_t n) { more_.grow(n); }

    std::size_t size() const noexcept { return waiting_count_ + recent(); }
    std::size_t recent() const noexcept { return recent_count_ + more_.size(); }
    bool is_any_waiting() const noexcept { return waiting_count_ != 0; }

    void add(Slot s) noexcept {
        if (recent_count_ < retired_batch) [[likely]] {
            recent_[recent_count_++] = s;
        } else {
            more_.add(s);
        }
    }

    /// Lets those that came later wait, a batch at most. None must be waiting. `now` is after they
    /// were retired.
    void wait(Moment now) noexcept {
        std::swap(waiting_, recent_);
        waiting_count_ = std::exchange(recent_count_, 0);
        for (Slot s = 0; recent_count_ < retired_batch && (s = more_.next(s)) != no_slot;
             more_.remove(s))
            recent_[recent_count_++] = s;
        since_ = now;
    }

    /// Those that wait were all retired before this.
    Moment since() const noexcept { return since_; }

    /// Takes those that wait out; returns how many.
    std::size_t take_waiting(Batch& out) noexcept {
        return take_all(waiting_, waiting_count_, out);
    }

    /// Takes a batch of those that came later out, each time another one; none at the end. What
    /// another thread's `wait` moves meanwhile is among those that wait, or that came last.
    class Pass {
    public:
        std::size_t take(Retired& from, Batch& out) noexcept {
            if (!std::exchange(began_, true) && from.recent_count_ != 0)
                return take_all(from.recent_, from.recent_count_, out);
            std::size_t count = 0;
            while (count < retired_batch && (next_ = from.more_.next(next_)) != no_slot) {
                out[count++] = next_;
                from.more_.remove(next_++);
            }
            if (count == 0 && !std::exchange(ended_, true))
                return take_all(from.recent_, from.recent_count_, out);
            return count;
        }

    private:
        bool began_ = false, ended_ = false;
        Slot next_ = 0;
    };

    /// Puts one back that is still being read.
    void keep(Slot s) noexcept { more_.add(s); }

    template <class F>
    void for_each(F&& f) const {
        std::for_each(waiting_.begin(), waiting_.begin() + waiting_count_, f);
        std::for_each(recent_.begin(), recent_.begin() + recent_count_, f);
        for (Slot s = more_.next(0); s != no_slot; s = more_.next(s + 1)) f(s);
    }

private:
    static std::size_t take_all(const Batch& from, std::size_t& count, Batch& out) noexcept {
        std::copy_n(from.begin(), count, out.begin());
        return std::exchange(count, 0);
    }

    Batch waiting_, recent_;
    std::size_t waiting_count_ = 0, recent_count_ = 0;
    SlotSet more_;  // came when recent_ was full, or were read when their time came
    Moment since_{};
};

}  // namespace drey
