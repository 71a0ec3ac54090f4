#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "drey/types.hpp"

namespace drey {

/// A ratio that was estimated. The error is two standard deviations of what depends on which keys
/// were sampled; 0 if all were.
struct Estimate {
    double value = 0;
    double error = 0;
};

/// The misses of sampled keys, and what they say of all: SHARDS (Waldspurger, Park, Garthwaite,
/// Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015). A miss of a key that was sampled at
/// rate R stands for 1/R misses. The requests are counted, not estimated from the sample, which is
/// their adjustment SHARDS_adj: whether a hot key is in the sample or not makes no difference, as
/// it hits. (So it does make one to policies that keep throwing out hot keys, such as MRU.)
///
/// The paper gives no error of a single estimate. Here keys fall into groups by their hashes, each
/// of which is a sample by itself, and the error is from how much these differ.
class SampledMisses {
public:
    /// One miss of a key with that hash.
    void add(Hash h, double stands_for) noexcept {
        groups_[(h >> 8) % groups] += stands_for;
        ++count_;
    }

    /// Misses per request, of that many requests.
    Estimate miss_ratio(double requests) const noexcept {
        if (requests <= 0) return {};
        return {total() / requests, deviation(groups_, unsampled()) / requests};
    }

    /// The same where it is known what the estimate by `other` should be, `truth`: the misses of
    /// the same keys in another cache. As far as the two go together from group to group, so do
    /// their errors (the regression estimator: Cochran, "Sampling Techniques", 1977, chapter 7).
    Estimate miss_ratio(double requests, const SampledMisses& other, double truth) const noexcept {
        if (requests <= 0) return {};
        const double mean = total() / groups, other_mean = other.total() / groups;
        double together = 0, squares = 0;
        for (std::size_t i = 0; i < groups; ++i) {
            const double off = other.groups_[i] - other_mean;
            together += (groups_[i] - mean) * off;
            squares += off * off;
        }
        const double slope = squares > 0 ? std::clamp(together / squares, 0.0, 1.0) : 1.0;
        Groups rest = groups_;
        for (std::size_t i = 0; i < groups; ++i) rest[i] -= slope * other.groups_[i];
        return {total() / requests + slope * (truth - other.total() / requests),
                deviation(rest, std::max(unsampled(), other.unsampled())) / requests};
    }

private:
    static constexpr std::size_t groups = 32;
    using Groups = std::array<double, groups>;

    double total() const noexcept {
        double sum = 0;
        for (const double misses : groups_) sum += misses;
        return sum;
    }

    /// The share of the misses that was not seen.
    double unsampled() const noexcept {
        return count_ == 0 ? 1.0 : std::max(0.0, 1 - static_cast<double>(count_) / total());
    }

    /// Two standard deviations of the groups' sum, if that share of what they come from is unknown.
    static double deviation(const Groups& sums, double unknown) noexcept {
        double mean = 0, squares = 0;
        for (const double sum : sums) mean += sum / groups;
        for (const double sum : sums) squares += (sum - mean) * (sum - mean);
        return 2 * std::sqrt(unknown * squares * groups / (groups - 1));
    }

    Groups groups_{};
    std::uint64_t count_ = 0;
};

}  // namespace drey
