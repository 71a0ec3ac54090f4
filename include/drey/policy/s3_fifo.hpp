#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "drey/policy/ghost.hpp"
#include "drey/policy/marks.hpp"
#include "drey/policy/policy.hpp"
#include "drey/policy/slot_queues.hpp"

namespace drey {

/// The numbers S3-FIFO leaves open.
struct S3FifoTuning {
    unsigned promote_at = 1;      ///< hits in S that earn a place in M, 1 to 3; the paper has 2
    bool refuse_heavy = false;    ///< turn away what is heavier than S, as libCacheSim does
    unsigned small_percent = 10;  ///< S's share of the capacity
    unsigned ghost_percent = 90;  ///< what G remembers, in parts of the capacity
};

/// S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction",
/// SOSP 2023): a small queue S tries out newcomers, a main queue M keeps what was hit there, a
/// ghost G remembers whom S threw out; who returns while G remembers goes straight to M. Hits only
/// count, up to 3; M puts the hit back at its head for one count each.
///
/// Where we differ from the paper and its authors' code:
///  - One hit in S suffices. It misses less on real traces on average, and never much more.
///  - S is at least 1, so caches of under 20 work.
///  - What is heavier than S is admitted into S like anything else: a cache must not silently
///    refuse what fits, and S outgrows its share anyway until M has filled. `refuse_heavy` turns
///    it away, as theirs does.
///
/// O(1) amortised; 4.3 to 8.3 bytes a slot (8 more with weights), and 7.3 for each remembered key
/// (19).
///
/// Invariant: used_[q] is what the entries in queue q weigh.
template <S3FifoTuning tuning = S3FifoTuning{}>
class BasicS3Fifo {
    static_assert(tuning.promote_at >= 1 && tuning.promote_at <= 3,
                  "drey: S3FifoTuning::promote_at must be 1 to 3");
    static_assert(tuning.small_percent <= 100,
                  "drey: S3FifoTuning::small_percent must be at most 100");

public:
    static constexpr OnHit on_hit = OnHit::marks;

    void budget(Budget b) {
        if (b.weighed) weights_.resize(slots_);
        weighed_ = b.weighed;
        small_most_ = std::max<Weight>(1, detail::percent(b.capacity, tuning.small_percent));
        main_most_ = b.capacity - std::min(small_most_, b.capacity);
        ghost_.budget({detail::percent(b.capacity, tuning.ghost_percent), b.weighed});
    }

    void grow(std::size_t slots) {
        if (slots <= slots_) return;
        queues_.grow(slots);
        hits_.grow(slots);
        if (weighed_) weights_.resize(slots);
        slots_ = slots;
    }

    /// A key that G remembers will be inserted into M. Asked now, since the evictions that make
    /// room for it may push it out of G.
    bool admit(Hash h, Weight w) noexcept {
        returns_ = ghost_.remove(h);
        return !tuning.refuse_heavy || w <= small_most_;
    }

    void inserted(Slot s, Hash, Weight w) noexcept {
        hits_.start(s);
        if (weighed_) weights_[s] = w;
        enter(std::exchange(returns_, false) ? main : small, s);
    }

    void moved(Slot from, Slot to, Weight w) noexcept {
        queues_.replace(from, to);
        hits_.start(to, hits_.get(from));
        Weight& used = used_[queues_.queue_of(to)];
        used -= weight(from);
        if (weighed_) weights_[to] = w;
        used += weight(to);
    }

    void erased(Slot s) noexcept {
        used_[queues_.queue_of(s)] -= weight(s);
        queues_.erase(s);
    }

    void hit(Slot s, Hash) noexcept { hits_.touch(s); }
    static void touch(Mark mark) noexcept { Marks<3>::touch(mark); }
    void lend(const LentMarks& marks) { hits_.lend(marks); }

    Slot evict() noexcept {
        for (;;) {
            const bool from_main = used_[main] > main_most_ || queues_.empty(small);
            const Slot victim = from_main ? evict_from_main() : evict_from_small();
            if (victim != no_slot) return victim;
        }
    }

    void evicted(Slot s, Hash h) noexcept {
        if (queues_.queue_of(s) == small) ghost_.add(h, weight(s));
    }

    /// What is in M is inserted with the hits that earn a place there, and takes it, in order, with
    /// the first eviction. Lost: hits in M, and whom G remembers.
    template <class F>
    void each_in_order(F&& f) const {
        queues_.each(main, [&](Slot s) { f(s, tuning.promote_at); });
        queues_.each(small, [&](Slot s) { f(s, unsigned{hits_.get(s)}); });
    }

    bool validate() const {
        if (!queues_.validate() || !ghost_.validate()) return false;
        for (const Queue queue : {small, main}) {
            Weight used = 0;
            queues_.each(queue, [&](Slot s) { used += weight(s); });
            if (used != used_[queue]) return false;
        }
        return true;
    }

private:
    enum Queue : unsigned { small, main };

    Weight weight(Slot s) const noexcept { return weighed_ ? weights_[s] : 1; }

    void enter(Queue queue, Slot s) noexcept {
        queues_.push(queue, s);
        used_[queue] += weight(s);
    }

    Slot leave(Queue queue) noexcept {
        const Slot oldest = queues_.pop_oldest(queue);
        used_[queue] -= weight(oldest);
        return oldest;
    }

    /// `no_slot` when all of S has earned a place in M.
    Slot evict_from_small() noexcept {
        while (!queues_.empty(small)) {
            const Slot oldest = leave(small);
            if (hits_.get(oldest) < tuning.promote_at) return oldest;
            hits_.set(oldest, 0);
            enter(main, oldest);
        }
        return no_slot;
    }

    Slot evict_from_main() noexcept {
        // Counts run out in three rounds, unless other threads add to them all the while.
        for (std::size_t left = 4 * slots_;; --left) {
            const Slot oldest = queues_.oldest(main);
            const unsigned hits = hits_.get(oldest);
            if (hits == 0 || left == 0) return leave(main);
            hits_.set(oldest, hits - 1);
            queues_.renew_oldest(main);
        }
    }

    Marks<3> hits_;
    SlotQueues queues_;
    std::vector<Weight> weights_;  // only when weighed
    Ghost ghost_;
    std::size_t slots_ = 0;
    Weight used_[2] = {};
    Weight small_most_ = 1;
    Weight main_most_ = 0;
    bool weighed_ = false;
    bool returns_ = false;  // what admit found out about the key inserted next
};

using S3Fifo = BasicS3Fifo<>;

}  // namespace drey
