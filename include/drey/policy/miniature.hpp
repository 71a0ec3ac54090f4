#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "drey/policy/contest.hpp"
#include "drey/policy/sketch.hpp"
#include "drey/types.hpp"

namespace drey {

/// A cache of at most 128 keys, known by 32-bit names, and of no values, that evicts as Adaptive
/// does with a share of its own for the trial: to find out what would be if that one had it. It
/// remembers half as many keys again that failed the trial, and uses the big one's sketch.
///
/// 8 bytes a key; a request looks at all of them, in some 100 instructions.
///
/// Invariants: places below size_ are in one of the two queues, in which each knows the next newer.
class Miniature {
public:
    static constexpr unsigned most = 128;

    using Place = std::uint8_t;
    static constexpr Place none = 0xff;

    Miniature() = default;

    /// For at most `room` keys, which is at most `most`; `share_percent` of them on trial.
    Miniature(unsigned room, unsigned share_percent)
        : names_(room + std::max(1u, room / 2)), room_(room), share_percent_(share_percent) {
        newer_.resize(room);
        turns_.resize(room);
        set_capacity(room);
    }

    /// 1 to the room there is. Of a smaller one, what is held beyond it stays in use.
    void set_capacity(unsigned capacity) noexcept {
        capacity_ = capacity;
        trial_most_ = std::max(1u, capacity * share_percent_ / 100);
    }

    /// A request. Whether it was a hit.
    bool access(std::uint32_t name, const Sketch& sketch) noexcept {
        const std::uint32_t* const names = names_.data();
        const unsigned at = find(names, size_, name);
        if (at != size_) {
            std::uint8_t& byte = turns_[at];
            if ((byte & 3) < 3) ++byte;
            return true;
        }
        const bool returns = forget(name);
        Place place = static_cast<Place>(size_);
        if (size_ < capacity_) {
            ++size_;
        } else {
            Queues queues{*this, sketch};
            if (!was_full_)
                while (queues.kept_has_room()) queues.promote();
            was_full_ = true;
            const auto loser = detail::losing_queue(queues);
            place = pop(loser);
            if (loser == detail::trial) remember(names_[place]);
        }
        names_[place] = name;
        turns_[place] = 0;
        push(returns ? detail::kept : detail::trial, place);
        return false;
    }

    std::size_t memory() const noexcept {
        return names_.size() * sizeof(std::uint32_t) + newer_.size() + turns_.size();
    }

private:
    /// What the rule of eviction sees.
    struct Queues {
        using Place = Miniature::Place;
        static constexpr Place none = Miniature::none;

        Miniature& mini;
        const Sketch& sketch;

        Place oldest(detail::TrialQueue q) const noexcept {
            return mini.count_[q] == 0 ? none : mini.oldest_[q];
        }
        bool trial_has_room() const noexcept {
            return mini.count_[detail::trial] < mini.trial_most_;
        }
        bool kept_has_room() const noexcept {
            return mini.count_[detail::trial] > mini.trial_most_ &&
                   mini.count_[detail::kept] + mini.trial_most_ < mini.capacity_;
        }
        unsigned settle(Place x) noexcept {
            std::uint8_t& byte = mini.turns_[x];
            const unsigned turns = std::min(3u, unsigned{byte} / 4 + (byte & 3u));
            byte = static_cast<std::uint8_t>(turns * 4);
            return turns;
        }
        void set_turns(Place x, unsigned n) noexcept {
            mini.turns_[x] = static_cast<std::uint8_t>(n * 4);
        }
        void renew_oldest(detail::TrialQueue q) noexcept { mini.push(q, mini.pop(q)); }
        void promote() noexcept {
            const Place x = mini.pop(detail::trial);
            mini.turns_[x] = 0;
            mini.push(detail::kept, x);
        }
        static unsigned weight(Place) noexcept { return 1; }
        unsigned estimate(Place x) const noexcept { return sketch.estimate(mini.names_[x]); }
        unsigned estimate_defender(Place x) const noexcept { return estimate(x); }
    };

    /// `count` if it is not there, as is usual. Compilers make the first loop vector instructions,
    /// as it has no way out.
    static unsigned find(const std::uint32_t* names, unsigned count, std::uint32_t name) noexcept {
        std::uint32_t there = 0;
        for (unsigned i = 0; i < count; ++i) there |= names[i] == name ? 1u : 0u;
        unsigned at = there == 0 ? count : 0;
        while (at < count && names[at] != name) ++at;
        return at;
    }

    void push(detail::TrialQueue q, Place x) noexcept {
        (count_[q]++ == 0 ? oldest_[q] : newer_[newest_[q]]) = x;
        newest_[q] = x;
    }
    Place pop(detail::TrialQueue q) noexcept {
        const Place x = oldest_[q];
        oldest_[q] = newer_[x];
        --count_[q];
        return x;
    }

    // Those remembered follow the names of those held: a ring. A name 0 is taken for none.
    void remember(std::uint32_t name) noexcept {
        names_[room_ + next_] = name;
        if (++next_ >= std::max(1u, capacity_ / 2)) next_ = 0;
    }
    bool forget(std::uint32_t name) noexcept {
        const auto ghosts = static_cast<unsigned>(names_.size()) - room_;
        const unsigned at = find(names_.data() + room_, ghosts, name);
        if (at == ghosts || name == 0) return false;
        names_[room_ + at] = 0;
        return true;
    }

    std::vector<std::uint32_t> names_;
    std::vector<Place> newer_;
    std::vector<std::uint8_t> turns_;  // above the two bits of the hits
    unsigned room_ = 0;
    unsigned capacity_ = 0;
    unsigned share_percent_ = 0;
    unsigned trial_most_ = 0;
    unsigned size_ = 0;
    unsigned next_ = 0;
    bool was_full_ = false;
    std::array<unsigned, 2> count_{};
    std::array<Place, 2> oldest_{};
    std::array<Place, 2> newest_{};
};

}  // namespace drey
