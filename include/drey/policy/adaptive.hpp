#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "drey/policy/contest.hpp"
#include "drey/policy/ghost.hpp"
#include "drey/policy/hit_samples.hpp"
#include "drey/policy/policy.hpp"
#include "drey/policy/rough_ghost.hpp"
#include "drey/policy/sketch.hpp"
#include "drey/policy/slot_queues.hpp"
#include "drey/policy/tournament.hpp"
#include "drey/policy/turns.hpp"

namespace drey {

/// Adaptive, a policy of drey's own. Newcomers are tried out in one FIFO queue, and those that
/// proved good are kept in another, as in S3-FIFO; but who of the two queues' oldest entries leaves
/// is decided as in TinyLFU, by how often either was asked for, and how large a share the trial
/// gets, by simulations in miniature.
///
///  - A hit only marks its entry. Marks are collected when the entry is the oldest of its queue:
///    they go into a sketch of how often keys were asked for, and on trial or kept each is worth a
///    turn, up to 3.
///  - The oldest kept entry without a turn left is the defender; those passed over paid one each.
///    While the trial is under its share, the defender leaves.
///  - Otherwise the oldest entry on trial challenges it. If the sketch has more of the challenger,
///    it is kept and the defender leaves. If not, it leaves and is remembered, unless a hit earned
///    it another round of the trial.
///  - A key that is remembered goes straight to those kept.
///  - Four miniatures of this cache with other shares see a sample of the requests; the share of
///    the one that misses least is taken (Tournament).
///
/// What it is made of: the queues and the ghost are S3-FIFO's (Yang et al., SOSP 2023), the latter
/// made smaller (RoughGhost), the sketch and the contest TinyLFU's (Einziger, Friedman, Manes, ACM
/// ToS 2017), sampled miniatures were proposed by Waldspurger et al. ("Cache modeling and
/// optimization using miniature simulations", USENIX ATC 2017), turns are those of generalised
/// CLOCK.
///
/// With weights, the contest is about the requests that a unit of weight brings, shares and the
/// memory of the ghost are weights, as a heavy key must not be remembered for as long as light ones
/// are kept (Ghost), and miniatures count entries.
///
/// Nobody who does not know the seed can choose keys that share counters, or the sample.
///
/// O(1) amortised, and never more than some hundred steps, but when a table grows; 4.5 to 8.5 bytes
/// a slot (8 more with weights), 8.1 an entry for the sketch, 1.05 for the ghost (19 a key with
/// weights), which remembers half as many keys, and at most 5 KB for the miniatures.
///
/// Invariants: used_[q] is what the entries in queue q weigh, held_ how many they are; defender_ is
/// one of those kept, and as long as the sketch watches its key, defender_estimate_ is its
/// estimate.
class Adaptive {
public:
    static constexpr OnHit on_hit = OnHit::marks;

    void seed(std::uint64_t x) noexcept {
        samples_.seed(detail::scrambled(x));
        sketch_.seed(detail::scrambled(x + 1));
    }

    /// Throws std::bad_alloc the first time only: what changes a capacity must not end half-way.
    void budget(Budget b) {
        if (b.weighed) weights_.resize(slots_);
        if (sketch_.room() == 0 && !sketch_.resize(0)) throw std::bad_alloc();
        const unsigned size = b.weighed ? Tournament::most : Tournament::size_for(b.capacity);
        if (!tournament_.begin(size) && tournament_.size() == 0) throw std::bad_alloc();
        weighed_ = b.weighed;
        filling_ |= b.capacity > capacity_;
        capacity_ = b.capacity;
        if (weighed_) weighed_ghost_.budget({detail::percent(b.capacity, ghost_percent), true});
        fit();
        set_share();
    }

    void grow(std::size_t slots) {
        if (slots <= slots_) return;
        queues_.grow(slots);
        turns_.grow(slots);
        if (weighed_) weights_.resize(slots);
        slots_ = slots;
    }

    /// A key that the ghost remembers will be kept. Asked now, since the evictions that make room
    /// for it may push it out.
    bool admit(Hash h, Weight) noexcept {
        samples_.drain([this](std::uint32_t name) { learn(name); });
        const std::uint32_t name = samples_.name(h);
        // The ghost first: a processor guesses that the key is not there, and begins to load the
        // sketch's line beside the ghost's. What `add` does depends on what it loads.
        returns_ = weighed_ ? weighed_ghost_.remove(h) : ghost_.remove(name);
        sketch_.add(name);
        return true;
    }

