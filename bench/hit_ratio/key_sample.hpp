#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "drey/hash.hpp"
#include "drey/types.hpp"

namespace hit_ratio {

/// The requests of a stream for some of its keys, chosen by hash: all of them, until they would be
/// more than `most`; then of fewer and fewer keys. (SHARDS with a bound: Waldspurger et al., FAST
/// 2015. As the requests are kept, earlier ones are thinned out too, and all are of one rate.)
class KeySample {
public:
    explicit KeySample(std::size_t most, double rate = 1)
        : most_(most),
          below_(rate >= 1 ? ~drey::Hash{0} : static_cast<drey::Hash>(std::ldexp(rate, 64))) {}

    void add(drey::Hash h) {
        ++requests_;
        if (!is_sampled(h)) return;
        if (keys_.size() == most_) thin_out();
        if (is_sampled(h)) keys_.push_back(h);
    }

    std::span<const drey::Hash> keys() const noexcept { return keys_; }
    std::uint64_t requests() const noexcept { return requests_; }
    bool is_whole() const noexcept { return below_ == ~drey::Hash{0}; }
    double rate() const noexcept {
        return is_whole() ? 1.0 : std::ldexp(static_cast<double>(below_), -64);
    }

    /// How many keys there are; an estimate if this is not the whole.
    double distinct() const {
        std::vector<drey::Hash> sorted(keys_.begin(), keys_.end());
        std::sort(sorted.begin(), sorted.end());
        const auto count = std::unique(sorted.begin(), sorted.end()) - sorted.begin();
        return static_cast<double>(count) / rate();
    }

    /// Whether a key of the sample would be in one of a quarter of the rate.
    bool is_in_quarter(drey::Hash h) const noexcept {
        return drey::detail::scrambled(h) <= below_ / 4;
    }

private:
    /// Other bits than the policies go by.
    bool is_sampled(drey::Hash h) const noexcept { return drey::detail::scrambled(h) <= below_; }

    void thin_out() {
        while (keys_.size() > most_ / 10 * 9 && below_ != 0) {
            below_ -= below_ / 4;
            std::erase_if(keys_, [this](drey::Hash h) { return !is_sampled(h); });
        }
    }

    std::vector<drey::Hash> keys_;
    const std::size_t most_;
    drey::Hash below_;
    std::uint64_t requests_ = 0;
};

}  // namespace hit_ratio
