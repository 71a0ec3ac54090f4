#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "drey/types.hpp"

namespace drey {

/// Some of the hits, for a policy that learns from them: hits that come without a lock leave their
/// key's name here, if it is of a sample, until the next call under the lock takes them out. A name
/// is 32 bits of the hash that nobody can choose who does not know the seed, and decides alone
/// whether the key is of the sample.
///
/// Fixed memory, and lossy: when it is full, and when two threads come at once, a hit is dropped.
/// Nothing follows from one, so every access is relaxed.
class HitSamples {
public:
    static constexpr unsigned most = 8;

    HitSamples() = default;
    HitSamples(HitSamples&& other) noexcept
        : factor_(other.factor_), limit_(other.limit_.load(std::memory_order_relaxed)) {}
    HitSamples& operator=(HitSamples&& other) noexcept {
        factor_ = other.factor_;
        limit_.store(other.limit_.load(std::memory_order_relaxed), std::memory_order_relaxed);
        count_.store(0, std::memory_order_relaxed);
        return *this;
    }

    /// Another sample for each seed. Before the first hit.
    void seed(std::uint64_t x) noexcept { factor_ = x | 1; }

    /// The sample are the first keys in the order of their hashes' products with this.
    void sample_by(Hash factor) noexcept { factor_ = factor; }

    /// Of `of` keys, about `some` are of the sample; 0 < some <= of.
    void rate(std::uint64_t some, std::uint64_t of) noexcept {
        const double share = static_cast<double>(some) / static_cast<double>(of);
        limit_.store(static_cast<std::uint32_t>(share * 0xffffffff), std::memory_order_relaxed);
    }

    std::uint32_t name(Hash h) const noexcept {
        return static_cast<std::uint32_t>(h * factor_ >> 32);
    }
    bool takes(std::uint32_t name) const noexcept {
        return name <= limit_.load(std::memory_order_relaxed);
    }

    /// Their products are below this.
    Hash below() const noexcept {
        const Hash limit = limit_.load(std::memory_order_relaxed);
        return limit == std::numeric_limits<std::uint32_t>::max() ? ~Hash{0} : (limit + 1) << 32;
    }

    /// By any number of threads at once.
    void hit(Hash h) noexcept {
        if (const std::uint32_t n = name(h); takes(n)) [[unlikely]]
            keep(n);
    }

    /// Takes out the names of what was kept, oldest first; by one thread at a time.
    template <class F>
    void drain(F&& f) noexcept {
        const unsigned count = count_.load(std::memory_order_relaxed);
        if (count == 0) return;
        for (unsigned i = 0; i < count; ++i) f(kept_[i].load(std::memory_order_relaxed));
        count_.store(0, std::memory_order_relaxed);
    }

private:
    [[gnu::noinline]] void keep(std::uint32_t name) noexcept {
        const unsigned count = count_.load(std::memory_order_relaxed);
        if (count >= most) return;
        kept_[count].store(name, std::memory_order_relaxed);
        count_.store(count + 1, std::memory_order_relaxed);
    }

    // Hits on keys of the sample read these two.
    std::uint64_t factor_ = 0x9e3779b97f4a7c15u;
    std::atomic<std::uint32_t> limit_{0};
    alignas(64) std::atomic<std::uint32_t> count_{0};  // apart from them
    std::array<std::atomic<std::uint32_t>, most> kept_{};
};

}  // namespace drey
