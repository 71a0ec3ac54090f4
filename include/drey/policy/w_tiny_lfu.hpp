#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

#include "drey/hash.hpp"
#include "drey/policy/policy.hpp"
#include "drey/policy/sketch.hpp"
#include "drey/policy/slot_rings.hpp"

namespace drey {

/// The numbers W-TinyLFU leaves open.
struct WTinyLfuTuning {
    unsigned window_percent = 1;      ///< the window's share of the capacity, to begin with
    unsigned protected_percent = 80;  ///< of the main part
    bool adapts = true;               ///< whether the window's share changes
};

/// W-TinyLFU (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", ACM
/// ToS 2017): newcomers pass through a window, an LRU; who falls out of it contends with the main
/// part's victim, and the one that was asked for more often of late stays. The main part is a
/// segmented LRU: who is hit on probation becomes protected. The window's share climbs hills (the
/// same, "Adaptive software cache management", Middleware 2018): after every 10 requests an entry
/// it goes on in the direction that made hits more, or turns back.
///
/// Where we differ:
///  - The window is at least 1, so caches of under 100 work, and at most 4/5.
///  - Who leaves is chosen before the newcomer comes in, so the window has room for one less then.
///  - On a tie the main part's entry stays; but a newcomer that was asked for often gets in once in
///    128 times at random, as in Caffeine: who sends keys that seem as popular as the victim, by
///    choice or by colliding with it, cannot make it stay for ever.
///  - The first step makes the window larger, by 4 % of the capacity, and each is a tenth shorter
///    than the last, unless the hit ratio changed by 5 points. Caffeine's first makes it smaller,
///    and its steps are half as long again and go on for longer. Misses less: chance leads long
///    steps astray, and short streams of requests end before a window that shrank has grown.
///  - No doorkeeper: the sketch is large enough to do without.
///  - Weights: the newcomer contends with the victim alone, however light that is.
///
/// O(1), but that one call may move all that a window gives up which shrinks, 4 % of the capacity;
/// 9 bytes a slot (17 with weights), and 16 an entry for the sketch.
///
/// Invariants: used_[p] is what the entries in part p weigh, and parts_ says where each is.
template <WTinyLfuTuning tuning = WTinyLfuTuning{}>
class BasicWTinyLfu {
    static_assert(tuning.window_percent <= 80,
                  "drey: WTinyLfuTuning::window_percent must be at most 80");
    static_assert(tuning.protected_percent <= 100,
                  "drey: WTinyLfuTuning::protected_percent must be at most 100");

public:
    static constexpr OnHit on_hit = OnHit::reorders;

    void seed(std::uint64_t x) noexcept {
        sketch_.seed(detail::scrambled(x));
        random_ = detail::scrambled(x + 1);
    }

    void budget(Budget b) {
        if (b.weighed) weights_.resize(slots_);
        if (sketch_.room() == 0 && !sketch_.resize(0)) throw std::bad_alloc();
        weighed_ = b.weighed;
        capacity_ = b.capacity;
        fit_sketch();
        evicts_ = false;
        climber_ = {.step = first_step * static_cast<double>(capacity_)};
        set_window(tuning.window_percent / 100.0 * static_cast<double>(capacity_));
    }

    void grow(std::size_t slots) {
        if (slots <= slots_) return;
        rings_.grow(slots);
        parts_.resize(slots);
        if (weighed_) weights_.resize(slots);
        slots_ = slots;
    }

    bool admit(Hash h, Weight w) noexcept {
        sketch_.add(h);
        incoming_ = w;
        count(false);
        return true;
    }

    void inserted(Slot s, Hash, Weight w) noexcept {
        if (weighed_) weights_[s] = w;
        enter(window, s);
        incoming_ = 0;
        if (++held_ > sketch_.room()) fit_sketch();
        while (used_[window] > window_most_) {
            const Slot oldest = rings_.back(window);
            if (oldest == s || !main_has_room(oldest)) break;
            change(oldest, probation);
        }
    }

    void moved(Slot from, Slot to, Weight w) noexcept {
        rings_.replace(from, to);
        parts_[to] = parts_[from];
        used_[parts_[to]] -= weight(from);
        if (weighed_) weights_[to] = w;
        used_[parts_[to]] += weight(to);
    }

    void erased(Slot s) noexcept {
        used_[parts_[s]] -= weight(s);
        rings_.erase(s);
        --held_;
    }

    void hit(Slot s, Hash h) noexcept {
        sketch_.add(h);
        if (parts_[s] == window) {
            rings_.erase(s);
            rings_.push_front(window, s);
        } else {
            change(s, protected_);
            while (used_[protected_] > protected_most_ && rings_.back(protected_) != s)
                change(rings_.back(protected_), probation);
        }
        count(true);
    }

    void prefetch(std::span<const Slot> slots) const noexcept { rings_.prefetch(slots); }

    template <class HashOf>
    Slot evict(HashOf&& hash_of) noexcept {
        evicts_ = true;
        const Slot victim = choose(hash_of);
        erased(victim);
        return victim;
    }

