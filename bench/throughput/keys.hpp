#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

/// What the workloads read and write: keys, the values that belong to them, and the order in which
/// keys come.
namespace throughput {

/// Distinct keys of all workloads but scan.
inline constexpr std::size_t key_count = std::size_t{1} << 20;

/// MurmurHash3's finalizer, a bijection: the key of a rank, so that popularity says nothing about
/// where a key lies.
constexpr std::uint64_t scramble(std::uint64_t rank) noexcept {
    rank = (rank ^ (rank >> 33)) * 0xff51afd7ed558ccd;
    rank = (rank ^ (rank >> 33)) * 0xc4ceb9fe1a85ec53;
    return rank ^ (rank >> 33);
}

/// SplitMix64 (Steele, Lea and Flood 2014).
class Rng {
public:
    explicit Rng(std::uint64_t seed) noexcept : state_(seed) {}
    std::uint64_t operator()() noexcept {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

private:
    std::uint64_t state_;
};

/// Draws ranks below `count`, rank r with a probability proportional to (r + 1)^-exponent. Exact
/// and O(1) a draw, by the alias method (Walker 1977, tables as in Vose 1991). `count` must be a
/// power of two.
class Zipf {
public:
    Zipf(std::size_t count, double exponent) : cells_(count) {
        std::vector<double> share(count);
        double sum = 0;
        for (std::size_t r = 0; r < count; ++r)
            sum += share[r] = std::pow(static_cast<double>(r + 1), -exponent);
        std::vector<std::uint32_t> small, large;
        for (std::size_t r = 0; r < count; ++r) {
            share[r] *= static_cast<double>(count) / sum;
            (share[r] < 1 ? small : large).push_back(static_cast<std::uint32_t>(r));
        }
        while (!small.empty() && !large.empty()) {
            const std::uint32_t poor = small.back(), rich = large.back();
            small.pop_back();
            cells_[poor] = {below(share[poor]), rich};
            share[rich] -= 1 - share[poor];
            if (share[rich] < 1) {
                large.pop_back();
                small.push_back(rich);
            }
        }
    }

    std::size_t operator()(Rng& rng) const noexcept {
        const std::uint64_t random = rng();
        const std::size_t r = (random >> 32) & (cells_.size() - 1);
        return static_cast<std::uint32_t>(random) < cells_[r].threshold ? r : cells_[r].other;
    }

private:
    struct Cell {
        std::uint32_t threshold = std::numeric_limits<std::uint32_t>::max();
        std::uint32_t other = 0;
    };

    static std::uint32_t below(double share) noexcept {
        return static_cast<std::uint32_t>(share * 0x1p32);
    }

    std::vector<Cell> cells_;
};

/// 64-bit keys and values. Streams are made of items, contenders see a `View` of them.
struct Numbers {
    static constexpr const char* name = "u64";
    using Key = std::uint64_t;
    using Value = std::uint64_t;
    using View = std::uint64_t;
    using Item = std::uint64_t;

    static Item item(std::size_t rank) noexcept { return scramble(rank); }
    static View view(const Item& item) noexcept { return item; }
    static Key key(View view) noexcept { return view; }
    static Value value(View view) noexcept { return ~view; }

    /// 0 if the value belongs to the key. Cheap, as it is paid by the fastest contender too.
    static std::uint64_t difference(View view, Value value) noexcept { return value ^ ~view; }
};

/// Keys of 24 bytes and values of 48, both more than a std::string keeps in itself.
struct Texts {
    static constexpr const char* name = "text";
    using Key = std::string;
    using Value = std::string;
    using View = std::string_view;
    using Item = std::array<char, 24>;

    static Item item(std::size_t rank) noexcept {
        Item item;
        std::memcpy(item.data(), "session:", 8);
        std::uint64_t key = scramble(rank);
        for (std::size_t i = 8; i < item.size(); ++i, key >>= 4)
            item[i] = "0123456789abcdef"[key & 15];
        return item;
    }
    static View view(const Item& item) noexcept { return {item.data(), item.size()}; }
    static Key key(View view) { return Key(view); }
    static Value value(View view) {
        Value value;
        value.reserve(2 * view.size());
        return value.append(view).append(view);
    }

    static std::uint64_t difference(View view, const Value& value) noexcept {
        std::uint64_t mine = 0, theirs = 0;
        std::memcpy(&mine, view.data() + view.size() - 8, 8);
        std::memcpy(&theirs, value.data() + 2 * view.size() - 8, 8);
        return (mine ^ theirs) | (value.size() ^ 2 * view.size());
    }
};

}  // namespace throughput
