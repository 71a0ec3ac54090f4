#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "drey/detail/huge_pages.hpp"
#include "drey/types.hpp"

namespace drey {

/// `N` circular lists threaded through one pair of 32-bit link columns, each with a sentinel.
///
/// A slot is in at most one ring. Because every ring is closed by its sentinel, unlinking needs no
/// branch and need not know which ring the slot is in. Eight bytes a slot; every operation O(1).
/// Not thread-safe: a policy is called under its shard's lock.
///
/// Invariants: next(prev(x)) == x and prev(next(x)) == x for every node x in a ring; a slot in no
/// ring may hold anything in its links.
template <std::size_t N = 1>
class SlotRings {
    static_assert(N > 0);

public:
    SlotRings() : links_(N) {
        for (Slot ring = 0; ring < N; ++ring) links_[ring] = {ring, ring};
    }

    /// Makes every slot below `n` valid. May throw std::bad_alloc, changing nothing.
    void grow(std::size_t n) {
        if (n + N > links_.size()) links_.resize(n + N);
    }

    bool empty(Slot ring) const noexcept { return links_[ring].next == ring; }

    /// The first and last slot, or `no_slot` of an empty ring.
    Slot front(Slot ring) const noexcept { return slot_at(links_[ring].next); }
    Slot back(Slot ring) const noexcept { return slot_at(links_[ring].prev); }

    /// The neighbour towards the back or the front, or `no_slot` past the end.
    Slot after(Slot s) const noexcept { return slot_at(links_[s + N].next); }
    Slot before(Slot s) const noexcept { return slot_at(links_[s + N].prev); }

    void push_front(Slot ring, Slot s) noexcept { link(ring, s + N, links_[ring].next); }
    void push_back(Slot ring, Slot s) noexcept { link(links_[ring].prev, s + N, ring); }

    /// Links `s` just behind `where`, which is in a ring.
    void insert_after(Slot where, Slot s) noexcept {
        link(where + N, s + N, links_[where + N].next);
    }

    /// Unlinks `s`, which is in a ring.
    void erase(Slot s) noexcept {
        const Node node = links_[s + N];
        links_[node.prev].next = node.next;
        links_[node.next].prev = node.prev;
    }

    /// Asks for the memory that `erase` of each of these needs, which are in rings: else one would
    /// wait for it after the other. Inlined by force, as g++ takes what only prefetches for a
    /// function without effects, and calls of it away.
    [[gnu::always_inline]] void prefetch(std::span<const Slot> slots) const noexcept {
        for (const Slot s : slots) __builtin_prefetch(&links_[s + N]);
        for (const Slot s : slots) {
            const Node node = links_[s + N];
            __builtin_prefetch(&links_[node.prev]);
            __builtin_prefetch(&links_[node.next]);
        }
    }

    /// Puts `to`, which is in no ring, in the very place of `from`, which leaves.
    void replace(Slot from, Slot to) noexcept {
        const Node node = links_[from + N];
        links_[to + N] = node;
        links_[node.prev].next = to + static_cast<Slot>(N);
        links_[node.next].prev = to + static_cast<Slot>(N);
    }

    /// Whether every ring closes in both directions. Linear in the slots held.
    bool validate() const {
        std::size_t seen = 0;
        for (Slot ring = 0; ring < N; ++ring) {
            Slot node = ring;
            do {
                const Slot next = links_[node].next;
                if (next >= links_.size() || links_[next].prev != node) return false;
                if (++seen > links_.size() || (next < N && next != ring)) return false;
                node = next;
            } while (node != ring);
        }
        return true;
    }

private:
    struct Node {
        Slot next = 0;
        Slot prev = 0;
    };

    static Slot slot_at(Slot node) noexcept {
        return node < N ? no_slot : node - static_cast<Slot>(N);
    }

    void link(std::size_t before, std::size_t node, std::size_t behind) noexcept {
        links_[node] = {static_cast<Slot>(behind), static_cast<Slot>(before)};
        links_[before].next = static_cast<Slot>(node);
        links_[behind].prev = static_cast<Slot>(node);
    }

    std::vector<Node, detail::HugePageAllocator<Node>>
        links_;  // nodes 0..N-1 are the sentinels, node s + N is slot s
};

}  // namespace drey