    /// Those protected come first, and are hit once more to be protected again. Lost: what the
    /// sketch knows beyond that, and the window's share.
    template <class F>
    void each_in_order(F&& f) const {
        for (const Part part : {protected_, probation, window})
            for (Slot s = rings_.back(part); s != no_slot; s = rings_.before(s))
                f(s, part == protected_ ? 1u : 0u);
    }

    bool validate() const {
        if (!rings_.validate()) return false;
        std::size_t held = 0;
        for (const Part part : {window, probation, protected_}) {
            Weight used = 0;
            for (Slot s = rings_.front(part); s != no_slot; s = rings_.after(s)) {
                if (parts_[s] != part) return false;
                used += weight(s);
                ++held;
            }
            if (used != used_[part]) return false;
        }
        return held == held_;
    }

private:
    enum Part : std::uint8_t { window, probation, protected_ };

    Weight weight(Slot s) const noexcept { return weighed_ ? weights_[s] : 1; }

    bool main_has_room(Slot s) const noexcept {
        return used_[probation] + used_[protected_] + weight(s) <= main_most_;
    }

    void enter(Part part, Slot s) noexcept {
        rings_.push_front(part, s);
        parts_[s] = part;
        used_[part] += weight(s);
    }

    void change(Slot s, Part to) noexcept {
        used_[parts_[s]] -= weight(s);
        rings_.erase(s);
        enter(to, s);
    }

    Slot main_victim() const noexcept {
        const Slot s = rings_.back(probation);
        return s != no_slot ? s : rings_.back(protected_);
    }

    /// Fills the main part from the window while that is over its share, and then lets them
    /// contend.
    template <class HashOf>
    Slot choose(HashOf& hash_of) noexcept {
        while (used_[window] + incoming_ > window_most_) {
            const Slot candidate = rings_.back(window);
            if (candidate == no_slot) break;
            if (!main_has_room(candidate)) {
                const Slot victim = main_victim();
                if (victim == no_slot || !admits(hash_of(candidate), hash_of(victim)))
                    return candidate;
                change(candidate, probation);
                return victim;
            }
            change(candidate, probation);
        }
        const Slot victim = main_victim();
        return victim != no_slot ? victim : rings_.back(window);
    }

    bool admits(Hash candidate, Hash victim) noexcept {
        const unsigned asked_for = sketch_.estimate(candidate);
        if (asked_for > sketch_.estimate(victim)) return true;
        if (asked_for < often) return false;
        random_ += detail::golden_step;
        return detail::scrambled(random_) % 128 == 0;
    }

    /// Doubles the sketch as entries come, until it has room for all there may be.
    void fit_sketch() noexcept {
        std::size_t entries = 128;
        while (entries < held_) entries *= 2;
        sketch_.resize(weighed_ ? entries
                                : static_cast<std::size_t>(std::min<Weight>(entries, capacity_)));
    }

    void set_window(double size) noexcept {
        const auto whole = static_cast<double>(capacity_);
        climber_.window = std::clamp(size, std::min(1.0, whole), std::max(1.0, 0.8 * whole));
        window_most_ = std::min(capacity_, static_cast<Weight>(std::ceil(climber_.window)));
        main_most_ = capacity_ - window_most_;
        protected_most_ = detail::percent(main_most_, tuning.protected_percent);
    }

    struct Climber {
        double step = 0;
        double window = 0;
        double hit_ratio = 0;
        std::uint64_t hits = 0;
        std::uint64_t requests = 0;
    };

    void count(bool hit) noexcept {
        if constexpr (tuning.adapts) {
            if (!evicts_) return;  // what hits while there is room for all says nothing
            climber_.hits += hit ? 1 : 0;
            if (++climber_.requests >= 10 * std::max<std::size_t>(held_, 10)) climb();
        }
    }

    [[gnu::noinline]] void climb() noexcept {
        Climber& c = climber_;
        const double ratio = static_cast<double>(c.hits) / static_cast<double>(c.requests);
        const double change = ratio - c.hit_ratio;
        const double move = change >= 0 ? c.step : -c.step;
        const double restart = std::copysign(first_step * static_cast<double>(capacity_), move);
        c.step = std::abs(change) >= 0.05 ? restart : 0.9 * move;
        c.hit_ratio = ratio;
        c.hits = c.requests = 0;
        set_window(c.window + move);
    }

    static constexpr double first_step = 0.04;  // of the capacity
    static constexpr unsigned often = 6;

    SlotRings<3> rings_;  // front: used last
    std::vector<Part> parts_;
    std::vector<Weight> weights_;  // only when weighed
    Sketch sketch_{{.most_mean = 10, .conservative = false, .bytes_an_entry = 16}};
    Climber climber_;
    std::size_t slots_ = 0;
    std::size_t held_ = 0;
    std::array<Weight, 3> used_{};
    Weight capacity_ = 0;
    Weight window_most_ = 1;
    Weight main_most_ = 0;
    Weight protected_most_ = 0;
    Weight incoming_ = 0;  // what is about to be inserted weighs
    std::uint64_t random_ = 1;
    bool weighed_ = false;
    bool evicts_ = false;  // since the capacity was set
};

using WTinyLfu = BasicWTinyLfu<>;

}  // namespace drey
