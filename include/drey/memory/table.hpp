#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "drey/detail/fence.hpp"
#include "drey/memory/block.hpp"
#include "drey/memory/segment.hpp"
#include "drey/types.hpp"

namespace drey {

/// Key hash -> entry, for one shard: readers look up without a lock while one writer, under the
/// shard's lock, adds and removes. The number of the place where an entry lies is its slot.
///
/// Entries never move, so whoever protects one may read it in peace, and the policy's columns need
/// not follow. To grow is to add a segment as large as all before it; look-ups go through the
/// segments from the newest, which holds half of all, to the oldest. A table that was made for as
/// many entries as come has one segment.
template <class E, bool Marked = false>
class Table {
    using Blocks = drey::Blocks<E, Marked>;
    using Segment = drey::Segment<E, Marked>;

public:
    /// That of a shard with this number.
    Table(Blocks& blocks, std::uint32_t shard) : blocks_(blocks), shard_(shard) { add_segment(); }
    Table(const Table&) = delete;
    Table& operator=(const Table&) = delete;

    std::uint32_t shard() const noexcept { return shard_; }

    // ---- for readers without the lock ----------------------------------------------------------

    /// Acquire: who sees the segment sees it made.
    const Segment* newest() const noexcept { return newest_.load(std::memory_order_acquire); }

    /// A search that found nothing can be believed if no entry was changing places meanwhile: see
    /// `replace`. Acquire: the search must not begin before this.
    std::uint64_t replacements() const noexcept {
        return replacements_.load(std::memory_order_acquire);
    }
    bool replaced_since(std::uint64_t before) const noexcept {
        detail::load_fence();
        return before % 2 != 0 || replacements_.load(std::memory_order_relaxed) != before;
    }

    /// Whether there ever was an absence to be found: only then need anybody look for one. To be
    /// asked after `replacements`. Acquire: if an absence has taken a value's place, so that
    /// neither is found, then either `replacements` has seen it, and so does this, or
    /// `replaced_since` will.
    bool has_absences() const noexcept { return has_absences_.load(std::memory_order_acquire); }

    /// Whether the home of h alone tells that no entry's hash is like it: of most that are not here
    /// it does. To readers, under the conditions of any search that found nothing.
    [[gnu::always_inline]] bool surely_lacks(Hash h) const noexcept {
        const Segment& segment = *newest();
        if (segment.older() != nullptr || has_absences()) [[unlikely]]
            return false;
        const std::uint32_t home = segment.home(h);
        return segment.tags(home).match(tag_of(h)) == 0 && !segment.overflows(home, h);
    }

    /// The entry in s, and where it is. For who protects it, or holds the lock.
    E* address(Slot s) const noexcept { return segment_of(s).address(s); }
    E& at(Slot s) const noexcept { return *address(s); }

    /// The mark of s, for the same.
    Mark mark(Slot s) const noexcept requires Marked { return segment_of(s).mark(s); }

    // ---- for the holder of the shard's lock ----------------------------------------------------

    std::size_t size() const noexcept { return size_; }

    /// All slots are below.
    std::size_t end() const noexcept { return current().end(); }

    /// Calls `f(marks)` for those of each segment whose slots are all at or after `from`.
    template <class F>
    void each_marks(std::size_t from, F&& f) const {
        for (const auto& segment : segments_)
            if (segment->first() >= from) f(segment->marks());
    }

    /// Slots with an entry, published or not.
    std::size_t taken() const noexcept {
        std::size_t sum = 0;
        for (const auto& segment : segments_) sum += segment->taken();
        return sum;
    }

    [[gnu::always_inline]] bool contains(Slot s) const noexcept {
        return s < end() && segment_of(s).tag(s).load(std::memory_order_relaxed) != no_tag;
    }

    /// The first slot at or after `from` with a published entry, or `no_slot`.
    Slot next(Slot from) const noexcept {
        for (const auto& segment : segments_)
            if (const Slot s = segment->next_published(from); s != no_slot) return s;
        return no_slot;
    }

    /// Whether the published entry in s, whose hash is h, is an absence.
    bool is_absence(Slot s, Hash h) const noexcept {
        return has_absences() &&
               segment_of(s).tag(s).load(std::memory_order_relaxed) == absent_tag_of(h);
    }

