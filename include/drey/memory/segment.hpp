#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "drey/memory/block.hpp"
#include "drey/memory/overflow.hpp"
#include "drey/memory/probe_path.hpp"
#include "drey/memory/tags.hpp"
#include "drey/policy/mark_column.hpp"
#include "drey/types.hpp"

namespace drey {

/// A hash table of fixed size whose entries never move: one shard's part of a block. A table is a
/// chain of segments, each larger than those before it.
///
/// A place is free, or taken and not published (its entry is being made or waits for its last
/// reader), or published: then its tag is the hash's. Each group counts the published entries that
/// found it full and live further along their path: where there are none, a look-up ends. So there
/// are no tombstones. (One count a group, as in F14: Bronson, Shi, "Open-sourcing F14", Facebook
/// Engineering 2019, is hardly ever 0 in a full table whose entries come and go but never move; so
/// there are 16, and the hash says which to ask.)
///
/// Thread safety: readers may call the const members at any time; the rest is for the holder of the
/// shard's lock.
template <class E, bool Marked = false>
class Segment {
public:
    static constexpr std::size_t group_places = TagGroup::places;

    /// `older` is the segment before this one.
    Segment(Block<E, Marked>& block, std::uint32_t shard, const Segment* older)
        : groups_(block.groups()), shard_bits_(block.shard_bits()), first_(block.first()),
          most_taken_(groups_ * (group_places - 1)), older_(older),
          tags_(block.tags(shard * groups_)), cells_(block.cells(shard * groups_)),
          overflow_(block.all_overflow(shard * groups_)), marks_(block.marks(shard * groups_)),
          taken_places_(block.taken_places(shard * groups_)) {}
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;

    Slot first() const noexcept { return first_; }
    Slot end() const noexcept { return first_ + static_cast<Slot>(places()); }
    std::size_t places() const noexcept { return std::size_t{groups_} * group_places; }
    const Segment* older() const noexcept { return older_; }

    std::uint32_t home(Hash h) const noexcept { return Home::among(h, groups_, shard_bits_); }
    ProbePath path(Hash h) const noexcept { return {h, groups_, shard_bits_}; }

    const TagGroup& tags(std::uint32_t group) const noexcept { return tags_[group]; }
    const TagGroup* tags() const noexcept { return tags_; }
    E* cells() const noexcept { return cells_; }

    /// Whether keys like h live further along a path that comes by this group.
    bool overflows(std::uint32_t group, Hash h) const noexcept {
        return overflow_[group].of(h) != 0;
    }

    /// The slot of a group's place, and the tag, the mark and the entry there.
    Slot slot(std::uint32_t group, unsigned place) const noexcept {
        return first_ + group * static_cast<Slot>(group_places) + place;
    }
    const std::atomic<Tag>& tag(Slot s) const noexcept { return tags(group_of(s))[place_of(s)]; }
    Mark mark(Slot s) const noexcept requires Marked { return marks()[s - first_]; }
    LentMarks marks() const noexcept requires Marked {
        return {first_, static_cast<Slot>(places()), marks_};
    }
    E* address(Slot s) const noexcept { return cells_ + (s - first_); }
    E* address(std::uint32_t group, unsigned place) const noexcept {
        return cells_ + std::size_t{group} * group_places + place;
    }

    // The rest is for the holder of the shard's lock.

    /// Whether there is a place to spare, and paths to it are short.
    bool has_room() const noexcept { return taken_ < most_taken_; }
    std::size_t taken() const noexcept { return taken_; }

    /// Takes the first free place for an entry with hash h. There must be room.
    [[gnu::always_inline]] Slot take(Hash h) noexcept {
        std::uint32_t group = home(h);
        if (taken_places_[group] == all_taken) [[unlikely]]
            group = first_with_room(h);
        const auto place = static_cast<unsigned>(std::countr_one(taken_places_[group]));
        taken_places_[group] = static_cast<std::uint16_t>(taken_places_[group] | (1u << place));
        ++taken_;
        return slot(group, place);
    }

