#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

namespace example {

/// A stream of `count` numbers below `n` that follows Zipf's law, the shape of most traffic: the
/// number of rank r comes with a probability proportional to 1 / r^skew. Ranks are dealt out at
/// random, so that popular numbers are not neighbours. The same seed gives the same stream.
inline std::vector<std::uint32_t> zipf_stream(std::uint32_t n, double skew, std::size_t count,
                                              std::uint32_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::uint32_t> number_of_rank(n);
    std::iota(number_of_rank.begin(), number_of_rank.end(), 0u);
    std::shuffle(number_of_rank.begin(), number_of_rank.end(), random);

    std::vector<double> up_to_rank(n);
    double sum = 0;
    for (std::uint32_t rank = 0; rank < n; ++rank)
        up_to_rank[rank] = sum += std::pow(rank + 1.0, -skew);

    std::vector<std::uint32_t> stream(count);
    std::uniform_real_distribution<double> uniform(0, sum);
    for (auto& number : stream) {
        const auto rank =
            std::upper_bound(up_to_rank.begin(), up_to_rank.end() - 1, uniform(random));
        number = number_of_rank[static_cast<std::size_t>(rank - up_to_rank.begin())];
    }
    return stream;
}

}  // namespace example