    /// The slot of the published entry with hash h for which `matches(entry)` holds, or `no_slot`.
    template <class Matches>
    Slot find(Hash h, Matches&& matches) const {
        const Tag tag = tag_of(h), absent_tag = absent_tag_of(h);
        const bool absences = has_absences();
        for (const Segment* segment = newest(); segment != nullptr; segment = segment->older()) {
            std::uint32_t group = segment->home(h);
            const auto find_here = [&] {
                const TagGroup& tags = segment->tags(group);
                auto found = tags.match(tag);
                if (absences) found |= tags.match(absent_tag);
                for (; found != 0; found &= found - 1) {
                    const auto place = static_cast<unsigned>(std::countr_zero(found));
                    if (matches(std::as_const(*segment->address(group, place))))
                        return segment->slot(group, place);
                }
                return no_slot;
            };
            if (const Slot s = find_here(); s != no_slot) return s;
            if (!segment->overflows(group, h)) [[likely]]
                continue;
            for (ProbePath path = segment->path(h); segment->overflows(group, h) && path.next();) {
                group = path.group();
                if (const Slot s = find_here(); s != no_slot) return s;
            }
        }
        return no_slot;
    }

    /// Makes sure that one more place can be taken. Throws std::bad_alloc, or std::length_error
    /// if there would be 2^31 slots, and has then changed nothing.
    void reserve_one() {
        if (current().has_room()) [[likely]]
            return;
        for (const auto& segment : segments_)
            if (segment->has_room()) return;
        add_segment();
    }

    /// Takes a place for an entry with hash h, which the caller makes there; one was reserved.
    [[gnu::always_inline]] Slot take(Hash h) noexcept {
        if (current().has_room()) [[likely]]
            return current().take(h);
        auto segment = segments_.rbegin();
        while (!(*segment)->has_room()) ++segment;
        return (*segment)->take(h);
    }

    /// Makes the place free again.
    void give_back(Slot s) noexcept { segment_of(s).give_back(s); }

    [[gnu::always_inline]] void publish(Slot s, Hash h, bool is_absence = false) noexcept {
        segment_of(s).publish(s, h, tag_for(h, is_absence));
        ++size_;
    }
    [[gnu::always_inline]] void withdraw(Slot s, Hash h) noexcept {
        segment_of(s).withdraw(s, h);
        --size_;
    }

    /// Withdraws `from` and publishes `to`, of the same key. Never are both to be seen, or one who
    /// has found the new value could find the old one after it. So for a moment there is neither,
    /// and the count of replacements is odd: a look-up that finds nothing has, after a
    /// `load_fence`, seen that if it has seen `from` withdrawn, unless the count was even again
    /// before it began, and then so `to` was there.
    void replace(Slot from, Slot to, Hash h, bool is_absence = false) noexcept {
        const Tag tag = tag_for(h, is_absence);
        const std::uint64_t before = replacements_.load(std::memory_order_relaxed);
        // Relaxed: the tag that is stored next is released.
        replacements_.store(before + 1, std::memory_order_relaxed);
        segment_of(from).withdraw(from, h);
        segment_of(to).publish(to, h, tag);
        replacements_.store(before + 2, std::memory_order_release);
    }

    /// Whether what readers are led by is what the entries make it; for tests. Linear.
    template <class HashOf>
    bool validate(HashOf&& hash_of) const {
        std::size_t count = 0;
        for (Slot s = next(0); s != no_slot; s = next(s + 1)) ++count;
        return count == size_ &&
               std::all_of(segments_.begin(), segments_.end(),
                           [&](const auto& segment) { return segment->validate(hash_of); });
    }

private:
    Tag tag_for(Hash h, bool is_absence) noexcept {
        if (!is_absence) return tag_of(h);
        has_absences_.store(true, std::memory_order_release);
        return absent_tag_of(h);
    }

    /// Relaxed: for the holder of the lock, under which it changes.
    Segment& current() const noexcept {
        return const_cast<Segment&>(*newest_.load(std::memory_order_relaxed));
    }

    const Segment& segment_of(Slot s) const noexcept {
        const Segment* segment = newest();
        while (s < segment->first()) [[unlikely]] segment = segment->older();
        return *segment;
    }
    /// The segments are the table's own; only their readers see them as const.
    Segment& segment_of(Slot s) noexcept {
        return const_cast<Segment&>(std::as_const(*this).segment_of(s));
    }

    [[gnu::noinline]] void add_segment() {
        segments_.reserve(segments_.size() + 1);
        segments_.push_back(std::make_unique<Segment>(blocks_.at(segments_.size()), shard_,
                                                      newest_.load(std::memory_order_relaxed)));
        newest_.store(segments_.back().get(), std::memory_order_release);
    }

    std::atomic<const Segment*> newest_{nullptr};
    std::atomic<std::uint64_t> replacements_{0};  // begun and ended; odd in between
    std::atomic<bool> has_absences_{false};
    alignas(64) std::size_t size_ = 0;                // apart from what readers read
    std::vector<std::unique_ptr<Segment>> segments_;  // oldest first
    Blocks& blocks_;
    const std::uint32_t shard_;
};

}  // namespace drey
