#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "drey/policy/driver.hpp"

namespace drey {

/// What a stream of requests came to.
struct Replay {
    std::uint64_t requests = 0;
    std::uint64_t misses = 0;
    Weight missed_weight = 0;

    double miss_ratio() const noexcept {
        return requests ? static_cast<double>(misses) / static_cast<double>(requests) : 0.0;
    }

    friend bool operator==(const Replay&, const Replay&) = default;
};

/// An eviction policy at work without a cache: hashes stand for keys, and there are no values. Does
/// to the policy exactly what a cache of one shard does, in the same order, so it misses when the
/// cache would.
///
/// The 64-bit hash is the key's identity, and should be well mixed for the policy's sake. Costs 8
/// bytes an entry for hashes (16 with weights), 8 for each of up to 3 times as many table cells,
/// and what the policy takes; grows as it fills. O(1) a request. Not thread-safe.
///
/// Invariants: each held slot is in exactly one cell, and can be reached from its hash's home cell
/// without crossing an empty one; at most two thirds of the cells are in use; used() is what the
/// held slots weigh, and at most the capacity.
template <EvictionPolicy P>
class Simulation {
public:
    explicit Simulation(Budget budget, std::uint64_t seed = 0) : budget_(budget) {
        policy_.seed(seed);
        policy_.budget(budget);
    }

    /// One request, and on a miss the insertion that follows it. Returns whether it was a hit. The
    /// weight counts at a miss only, and must be 1 unless the budget is weighed. Throws
    /// std::bad_alloc, and has then changed nothing.
    bool access(Hash h, Weight w = 1) {
        if (const std::size_t cell = find(h); cell != absent) {
            ++result_.requests;
            policy_.hit(cells_[cell].slot, h);
            return true;
        }
        const bool can_fit = w <= budget_.capacity;
        const bool fits_now = can_fit && used_ <= budget_.capacity - w;
        if (fits_now && free_ == no_slot) grow();  // otherwise the victims leave a slot
        ++result_.requests;
        ++result_.misses;
        result_.missed_weight += w;
        if (!can_fit || !policy_.admit(h, w)) return false;
        while (used_ > budget_.capacity - w) evict();
        insert(h, w);
        return false;
    }

    bool contains(Hash h) const noexcept { return find(h) != absent; }

    /// Takes a key out as a user's erase would. Returns whether it was held.
    bool erase(Hash h) noexcept {
        const std::size_t cell = find(h);
        if (cell == absent) return false;
        const Slot s = cells_[cell].slot;
        policy_.erased(s);
        remove(cell, s);
        return true;
    }

    /// The same for all keys whose hash is such.
    template <class Pred>
    void erase_if(Pred&& is_such) {
        // What moves back into a cell that was emptied is looked at there.
        for (std::size_t cell = 0; cell < cells_.size(); ++cell)
            for (Slot s; (s = cells_[cell].slot) != no_slot && is_such(hashes_[s]);) {
                policy_.erased(s);
                remove(cell, s);
            }
    }

    /// Changes the capacity, evicting what no longer fits.
    void set_capacity(Weight capacity) {
        policy_.budget({capacity, budget_.weighed});
        budget_.capacity = capacity;
        while (used_ > capacity) evict();
    }

    /// Requests and misses since the start, or the last `reset_result`.
    const Replay& result() const noexcept { return result_; }
    void reset_result() noexcept { result_ = {}; }

    std::size_t size() const noexcept { return size_; }
    Weight used() const noexcept { return used_; }
    Weight capacity() const noexcept { return budget_.capacity; }

    /// Hints that `h` will be requested soon.
    void prefetch([[maybe_unused]] Hash h) const noexcept {
#ifdef __GNUC__
        if (!cells_.empty()) __builtin_prefetch(&cells_[home(tag(h))]);
#endif
    }

    bool validate() const {
        std::size_t held = 0;
        Weight used = 0;
        for (const Cell& cell : cells_) {
            if (cell.slot == no_slot) continue;
            if (find(hashes_[cell.slot]) != static_cast<std::size_t>(&cell - cells_.data()))
                return false;
            ++held;
            used += weight(cell.slot);
        }
        return held == size_ && used == used_ && used_ <= budget_.capacity && policy_.validate();
    }

private:
    /// Half of the mixed hash decides most comparisons in the table's own cache line, and is enough
    /// to find a cell's home when its neighbours are removed.
    struct Cell {
        std::uint32_t tag = 0;
        Slot slot = no_slot;
    };

