#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace drey {

/// What a cache would have hit, had it another capacity or another policy.
struct Prediction {
    std::string_view policy;  ///< "LRU"; the cache's own comes first
    bool is_own = false;      ///< whether that is the cache's policy
    double factor = 1;        ///< of the cache's capacity: 1/4, 1/2, 1, 2, 4, 8
    double capacity = 0;      ///< in entries
    double hit_ratio = 0;     ///< in [0, 1]
    double error = 0;         ///< the truth is no farther about 9 times in 10; 0 is exact
    double sampled = 1;       ///< the share of keys that this rests on
};

/// What the advisor of a running cache has to say, of the look-ups that it followed.
struct Advice {
    std::uint64_t lookups = 0;   ///< since the cache was made, or its capacity changed
    std::uint64_t followed = 0;  ///< of these, by the advisor; with few of them it knows little
    double hit_ratio = 0;        ///< what the cache hit
    double simulated = 0;  ///< what the simulation of the cache as it is hit: if that is far off,
                           ///< something else keeps it from hitting than policy and capacity, such
                           ///< as TTLs, erasures, or misses that are not followed by a `put`
    std::vector<Prediction> predictions = {};  ///< by policy, and then by capacity

    /// The prediction for a policy at a factor; a null pointer if there is none.
    const Prediction* find(std::string_view policy, double factor) const noexcept {
        for (const Prediction& one : predictions)
            if (one.policy == policy && one.factor == factor) return &one;
        return nullptr;
    }

    /// The same of the cache's own policy.
    const Prediction* own(double factor) const noexcept {
        return predictions.empty() ? nullptr : find(predictions.front().policy, factor);
    }

    /// In words: "Hit ratio 81.2 % at S3-FIFO. Doubling the capacity would gain 3.1 points (± 0.4),
    /// halving it would lose 2.0 (± 0.3); LRU would lose 1.2 (± 0.2)."
    std::string sentence() const {
        const Prediction* half = own(0.5);
        const Prediction* twice = own(2);
        if (lookups == 0 || half == nullptr || twice == nullptr) return "Nothing is known yet.";
        char text[64];
        std::snprintf(text, sizeof text, "Hit ratio %.1f %% with ", 100 * hit_ratio);
        std::string said = text + std::string(twice->policy) + ". Doubling the capacity would " +
                           change(*twice) + ", halving it would " + change(*half);
        const char* join = "; ";
        for (const Prediction& one : predictions) {
            if (one.is_own || one.factor != 1) continue;
            said += join + std::string(one.policy) + " would " + change(one);
            join = ", ";
        }
        return said + '.';
    }

private:
    std::string change(const Prediction& to) const {
        const double points = 100 * (to.hit_ratio - hit_ratio);
        if (std::abs(points) < 0.05) return "change nothing";
        char text[64];
        const int length = std::snprintf(text, sizeof text, "%s %.1f points",
                                         points > 0 ? "gain" : "lose", std::abs(points));
        if (to.error >= 0.0005)
            std::snprintf(text + length, sizeof text - static_cast<std::size_t>(length),
                          " (± %.1f)", 100 * to.error);
        return text;
    }
};

}  // namespace drey
