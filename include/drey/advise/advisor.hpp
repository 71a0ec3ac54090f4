#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <vector>

#include "drey/advise/advice.hpp"
#include "drey/advise/miniature_cache.hpp"
#include "drey/advise/rivals.hpp"
#include "drey/advise/sample_lane.hpp"
#include "drey/advise/sampled_misses.hpp"
#include "drey/advise/watch_line.hpp"
#include "drey/memory/hit_counters.hpp"
#include "drey/memory/spin_mutex.hpp"
#include "drey/options.hpp"
#include "drey/types.hpp"

namespace drey {

/// What an advisor must know of its cache.
struct AdvisedCache {
    const void* policy;  ///< PolicyId<P>::value
    std::size_t capacity;
    std::size_t memory;  ///< that the advisor may take
    bool shared;         ///< by threads
    const HitCounters& counters;
    WatchLine& watch_line;
};

/// Tells policies apart at run time.
template <class P>
struct PolicyId {
    static constexpr char value = 0;
};

/// Follows a sample of a running cache's look-ups, and runs each through miniatures of the cache at
/// other capacities and with other policies.
///
/// A look-up is sampled if its key comes before the watch line in sampling order, which the cache
/// compares; that is as far as the miniatures sample. (Here h is the key's place in that order, in
/// place of its hash.) Whoever sampled notes it in its thread's lane, and if that is half full,
/// tries the lock, and runs what is there. Nobody waits: what finds no room in a lane is lost, and
/// the look-ups of that time count for as much less.
///
/// Its work is bounded too. A hit costs less than to simulate it, so after a beginning in which it
/// follows all it can, it may do one step for `lookups_a_step` look-ups. If it does more, it rests
/// until that is made up for, and then follows another stretch. What the miniatures hold is out of
/// date by then, so the first half of a stretch is not counted.
///
/// Thread safety: all of it; a lane is its thread's.
class Advisor {
public:
    static constexpr std::array<double, 6> factors{0.25, 0.5, 1, 2, 4, 8};

    explicit Advisor(const AdvisedCache& cache)
        : counters_(cache.counters), watch_line_(cache.watch_line),
          lanes_(cache.shared ? HazardDomain::own_lanes() : 1) {}
    Advisor(const Advisor&) = delete;
    Advisor& operator=(const Advisor&) = delete;

    /// Has it follow the cache, compared with itself at other capacities and with those of
    /// `rivals`: calls `rivals(add)`, which calls `add.operator()<P>(name)` for each policy, the
    /// cache's own first.
    template <class Policies>
    void start(const AdvisedCache& cache, Policies&& policies) {
        const std::size_t most = most_entries(cache.memory, policies);
        policies([&]<class P>(const char* name) {
            const bool is_own = miniatures_.size() < factors.size();
            for (const double factor : factors) {
                const double full = factor * static_cast<double>(cache.capacity);
                if (is_own && factor == 1) own_ = miniatures_.size();
                miniatures_.push_back(
                    {name, is_own, factor, full,
                     std::make_unique<MiniatureCacheOf<P>>(full, is_own ? 2 * most : most)});
            }
        });
        begin_counting();
        watch();
    }

    /// The caller has looked up a key that is watched, and has the lane.
    [[gnu::noinline]] void note(std::size_t lane, Hash h, Sampled::Kind kind) noexcept {
        const Sampled what(h, kind);
        if (lane >= lanes_.size()) [[unlikely]] {
            // A lane that may have several threads.
            if (const std::unique_lock lock(mutex_, std::try_to_lock); lock) {
                run(std::span(&what.word, 1));
            } else {
                lost_.fetch_add(1, std::memory_order_relaxed);
            }
            return;
        }
        if (!lanes_[lane].push(what.word)) [[likely]]
            return;
        if (const std::unique_lock lock(mutex_, std::try_to_lock); lock) drain(lanes_[lane]);
    }

    /// The caller has missed. Now and then, while nothing is watched, this is the time to go on.
    [[gnu::noinline]] void missed(std::size_t lane, Hash h, Sampled::Kind kind) noexcept {
        if (h < watch_line_.advisors()) return note(lane, h, kind);
        if (!resting_.load(std::memory_order_relaxed) || h >= ~Hash{0} / misses_a_try) return;
        if (const std::unique_lock lock(mutex_, std::try_to_lock); lock) try_to_go_on();
    }

    /// A key was erased. Other threads' look-ups of it, before that, may come later.
    [[gnu::noinline]] void erased(Hash h) noexcept {
        if (h >= watch_line_.advisors()) return;
        const Sampled what(h, Sampled::erased);
        if (const std::unique_lock lock(mutex_, std::try_to_lock); lock) {
            drain_all();
            run(std::span(&what.word, 1));
        }
    }

    /// All keys were.
    [[gnu::noinline]] void cleared() noexcept {
        const std::lock_guard lock(mutex_);
        drain_all();
        for (Mini& mini : miniatures_) mini.simulation->clear();
    }

