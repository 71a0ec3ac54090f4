#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace drey {

/// What one thread has sampled and nobody has looked at yet: a ring that its thread fills and the
/// holder of the advisor's lock empties. When it is full, more is lost, and counted.
class alignas(64) SampleLane {
public:
    static constexpr std::size_t room = 64;

    /// For the lane's thread. Returns whether the ring is half full.
    bool push(std::uint64_t word) noexcept {
        const std::uint32_t end = end_.load(std::memory_order_relaxed);
        // Acquire: the place is written after who emptied it has read it.
        const std::uint32_t used = end - begin_.load(std::memory_order_acquire);
        if (used == room) {
            lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
            return true;
        }
        words_[end % room] = word;
        // Release: who sees it counted sees it written.
        end_.store(end + 1, std::memory_order_release);
        return used + 1 >= room / 2;
    }

    /// For the holder of the advisor's lock: calls `use(words)` with all there is, in order, in one
    /// or two pieces.
    template <class Use>
    void drain(Use&& use) {
        std::uint32_t begin = begin_.load(std::memory_order_relaxed);
        const std::uint32_t end = end_.load(std::memory_order_acquire);
        while (begin != end) {
            const std::uint32_t first = begin % room;
            const std::uint32_t count =
                std::min(end - begin, static_cast<std::uint32_t>(room) - first);
            use(std::span<const std::uint64_t>(words_.data() + first, count));
            begin_.store(begin += count, std::memory_order_release);
        }
    }

    /// How many did not find room.
    std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint32_t> end_{0};    // the lane's thread writes it
    std::atomic<std::uint64_t> lost_{0};   // this too
    std::atomic<std::uint32_t> begin_{0};  // who empties it writes it
    std::array<std::uint64_t, room> words_{};
};

}  // namespace drey
