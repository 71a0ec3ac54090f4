#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "drey/simulate.hpp"
#include "drey/types.hpp"

namespace drey {

/// What happened to a key, in one word: its hash, but for the two lowest bits, and what.
struct Sampled {
    enum Kind : std::uint64_t {
        looked_up,
        found_stale,  ///< looked up and there, but no longer of use
        erased,
    };
    static constexpr Hash kind_bits = 3;

    Sampled(Hash h, Kind kind) noexcept : word((h & ~kind_bits) | kind) {}
    explicit Sampled(std::uint64_t w) noexcept : word(w) {}

    Kind kind() const noexcept { return static_cast<Kind>(word & kind_bits); }
    Hash hash() const noexcept { return word & ~kind_bits; }

    std::uint64_t word;
};

/// A cache of a given capacity and policy in little: of R of the keys, chosen by their hashes, with
/// R of the capacity, it shows R of the misses (Waldspurger, Saemundsson, Ahmad, Park, "Cache
/// Modeling and Optimization using Miniature Simulations", USENIX ATC 2017).
///
/// It begins with all keys, and leaves out an eighth of them whenever it would hold more than
/// `most` (as SHARDS with a fixed size does): memory is bounded, and what is small, or has few
/// keys, is exact.
class MiniatureCache {
public:
    virtual ~MiniatureCache() = default;

    /// Goes through what happened, in order. Returns what of it was sampled and missed, in `room`,
    /// which is as long as `sampled`. Throws std::bad_alloc.
    virtual std::span<const std::uint64_t> run(std::span<const std::uint64_t> sampled,
                                               std::span<std::uint64_t> room) = 0;

    /// Forgets all keys.
    virtual void clear() = 0;

    /// It is to be a miniature of that many entries from now on. If these are so few that more keys
    /// can be sampled, it begins with all again.
    virtual void set_capacity(double capacity) = 0;

    /// Hashes below are sampled.
    Hash below() const noexcept { return below_; }
    double rate() const noexcept { return std::ldexp(static_cast<double>(below_), -64); }

protected:
    Hash below_ = ~Hash{0};
};

template <EvictionPolicy P>
class MiniatureCacheOf final : public MiniatureCache {
public:
    MiniatureCacheOf(double capacity, std::size_t most)
        : full_(capacity), most_(most), simulation_({.capacity = scaled()}) {}

    std::span<const std::uint64_t> run(std::span<const std::uint64_t> sampled,
                                       std::span<std::uint64_t> room) override {
        std::size_t missed = 0;
        for (const std::uint64_t word : sampled) {
            if (word >= below()) continue;
            const Sampled one(word);
            const Hash h = spread(one.hash());
            if (one.kind() != Sampled::looked_up) simulation_.erase(h);
            if (one.kind() == Sampled::erased || simulation_.access(h)) continue;
            room[missed++] = word;
            while (simulation_.size() >= most_ && simulation_.capacity() > most_) sample_less();
        }
        return room.first(missed);
    }

    void clear() override {
        simulation_.erase_if([](Hash) { return true; });
    }

    void set_capacity(double capacity) override {
        full_ = capacity;
        if (full_ * rate() < static_cast<double>(most_) / 2) below_ = ~Hash{0};
        simulation_.set_capacity(scaled());
    }

private:
    static constexpr Hash odd = 0x9e3779b97f4a7c15, inverse = 0xf1de83e19937733d;
    static_assert(odd * inverse == 1);

    /// Sampled hashes are small; policies rely on all their bits.
    static Hash spread(Hash h) noexcept { return std::rotl(h * odd, 32); }
    static Hash gathered(Hash h) noexcept { return std::rotr(h, 32) * inverse; }

    Weight scaled() const noexcept {
        return static_cast<Weight>(std::clamp(std::round(full_ * rate()), 1.0, 0x1p62));
    }

    void sample_less() {
        below_ -= below_ / 8;
        simulation_.erase_if([this](Hash h) { return gathered(h) >= below(); });
        simulation_.set_capacity(scaled());
    }

    double full_;
    const std::size_t most_;
    Simulation<P> simulation_;
};

}  // namespace drey