    /// The cache has another capacity; all begins anew, but what the miniatures hold.
    [[gnu::noinline]] void set_capacity(std::size_t capacity) {
        const std::lock_guard lock(mutex_);
        drain_all();
        for (Mini& mini : miniatures_) {
            mini.capacity = mini.factor * static_cast<double>(capacity);
            mini.simulation->set_capacity(mini.capacity);
            mini.misses = mini.paired = mini.own_paired = {};
        }
        followed_ = {};
        before_ = counted();
        steps_ = count_from_ = 0;
        first_ = true;
        resting_.store(false, std::memory_order_relaxed);
        begin_counting();
        watch();
    }

    [[gnu::noinline]] Advice advice() {
        const std::lock_guard lock(mutex_);
        drain_all();
        // Others go on looking up: what is counted a moment later is more.
        const Counts now = counted(), all = now - before_, followed = followed_by(now);
        Advice advice;
        advice.lookups = static_cast<std::uint64_t>(all.lookups());
        advice.followed = static_cast<std::uint64_t>(followed.lookups());
        if (advice.followed == 0) return advice;
        advice.hit_ratio = all.hits / all.lookups();
        const double truth = followed.misses / followed.lookups();
        // What was lost is as if it had not been asked for.
        const double requests = followed.lookups() * followed.kept();
        advice.simulated = 1 - miniatures_[own_].misses.miss_ratio(requests).value;
        for (const Mini& mini : miniatures_) {
            const Estimate alone = mini.misses.miss_ratio(requests);
            const Estimate paired = mini.paired.miss_ratio(requests, mini.own_paired, truth);
            const Estimate& better = paired.error <= alone.error ? paired : alone;
            advice.predictions.push_back(
                {.policy = mini.policy,
                 .is_own = mini.is_own,
                 .factor = mini.factor,
                 .capacity = mini.capacity,
                 .hit_ratio = std::clamp(advice.hit_ratio + truth - better.value, 0.0, 1.0),
                 .error = better.error,
                 .sampled = mini.simulation->rate()});
        }
        return advice;
    }

private:
    struct Mini {
        std::string_view policy;
        bool is_own;
        double factor;
        double capacity;
        std::unique_ptr<MiniatureCache> simulation;
        SampledMisses misses = {};
        // Of keys that both this one and the cache as it is sampled: its misses, and that one's.
        SampledMisses paired = {}, own_paired = {};
    };

    /// What the cache and the lanes have counted.
    struct Counts {
        double hits = 0, misses = 0;
        double sampled = 0, lost = 0;

        double lookups() const noexcept { return hits + misses; }
        double kept() const noexcept { return sampled == 0 ? 1.0 : sampled / (sampled + lost); }
        Counts operator+(const Counts& more) const noexcept {
            return {hits + more.hits, misses + more.misses, sampled + more.sampled,
                    lost + more.lost};
        }
        Counts operator-(const Counts& less) const noexcept {
            return {hits - less.hits, misses - less.misses, sampled - less.sampled,
                    lost - less.lost};
        }
    };

    // A step, which is a miniature's or what it takes to note a look-up, takes about as long as a
    // hit: 1 % of the time is one for somewhat over 100 hits.
    static constexpr double lookups_a_step = 128, steps_to_note = 3;
    // The beginning is over after so many steps or look-ups, whichever comes first.
    static constexpr double first_steps = 1 << 25, first_lookups = 1 << 22;
    static constexpr double stretch = 1 << 20;  // in steps
    static constexpr unsigned runs_a_check = 64;
    static constexpr Hash misses_a_try = 1024;

    /// How many entries a miniature may hold if all may take so many bytes, those of the cache's
    /// own policy twice as many: each takes 8 for the hash, 12 of the table, and what the policy
    /// takes. A number at which the simulation's table is full.
    template <class Policies>
    std::size_t most_entries(std::size_t memory, Policies& policies) const {
        std::size_t fixed = sizeof(Advisor) + lanes_.size() * sizeof(SampleLane);
        std::size_t of_entries = 0;
        policies([&]<class P>(const char*) {
            const std::size_t entries = of_entries == 0 ? 2 : 1;
            fixed += factors.size() * (sizeof(Mini) + detail::simulated_bytes<P>.itself);
            of_entries += factors.size() * entries * (20 + detail::simulated_bytes<P>.an_entry);
        });
        const std::size_t most = (memory - std::min(memory, fixed)) / of_entries;
        std::size_t cells = 16;
        while (2 * cells / 3 * 2 <= most) cells *= 2;
        return cells / 3 * 2;
    }

    void drain_all() noexcept {
        for (SampleLane& lane : lanes_) drain(lane);
    }

    void drain(SampleLane& lane) noexcept {
        lane.drain([this](std::span<const std::uint64_t> words) { run(words); });
    }