    /// Makes a place that nobody reads any more free again.
    void give_back(Slot s) noexcept {
        std::uint16_t& taken = taken_places_[group_of(s)];
        taken = static_cast<std::uint16_t>(taken & ~(1u << place_of(s)));
        --taken_;
    }

    /// Shows the entry in s, whose hash is h, to readers, by one of its tags.
    [[gnu::always_inline]] void publish(Slot s, Hash h, Tag tag) noexcept {
        if (group_of(s) != home(h)) [[unlikely]]
            on_the_way_to(s, h, [&](Overflow& overflow) { overflow.add(h); });
        // Release, here and in withdraw: who sees the tag sees the entry.
        tags_[group_of(s)][place_of(s)].store(tag, std::memory_order_release);
    }

    /// Hides it again.
    [[gnu::always_inline]] void withdraw(Slot s, Hash h) noexcept {
        tags_[group_of(s)][place_of(s)].store(no_tag, std::memory_order_release);
        if (group_of(s) != home(h)) [[unlikely]]
            on_the_way_to(s, h, [&](Overflow& overflow) { overflow.remove(h); });
    }

    /// The first slot at or after `from` with a published entry, or `no_slot`.
    Slot next_published(Slot from) const noexcept {
        if (from >= end()) return no_slot;
        from = std::max(from, first_);
        std::uint32_t group = group_of(from);
        std::uint32_t found = tags(group).published() & (~std::uint32_t{0} << place_of(from));
        while (found == 0) {
            if (++group == groups_) return no_slot;
            found = tags(group).published();
        }
        return slot(group, static_cast<unsigned>(std::countr_zero(found)));
    }

    /// Whether the counts are what the entries make them; for tests. Linear.
    template <class HashOf>
    bool validate(HashOf&& hash_of) const {
        const std::unique_ptr<Overflow[]> passed(new Overflow[groups_]);
        std::size_t taken = 0;
        for (std::uint32_t g = 0; g < groups_; ++g) {
            taken += static_cast<std::size_t>(std::popcount(taken_places_[g]));
            if ((tags(g).published() & ~std::uint32_t{taken_places_[g]}) != 0) return false;
        }
        if (taken != taken_) return false;
        for (Slot s = next_published(first_); s != no_slot; s = next_published(s + 1)) {
            const Hash h = hash_of(s);
            const Tag shown = tag(s).load(std::memory_order_relaxed);
            if (shown != tag_of(h) && shown != absent_tag_of(h)) return false;
            ProbePath path = this->path(h);
            for (; path.group() != group_of(s); path.next()) passed[path.group()].add(h);
        }
        for (std::uint32_t g = 0; g < groups_; ++g)
            if (!overflow_[g].covers(passed[g])) return false;
        return true;
    }

private:
    static constexpr std::uint16_t all_taken = 0xffff;

    std::uint32_t group_of(Slot s) const noexcept {
        return static_cast<std::uint32_t>((s - first_) / group_places);
    }
    unsigned place_of(Slot s) const noexcept {
        return static_cast<unsigned>((s - first_) % group_places);
    }

    std::uint32_t first_with_room(Hash h) const noexcept {
        ProbePath path = this->path(h);
        while (taken_places_[path.group()] == all_taken) path.next();
        return path.group();
    }

    template <class F>
    void on_the_way_to(Slot s, Hash h, F&& change) noexcept {
        for (ProbePath path = this->path(h); path.group() != group_of(s); path.next())
            change(overflow_[path.group()]);
    }

    const std::uint32_t groups_;
    const unsigned shard_bits_;
    const Slot first_;
    const std::uint32_t most_taken_;
    const Segment* const older_;
    TagGroup* const tags_;
    E* const cells_;
    Overflow* const overflow_;
    Mark::Word* const marks_;              // if Marked
    std::uint16_t* const taken_places_;    // bits
    alignas(64) std::uint32_t taken_ = 0;  // apart from what readers read
};

}  // namespace drey
