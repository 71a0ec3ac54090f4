#include "bench/hit_ratio/curves.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bench/hit_ratio/key_sample.hpp"
#include "bench/hit_ratio/plot.hpp"
#include "drey/hash.hpp"
#include "drey/simulate.hpp"
#include "support/catch.hpp"

namespace {

using namespace hit_ratio;

/// Keys below n, small ones more often.
std::vector<drey::Hash> skewed(std::size_t count, double n) {
    std::vector<drey::Hash> keys(count);
    std::uint64_t state = 5;
    for (drey::Hash& key : keys) {
        state += drey::detail::golden_step;
        const double u = static_cast<double>(drey::detail::scrambled(state) >> 11) * 0x1p-53;
        key = drey::detail::mix(static_cast<std::uint64_t>(std::pow(n, u)), 1);
    }
    return keys;
}

KeySample sample_of(const std::vector<drey::Hash>& keys, std::size_t most) {
    KeySample sample(most);
    for (const drey::Hash key : keys) sample.add(key);
    return sample;
}

std::vector<Point> lru_curve(const KeySample& sample, const std::vector<double>& capacities) {
    return curve_of<drey::Lru>(sample, capacities, [](std::size_t) {});
}

}  // namespace

TEST_CASE("curves of all requests are exact", "[tools]") {
    const auto keys = skewed(30'000, 3'000);
    const KeySample sample = sample_of(keys, keys.size());
    CHECK(sample.is_whole());
    std::size_t told = 0;
    const std::vector<double> capacities{1, 10, 100, 1000};
    const auto points =
        curve_of<drey::Lru>(sample, capacities, [&](std::size_t done) { told += done; });
    REQUIRE(points.size() == capacities.size());
    CHECK(told == keys.size());
    for (const Point& point : points) {
        const auto capacity = static_cast<drey::Weight>(point.capacity);
        CHECK(point.miss_ratio.value == drey::simulate<drey::Lru>(keys, capacity).miss_ratio());
        CHECK(point.miss_ratio.error == 0);
    }
}

TEST_CASE("a sample holds the requests of some keys, all of each", "[tools]") {
    const auto keys = skewed(50'000, 20'000);
    const KeySample sample = sample_of(keys, 5'000);
    CHECK(sample.keys().size() <= 5'000);
    CHECK(sample.keys().size() > 1'000);
    CHECK(sample.requests() == keys.size());
    CHECK(sample.rate() < 0.2);
    KeySample fixed(keys.size(), sample.rate());
    for (const drey::Hash key : keys) fixed.add(key);
    CHECK(std::equal(sample.keys().begin(), sample.keys().end(), fixed.keys().begin(),
                     fixed.keys().end()));
    CHECK(sample.distinct() == Catch::Approx(sample_of(keys, keys.size()).distinct()).epsilon(0.1));
}

TEST_CASE("curves of a sample are within their error", "[tools]") {
    const auto keys = skewed(200'000, 100'000);
    const std::vector<double> capacities{500, 1'000, 2'000, 5'000, 10'000, 20'000};
    const auto exact = lru_curve(sample_of(keys, keys.size()), capacities);
    const auto sampled = lru_curve(sample_of(keys, 40'000), capacities);
    for (std::size_t i = 0; i < capacities.size(); ++i) {
        const drey::Estimate& estimate = sampled[i].miss_ratio;
        CHECK(estimate.error > 0);
        CHECK(estimate.error < 0.1);
        CHECK(std::abs(estimate.value - exact[i].miss_ratio.value) < estimate.error);
    }
}

TEST_CASE("gnuplot takes any text for nothing but text", "[tools]") {
    CHECK(gnuplot_text("a log") == "'a log'");
    // Between double quotes it would run what is in backquotes.
    CHECK(gnuplot_text("`reboot`\\") == "'`reboot`\\'");
    CHECK(gnuplot_text("it's\nmine") == "'it''s mine'");
}
