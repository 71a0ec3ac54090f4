#pragma once

#include <atomic>
#include <cstdint>

#include "drey/detail/fence.hpp"
#include "drey/types.hpp"

namespace drey {

/// How many published entries passed a group by, since it was full, in 16 counts of 4 bits; the
/// hash says which. Readers ask without a lock while one writer, under the shard's, counts.
class Overflow {
public:
    /// Relaxed will do for what must be found: the count was raised before such an entry was
    /// published, and the caller happens after that.
    unsigned of(Hash h) const noexcept {
        return static_cast<unsigned>(counts_.load(detail::before_load_fence) >> shift(h)) & most;
    }
    void add(Hash h) noexcept {
        if (of(h) != most) change(std::uint64_t{1} << shift(h));
    }
    /// A count that reached the most stays: what it stands for is not known any more.
    void remove(Hash h) noexcept {
        if (of(h) != most) change(-(std::uint64_t{1} << shift(h)));
    }
    /// Whether each count is that of `other`, or the most.
    bool covers(const Overflow& other) const noexcept {
        for (Hash h = 0; h < (Hash{16} << count_bits); h += Hash{1} << count_bits)
            if (of(h) != other.of(h) && of(h) != most) return false;
        return true;
    }

private:
    static constexpr unsigned most = 15;
    static constexpr unsigned count_bits = 12;  // where in the hash: apart from tag and path

    static unsigned shift(Hash h) noexcept {
        return static_cast<unsigned>(h >> count_bits & 15) * 4;
    }
    /// Release: who stops a search since the count is 0, and fences its loads after that, sees
    /// what was stored before the entry was withdrawn: that it is being replaced.
    void change(std::uint64_t by) noexcept {
        counts_.store(counts_.load(std::memory_order_relaxed) + by, std::memory_order_release);
    }

    std::atomic<std::uint64_t> counts_{0};
};

}  // namespace drey