    void inserted(Slot s, Hash h, Weight w) noexcept {
        turns_.start(s);
        if (weighed_) weights_[s] = w;
        enter(std::exchange(returns_, false) ? detail::kept : detail::trial, s);
        if (++held_ > expected_) fit();
        if (const std::uint32_t name = samples_.name(h); samples_.takes(name)) learn(name);
    }

    void moved(Slot from, Slot to, Weight w) noexcept {
        queues_.replace(from, to);
        turns_.start_as(to, from);
        if (from == defender_) defender_ = to;
        Weight& used = used_[queues_.queue_of(to)];
        used -= weight(from);
        if (weighed_) weights_[to] = w;
        used += weight(to);
    }

    void erased(Slot s) noexcept {
        if (s == defender_) defender_ = no_slot;
        used_[queues_.queue_of(s)] -= weight(s);
        queues_.erase(s);
        --held_;
    }

    void hit(Slot s, Hash h) noexcept {
        turns_.touch(s);
        sample(h);
    }
    static void touch(Mark mark) noexcept { Turns::touch(mark); }
    void lend(const LentMarks& marks) { turns_.lend(marks); }
    void sample_by(Hash factor) noexcept { samples_.sample_by(factor); }
    void sample(Hash h) noexcept { samples_.hit(h); }
    Hash samples_below() const noexcept { return samples_.below(); }

    template <class HashOf>
    [[gnu::always_inline]] Slot evict(HashOf&& hash_of) noexcept {
        Contestants<HashOf> contestants{*this, hash_of};
        if (filling_) fill_kept(contestants);
        const auto loser = detail::losing_queue(contestants);
        const Slot victim = leave(loser);
        if (loser == detail::trial) {
            remember(contestants.hash_again(victim), weight(victim));
        } else {
            defender_ = no_slot;
        }
        --held_;
        return victim;
    }

    /// Those kept were inserted first and find their place again when the restored cache is full.
    /// Lost: turns, whom the ghost remembers, what the sketch knows beyond that, and the share.
    template <class F>
    void each_in_order(F&& f) const {
        for (const auto queue : {detail::kept, detail::trial})
            queues_.each(queue, [&](Slot s) { f(s, turns_.turns(s) + turns_.hits(s)); });
    }

    /// What the trial may weigh: the share that is best of late.
    Weight trial_share() const noexcept { return trial_most_; }

    bool validate() const {
        if (!queues_.validate() || !ghost_.validate() || !weighed_ghost_.validate()) return false;
        std::size_t held = 0;
        bool holds_defender = defender_ == no_slot;
        for (const auto queue : {detail::trial, detail::kept}) {
            Weight used = 0;
            queues_.each(queue, [&](Slot s) {
                used += weight(s);
                ++held;
                holds_defender |= queue == detail::kept && s == defender_;
            });
            if (used != used_[queue]) return false;
        }
        return holds_defender && held == held_;
    }

private:
    static constexpr unsigned ghost_percent = 50;

    /// What the rule of eviction sees.
    template <class HashOf>
    struct Contestants {
        using Place = Slot;
        static constexpr Slot none = no_slot;

        Adaptive& self;
        HashOf& hash_of;
        Slot hashed = no_slot;  // who was asked for last
        Hash last_hash = 0;

        Slot oldest(detail::TrialQueue q) const noexcept { return self.queues_.oldest(q); }
        bool trial_has_room() const noexcept {
            return self.used_[detail::trial] < self.trial_most_;
        }
        bool kept_has_room() const noexcept {
            return self.used_[detail::trial] > self.trial_most_ &&
                   self.used_[detail::kept] + self.trial_most_ < self.capacity_;
        }
        unsigned settle(Slot s) noexcept {
            const auto [hits, turns] = self.turns_.settle(s);
            if (hits > 0) count(s, hits);
            return turns;
        }
        void set_turns(Slot s, unsigned n) noexcept { self.turns_.set_turns(s, n); }
        void renew_oldest(detail::TrialQueue q) noexcept { self.queues_.renew_oldest(q); }
        void promote() noexcept { self.promote(); }
        Weight weight(Slot s) const noexcept { return self.weight(s); }
        unsigned estimate(Slot s) noexcept { return self.sketch_.estimate(name(s)); }
        unsigned estimate_defender(Slot s) noexcept {
            if (s != self.defender_ || !self.sketch_.watches()) [[unlikely]]
                watch(s);
            return self.defender_estimate_;
        }

