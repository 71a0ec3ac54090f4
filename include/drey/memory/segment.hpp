#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "drey/memory/probe_path.hpp"
#include "drey/memory/tags.hpp"
#include "drey/types.hpp"

namespace drey {

/// A hash table of fixed size whose entries never move: raw places for them, 16 to a group, and the
/// tags by which they are found. A table is a chain of segments, each larger than those before it.
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
template <class E>
class Segment {
public:
    static constexpr std::size_t group_places = TagGroup::places;

    /// `first` is the slot of the first place; `older` is the segment before this one.
    Segment(Slot first, std::uint32_t groups, const Segment* older)
        : groups_(groups), most_taken_(groups * (group_places - 1)), first_(first), older_(older),
          tags_(new TagGroup[groups]),
          cells_(static_cast<std::byte*>(
              ::operator new (std::size_t{groups} * group_places * sizeof(E), alignment))),
          overflow_(new Overflow[groups]), taken_places_(new std::uint16_t[groups]()) {}
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;

    Slot first() const noexcept { return first_; }
    Slot end() const noexcept { return first_ + static_cast<Slot>(places()); }
    std::size_t places() const noexcept { return std::size_t{groups_} * group_places; }
    const Segment* older() const noexcept { return older_; }

    std::uint32_t home(Hash h) const noexcept { return ProbePath::home(h, groups_); }
    ProbePath path(Hash h) const noexcept { return {h, groups_}; }

    const TagGroup& tags(std::uint32_t group) const noexcept { return tags_[group]; }

    /// Whether keys like h live further along a path that comes by this group.
    bool overflows(std::uint32_t group, Hash h) const noexcept {
        return overflow_[group].of(h) != 0;
    }

    /// The slot of a group's place, and the tag and the entry there.
    Slot slot(std::uint32_t group, unsigned place) const noexcept {
        return first_ + group * static_cast<Slot>(group_places) + place;
    }
    const std::atomic<Tag>& tag(Slot s) const noexcept { return tags_[group_of(s)][place_of(s)]; }
    E* address(Slot s) const noexcept { return cell(s - first_); }
    E* address(std::uint32_t group, unsigned place) const noexcept {
        return cell(std::size_t{group} * group_places + place);
    }

    // The rest is for the holder of the shard's lock.

    /// Whether there is a place to spare, and paths to it are short.
    bool has_room() const noexcept { return taken_ < most_taken_; }
    std::size_t taken() const noexcept { return taken_; }

    /// Takes the first free place for an entry with hash h. There must be room.
    Slot take(Hash h) noexcept {
        std::uint32_t group = home(h);
        if (taken_places_[group] == all_taken) [[unlikely]] {
            ProbePath path = this->path(h);
            while (taken_places_[path.group()] == all_taken) path.next();
            group = path.group();
        }
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
    void publish(Slot s, Hash h, Tag tag) noexcept {
        on_the_way_to(s, h, [&](Overflow& overflow) { overflow.add(h); });
        // Release, here and in withdraw: who sees the tag sees the entry.
        tags_[group_of(s)][place_of(s)].store(tag, std::memory_order_release);
    }

    /// Hides it again.
    void withdraw(Slot s, Hash h) noexcept {
        tags_[group_of(s)][place_of(s)].store(no_tag, std::memory_order_release);
        on_the_way_to(s, h, [&](Overflow& overflow) { overflow.remove(h); });
    }

    /// The first slot at or after `from` with a published entry, or `no_slot`.
    Slot next_published(Slot from) const noexcept {
        if (from >= end()) return no_slot;
        from = std::max(from, first_);
        std::uint32_t group = group_of(from);
        std::uint32_t found = tags_[group].published() & (~std::uint32_t{0} << place_of(from));
        while (found == 0) {
            if (++group == groups_) return no_slot;
            found = tags_[group].published();
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
            if ((tags_[g].published() & ~std::uint32_t{taken_places_[g]}) != 0) return false;
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

    /// How many published entries passed a group by, in 16 counts of 4 bits.
    class Overflow {
    public:
        /// Relaxed will do for what must be found: the count was raised before such an entry was
        /// published, and the caller happens after that.
        unsigned of(Hash h) const noexcept {
            return static_cast<unsigned>(counts_.load(detail::before_load_fence) >> shift(h)) &
                   most;
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

    static constexpr std::align_val_t alignment{alignof(E) > 64 ? alignof(E) : 64};
    struct Free {
        void operator()(std::byte* cells) const noexcept { ::operator delete(cells, alignment); }
    };

    E* cell(std::size_t i) const noexcept {
        return reinterpret_cast<E*>(cells_.get() + i * sizeof(E));
    }
    std::uint32_t group_of(Slot s) const noexcept {
        return static_cast<std::uint32_t>((s - first_) / group_places);
    }
    unsigned place_of(Slot s) const noexcept {
        return static_cast<unsigned>((s - first_) % group_places);
    }

    template <class F>
    void on_the_way_to(Slot s, Hash h, F&& change) noexcept {
        if (group_of(s) == home(h)) [[likely]]
            return;
        for (ProbePath path = this->path(h); path.group() != group_of(s); path.next())
            change(overflow_[path.group()]);
    }

    // What a hit needs comes first.
    const std::uint32_t groups_;
    const std::uint32_t most_taken_;
    const Slot first_;
    const Segment* const older_;
    const std::unique_ptr<TagGroup[]> tags_;
    const std::unique_ptr<std::byte, Free> cells_;
    const std::unique_ptr<Overflow[]> overflow_;
    const std::unique_ptr<std::uint16_t[]> taken_places_;  // bits
    std::uint32_t taken_ = 0;
};

}  // namespace drey