    /// Without memory there is no advice; nobody who only looks something up is told.
    void run(std::span<const std::uint64_t> words) noexcept {
        if (failed_) return;
        try {
            Mini& own = miniatures_[own_];
            std::array<std::uint64_t, SampleLane::room> own_room, room;
            const auto own_missed = own.simulation->run(words, own_room);
            steps_ += steps_to_note * static_cast<double>(words.size());
            for (Mini& mini : miniatures_) {
                const bool is_own = &mini == &own;
                const auto missed = is_own ? own_missed : mini.simulation->run(words, room);
                steps_ += static_cast<double>(words.size()) * mini.simulation->rate() / rate_;
                if (!counting_) continue;
                count(missed, *mini.simulation, mini.misses);
                const bool is_rarer = mini.simulation->below() < own.simulation->below();
                const MiniatureCache& both = is_rarer ? *mini.simulation : *own.simulation;
                count(missed, both, mini.paired);
                count(own_missed, both, mini.own_paired);
            }
        } catch (...) {
            failed_ = true;
        }
        if (counting_) ran_ += static_cast<double>(words.size());
        if (!resting_.load(std::memory_order_relaxed)) watch();
    }

    static void count(std::span<const std::uint64_t> missed, const MiniatureCache& sample,
                      SampledMisses& misses) noexcept {
        for (const std::uint64_t word : missed)
            if (word < sample.below()) misses.add(word, 1 / sample.rate());
    }

    /// Has the cache watch what the miniatures need, or nothing if they have worked enough.
    void watch() noexcept {
        if (failed_ || (++runs_ % runs_a_check == 0 && credit() < -stretch)) return rest();
        if (!counting_ && steps_ >= count_from_) begin_counting();
        Hash below = 0;
        rate_ = 0;
        for (const Mini& mini : miniatures_) {
            below = std::max(below, mini.simulation->below());
            rate_ = std::max(rate_, mini.simulation->rate());
        }
        if (watch_line_.advisors() != below) watch_line_.set_advisors(below);
    }

    /// How many steps it may do at this time; less than 0 if it has done too many. None are saved.
    double credit() noexcept {
        const double lookups = (counted() - before_).lookups();
        const double beyond = steps_ - lookups / lookups_a_step;
        if (first_ && steps_ < first_steps && lookups < first_lookups) return 0;
        if (first_ || beyond < level_) level_ = beyond;
        first_ = false;
        return level_ - beyond;
    }

    void rest() noexcept {
        followed_ = followed_by(counted());
        counting_ = false;
        resting_.store(true, std::memory_order_relaxed);
        watch_line_.set_advisors(0);
    }

    void try_to_go_on() noexcept {
        if (failed_ || !resting_.load(std::memory_order_relaxed) || credit() < 0) return;
        drain_all();
        count_from_ = steps_ + stretch / 2;
        resting_.store(false, std::memory_order_relaxed);
        watch();
    }

    void begin_counting() noexcept {
        counting_ = true;
        began_ = counted();
    }

    Counts counted() const noexcept {
        Stats stats;
        counters_.add_to(stats);
        double lost = static_cast<double>(lost_.load(std::memory_order_relaxed));
        for (const SampleLane& lane : lanes_) lost += static_cast<double>(lane.lost());
        return {static_cast<double>(stats.hits), static_cast<double>(stats.misses), ran_, lost};
    }

    Counts followed_by(const Counts& now) const noexcept {
        return counting_ ? followed_ + (now - began_) : followed_;
    }

    const HitCounters& counters_;
    WatchLine& watch_line_;
    std::atomic<bool> resting_{false};
    std::atomic<std::uint64_t> lost_{0};  // of threads without a lane
    std::vector<SampleLane> lanes_;

    // The rest is the lock's.
    SpinMutex mutex_;
    std::vector<Mini> miniatures_;
    std::size_t own_ = 0;  // the cache as it is
    bool counting_ = false, failed_ = false;
    double rate_ = 1;  // of what is watched
    double steps_ = 0;
    double count_from_ = 0;
    double level_ = 0;   // steps beyond those earned, when it last owed none
    bool first_ = true;  // still in the beginning
    unsigned runs_ = 0;
    double ran_ = 0;           // sampled look-ups, while they counted
    Counts followed_, began_;  // until this stretch; when it began
    Counts before_;            // when the capacity was changed
};

namespace detail {

template <class P>
bool is_policy_of(const AdvisedCache& cache) noexcept {
    return cache.policy == &PolicyId<P>::value;
}

template <class Policy>
std::unique_ptr<Advisor> make_advisor(const AdvisedCache& cache) {
    auto advisor = std::make_unique<Advisor>(cache);
    const auto policies = [&](auto&& add) {
        bool is_known = false;
        const auto add_own = [&]<class P>(const char* name) {
            if (!is_policy_of<P>(cache)) return;
            is_known = true;
            add.template operator()<P>(name);
        };
        each_rival(add_own);
        each_other_policy(add_own);
        if constexpr (!std::is_void_v<Policy>)
            if (!is_known) add_own.template operator()<Policy>("its own policy");
        each_rival([&]<class P>(const char* name) {
            if (!is_policy_of<P>(cache)) add.template operator()<P>(name);
        });
        if (!is_known)
            throw std::invalid_argument(
                "drey: to advise a policy that is not drey's, say .advise = "
                "drey::Advise::on_policy<MyPolicy>()");
    };
    advisor->start(cache, policies);
    return advisor;
}

}  // namespace detail
}  // namespace drey
