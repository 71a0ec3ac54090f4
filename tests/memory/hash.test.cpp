#include "drey/hash.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

using drey::DefaultHash;
using drey::Hash;
using drey::detail::LooksUp;

/// How unevenly hashes fall into `buckets`: chi squared in standard deviations from its mean.
template <class Keys, class Bucket>
double unevenness(const Keys& keys, std::size_t buckets, Bucket&& bucket_of) {
    std::vector<double> counts(buckets);
    for (const Hash h : keys) ++counts[bucket_of(h)];
    const double expected = static_cast<double>(keys.size()) / static_cast<double>(buckets);
    double chi_squared = 0;
    for (const double count : counts)
        chi_squared += (count - expected) * (count - expected) / expected;
    const double freedom = static_cast<double>(buckets - 1);
    return (chi_squared - freedom) / std::sqrt(2 * freedom);
}

/// Of the bits that the cache uses, the shard's, the group's and the tag's, the worst.
double unevenness(const std::vector<Hash>& hashes) {
    CHECK(std::set<Hash>(hashes.begin(), hashes.end()).size() == hashes.size());
    return std::max(
        {unevenness(hashes, 16, [](Hash h) { return h & 15; }),
         unevenness(hashes, 1000,
                    [](Hash h) { return static_cast<std::size_t>(((h >> 32) * 1000) >> 32); }),
         unevenness(hashes, 256, [](Hash h) {
             return static_cast<std::size_t>(static_cast<std::uint32_t>(h) >> 24);
         })});
}

/// Whether keys spread evenly under many salts: a hash may be good under most and very bad under
/// one in a hundred. Chance alone comes to about 4 deviations in so many trials, never to 8.
template <class Make>
void check_spread(Make&& make, std::size_t salts = 100) {
    double worst = 0;
    for (std::uint64_t salt = 0; salt < salts; ++salt) {
        std::vector<Hash> hashes;
        for (std::uint64_t i = 0; i < 5'000; ++i)
            hashes.push_back(DefaultHash{}(make(i), salt * salt * 0x9e3779b97f4a7c15));
        worst = std::max(worst, unevenness(hashes));
    }
    CHECK(worst < 8);
}

}  // namespace