    static constexpr std::size_t absent = ~std::size_t{0};

    static std::uint32_t tag(Hash h) noexcept {
        return static_cast<std::uint32_t>((h * 0x9e3779b97f4a7c15) >> 32);
    }
    std::size_t home(std::uint32_t tag) const noexcept { return tag >> tag_shift_; }
    std::size_t after(std::size_t cell) const noexcept { return (cell + 1) & (cells_.size() - 1); }

    Weight weight(Slot s) const noexcept { return budget_.weighed ? weights_[s] : 1; }

    std::size_t find(Hash h) const noexcept {
        if (cells_.empty()) return absent;
        const std::uint32_t sought = tag(h);
        for (std::size_t at = home(sought); cells_[at].slot != no_slot; at = after(at)) {
            if (cells_[at].tag == sought && hashes_[cells_[at].slot] == h) return at;
        }
        return absent;
    }

    void evict() noexcept {
        const Slot s = policy_.evict([this](Slot victim) { return hashes_[victim]; });
        remove(find(hashes_[s]), s);
    }

    void insert(Hash h, Weight w) noexcept {
        const Slot s = free_;
        free_ = static_cast<Slot>(hashes_[s]);
        hashes_[s] = h;
        if (budget_.weighed) weights_[s] = w;
        put({tag(h), s});
        policy_.inserted(s, h, weight(s));
        used_ += weight(s);
        ++size_;
    }

    void put(Cell cell) noexcept {
        std::size_t at = home(cell.tag);
        while (cells_[at].slot != no_slot) at = after(at);
        cells_[at] = cell;
    }

    void remove(std::size_t hole, Slot s) noexcept {
        for (std::size_t at = after(hole); cells_[at].slot != no_slot; at = after(at)) {
            // A cell may move up into the hole unless its home lies behind the hole.
            const std::size_t mask = cells_.size() - 1;
            if (((at - home(cells_[at].tag)) & mask) < ((at - hole) & mask)) continue;
            cells_[hole] = cells_[at];
            hole = at;
        }
        cells_[hole] = {};
        used_ -= weight(s);
        hashes_[s] = free_;
        free_ = s;
        --size_;
    }

    /// Doubles the slots when none is free; all of them together fill two thirds of the cells.
    void grow() {
        const std::size_t had = hashes_.size();
        const unsigned bits = cells_.empty() ? 4 : 32 - tag_shift_ + 1;
        std::vector<Cell> cells(std::size_t{1} << bits);
        const std::size_t slots = cells.size() / 3 * 2;
        policy_.grow(slots);
        if (budget_.weighed) weights_.resize(slots);
        hashes_.resize(slots);
        cells_.swap(cells);
        tag_shift_ = 32 - bits;
        for (const Cell& cell : cells) {
            if (cell.slot != no_slot) put(cell);
        }
        for (std::size_t s = slots; s-- > had;) {
            hashes_[s] = free_;
            free_ = static_cast<Slot>(s);
        }
    }

    PolicyDriver<P> policy_;
    Budget budget_;
    std::vector<Cell> cells_;      // linear probing, removal by moving back; a power of two
    std::vector<Hash> hashes_;     // of a free slot: the next free one
    std::vector<Weight> weights_;  // only when weighed
    Slot free_ = no_slot;
    unsigned tag_shift_ = 32;
    std::size_t size_ = 0;
    Weight used_ = 0;
    Replay result_;
};

/// Replays a stream of keys, given by their hashes, against policy `P` in an empty cache that holds
/// `capacity` of them.
template <EvictionPolicy P>
Replay simulate(std::span<const Hash> keys, Weight capacity, std::uint64_t seed = 0) {
    constexpr std::size_t ahead = 8;
    Simulation<P> simulation({.capacity = capacity}, seed);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (i + ahead < keys.size()) simulation.prefetch(keys[i + ahead]);
        simulation.access(keys[i]);
    }
    return simulation.result();
}

/// The same with a weight for each request; `weights` is as long as `keys`.
template <EvictionPolicy P>
Replay simulate(std::span<const Hash> keys, std::span<const Weight> weights, Weight capacity,
                std::uint64_t seed = 0) {
    constexpr std::size_t ahead = 8;
    Simulation<P> simulation({.capacity = capacity, .weighed = true}, seed);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (i + ahead < keys.size()) simulation.prefetch(keys[i + ahead]);
        simulation.access(keys[i], weights[i]);
    }
    return simulation.result();
}

}  // namespace drey