        // Not inlined, as most who are looked at have no new hits.
        [[gnu::noinline]] void count(Slot s, unsigned hits) noexcept {
            self.sketch_.add(name(s), hits);
        }
        [[gnu::noinline]] void watch(Slot s) noexcept {
            self.defender_estimate_ = self.sketch_.watch(name(s));
            self.defender_ = s;
        }
        std::uint32_t name(Slot s) noexcept { return self.samples_.name(hash(s)); }
        Hash hash(Slot s) noexcept {
            hashed = s;
            return last_hash = hash_of(s);
        }
        Hash hash_again(Slot s) noexcept { return s == hashed ? last_hash : hash(s); }
    };

    Weight weight(Slot s) const noexcept { return weighed_ ? weights_[s] : 1; }

    void enter(detail::TrialQueue queue, Slot s) noexcept {
        queues_.push(queue, s);
        used_[queue] += weight(s);
    }

    Slot leave(detail::TrialQueue queue) noexcept {
        const Slot oldest = queues_.pop_oldest(queue);
        used_[queue] -= weight(oldest);
        return oldest;
    }

    void remember(Hash h, Weight w) noexcept {
        if (weighed_) {
            weighed_ghost_.add(h, w);
        } else {
            ghost_.add(samples_.name(h));
        }
    }

    void promote() noexcept {
        const Slot s = leave(detail::trial);
        turns_.set_turns(s, 0);
        enter(detail::kept, s);
    }

    /// Who came while there was room for all has a place among those kept for nothing. A few a
    /// call, so that none takes long.
    template <class C>
    void fill_kept(C& contestants) noexcept {
        for (unsigned passes = detail::most_passes; contestants.kept_has_room(); --passes) {
            if (passes == 0) return;
            contestants.settle(contestants.oldest(detail::trial));
            promote();
        }
        filling_ = false;
    }

    /// A request for a key of the sample. Rare, so that it need not be inlined.
    [[gnu::noinline]] void learn(std::uint32_t name) noexcept {
        if (tournament_.request(name, sketch_)) set_share();
    }

    void set_share() noexcept {
        trial_most_ = std::max<Weight>(1, detail::percent(capacity_, tournament_.share_percent()));
    }

    /// Fits sketch, ghost and sample to the number of entries: known in advance, or as many as
    /// there are.
    void fit() noexcept {
        const Weight most = weighed_ ? ~Weight{0} : capacity_;
        std::size_t entries = 128;
        while (entries < held_) entries *= 2;
        expected_ = entries;
        const auto some = static_cast<std::size_t>(std::min<Weight>(entries, most));
        sketch_.resize(some);
        if (!weighed_) ghost_.resize((some + 1) / 2);
        const Weight whole = weighed_ ? entries : std::max<Weight>(capacity_, 1);
        if (weighed_) tournament_.set_size(Tournament::size_for(whole));
        samples_.rate(std::min<Weight>(tournament_.size(), whole), whole);
    }

    Turns turns_;
    HitSamples samples_;
    SlotQueues queues_;
    std::vector<Weight> weights_;  // only when weighed
    RoughGhost ghost_;             // unless weighed
    Ghost weighed_ghost_;          // only when weighed
    Sketch sketch_;
    Tournament tournament_;
    std::size_t slots_ = 0;
    std::size_t held_ = 0;
    std::size_t expected_ = 0;
    Weight used_[2] = {};
    Weight capacity_ = 0;
    Weight trial_most_ = 1;
    Slot defender_ = no_slot;  // whose estimate the sketch watches
    unsigned defender_estimate_ = 0;
    bool weighed_ = false;
    bool filling_ = true;   // the capacity has not been in use yet
    bool returns_ = false;  // what admit found out about the key inserted next
};

}  // namespace drey