TEST_CASE("sequential, strided and shifted numbers spread evenly under every salt", "[hash]") {
    check_spread([](std::uint64_t i) { return i; }, 400);
    check_spread([](std::uint64_t i) { return static_cast<int>(i) - 2'500; });
    check_spread([](std::uint64_t i) { return i * 4096; });
    check_spread([](std::uint64_t i) { return i << 40; });
    check_spread([](std::uint64_t i) { return i * 7919; });
}

TEST_CASE("texts that differ in little spread evenly, at any length", "[hash]") {
    for (const std::size_t length : {0u, 2u, 8u, 11u, 16u, 27u, 100u}) {
        const std::string front(length, 'x');
        check_spread([&](std::uint64_t i) { return front + std::to_string(i); }, 20);
        check_spread([&](std::uint64_t i) { return std::to_string(i) + front; }, 20);
    }
}

TEST_CASE("zeros of different lengths hash differently", "[hash]") {
    std::set<Hash> seen;
    for (std::size_t n = 0; n < 200; ++n)
        CHECK(seen.insert(DefaultHash{}(std::string(n, '\0'), 1)).second);
}

TEST_CASE("pairs and tuples spread evenly and are not their mirror", "[hash]") {
    check_spread([](std::uint64_t i) { return std::pair(i / 300, i % 300); });
    check_spread(
        [](std::uint64_t i) {
            return std::tuple(static_cast<char>(i), std::to_string(i / 256), 7);
        },
        20);
    const DefaultHash hash;
    CHECK(hash(std::pair(1, 2), 9) != hash(std::pair(2, 1), 9));
    CHECK(hash(std::pair(1, 2), 9) == hash(std::tuple(1, 2), 9));
}

TEST_CASE("salt changes every hash, and which keys are neighbours", "[hash]") {
    const auto order = [](std::uint64_t salt) {
        std::vector<int> keys(100);
        for (int i = 0; i < 100; ++i) keys[static_cast<std::size_t>(i)] = i;
        std::sort(keys.begin(), keys.end(),
                  [&](int a, int b) { return DefaultHash{}(a, salt) < DefaultHash{}(b, salt); });
        return keys;
    };
    CHECK(order(1) == order(1));
    CHECK(order(1) != order(2));
    for (const char* text : {"", "a", "a longer text than sixteen bytes"})
        CHECK(DefaultHash{}(std::string(text), 1) != DefaultHash{}(std::string(text), 2));
    // Keys that collide in the low bits under one salt do so under another only by chance.
    std::size_t together = 0, still = 0;
    for (int i = 0; i < 20'000; ++i)
        if ((DefaultHash{}(i, 1) & 63) == 0) {
            ++together;
            still += (DefaultHash{}(i, 2) & 63) == 0;
        }
    CHECK(together > 200);
    CHECK(still < together / 8);
}

TEST_CASE("equal texts of all types hash alike", "[hash]") {
    for (const char* text : {"", "a", "8 bytes!", "sixteen bytes...", "seventeen bytes..",
                             "a text of more than thirty-two bytes, to be sure"}) {
        const std::string owned = text;
        const std::string_view view = text;
        CHECK(DefaultHash{}(owned, 3) == DefaultHash{}(view, 3));
    }
    const char array[] = "array";
    CHECK(DefaultHash{}(array, 3) == DefaultHash{}(std::string("array"), 3));
    CHECK(DefaultHash{}("array", 3) == DefaultHash{}(std::string_view("array"), 3));
    // Of a text within a text, only its own bytes count.
    const std::string around = "xxtextyy";
    CHECK(DefaultHash{}(std::string_view(around).substr(2, 4), 3) ==
          DefaultHash{}(std::string("text"), 3));
}

namespace {

struct Plain {
    std::size_t operator()(int key) const { return static_cast<std::size_t>(key); }
};
struct Salted {
    using is_transparent = void;
    std::uint64_t operator()(std::string_view key, std::uint64_t salt) const {
        return key.size() + salt;
    }
};

}  // namespace

TEST_CASE("hash of one's own is mixed with the salt, or takes it", "[hash]") {
    std::vector<Hash> mixed;
    for (int i = 0; i < 5'000; ++i) mixed.push_back(drey::detail::salted_hash(Plain{}, i, 5));
    CHECK(unevenness(mixed) < 8);
    CHECK(drey::detail::salted_hash(Plain{}, 7, 5) != drey::detail::salted_hash(Plain{}, 7, 6));
    const auto salted = [](std::string_view key, std::uint64_t salt) {
        return drey::detail::salted_hash(Salted{}, key, salt);
    };
    CHECK(salted("abc", 5) == salted("xyz", 5));
    CHECK(salted("abc", 5) != salted("ab", 5));
    CHECK(salted("abc", 5) != salted("abc", 6));
}

TEST_CASE("what can look up what is said by types", "[hash]") {
    using Equal = drey::DefaultEqual;
    STATIC_REQUIRE(LooksUp<std::string_view, std::string, DefaultHash, Equal>);
    STATIC_REQUIRE(LooksUp<char[4], std::string, DefaultHash, Equal>);
    STATIC_REQUIRE(LooksUp<std::string, std::string_view, DefaultHash, Equal>);
    STATIC_REQUIRE_FALSE(LooksUp<std::string, std::string, DefaultHash, Equal>);
    STATIC_REQUIRE_FALSE(LooksUp<int, std::string, DefaultHash, Equal>);
    STATIC_REQUIRE_FALSE(LooksUp<long, int, DefaultHash, Equal>);
    STATIC_REQUIRE_FALSE(LooksUp<std::string_view, std::string, Plain, Equal>);
    STATIC_REQUIRE_FALSE(
        LooksUp<std::string_view, std::string, DefaultHash, std::equal_to<std::string>>);
    STATIC_REQUIRE(LooksUp<std::string_view, std::string, Salted, Equal>);
    STATIC_REQUIRE_FALSE(LooksUp<int, std::string, Salted, Equal>);
}
