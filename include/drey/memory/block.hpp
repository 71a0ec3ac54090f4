#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "drey/detail/raw_memory.hpp"
#include "drey/memory/overflow.hpp"
#include "drey/memory/probe_path.hpp"
#include "drey/memory/tags.hpp"
#include "drey/policy/mark.hpp"
#include "drey/types.hpp"

namespace drey {

/// The memory of one segment of each shard, side by side in the order of the shards: raw places for
/// entries, 16 to a group, and what leads to them. A hash's home lies where it would if all were
/// one table, so who looks there need not find its shard first, and waits for one address the less.
/// All of it is one piece of memory, so that most of it lies in huge pages where there are any; but
/// for large entries, of which a few would then take the memory of all.
///
/// Thread safety: the const members at any time; the rest is for segments, each under its shard's
/// lock.
template <class E, bool Marked = false>
class Block {
public:
    /// `groups` for each of `1 << shard_bits` shards, in which `first` is the slot of the first
    /// place.
    Block(unsigned shard_bits, std::uint32_t groups, Slot first)
        : all_groups_(groups << shard_bits), groups_(groups), first_(first),
          shard_bits_(shard_bits),
          memory_(all_bytes(all_groups_), alignment, sizeof(E) <= most_in_huge_pages),
          tags_(make<TagGroup>(memory_.begin())), overflow_(make<Overflow>(tags_ + all_groups_)),
          marks_(Marked ? make<Mark::Word>(overflow_ + all_groups_) : nullptr),
          taken_places_(make<std::uint16_t>(Marked ? static_cast<void*>(marks_ + all_groups_)
                                                   : overflow_ + all_groups_)),
          cells_(reinterpret_cast<E*>(memory_.begin() + heads_bytes(all_groups_))) {}
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    std::uint32_t home(Hash h) const noexcept { return Home::among(h, all_groups_); }

    /// Where a hash is searched for, in groups of its shard.
    ProbePath path(Hash h) const noexcept { return {h, groups_, shard_bits_}; }

    bool overflows(std::uint32_t group, Hash h) const noexcept {
        return overflow_[group].of(h) != 0;
    }

    /// The slot, of its shard, that a cell has: a place by its number in the block.
    Slot slot(std::uint32_t shard, std::size_t cell) const noexcept {
        return first_ + static_cast<Slot>(cell - std::size_t{shard} * groups_ * TagGroup::places);
    }
    /// What it shows.
    const std::atomic<Tag>& tag(std::size_t cell) const noexcept {
        return tag_of_cell(tags_, cell);
    }
    /// Its mark, which readers may write.
    Mark mark(std::size_t cell) const noexcept requires Marked { return {marks_, cell}; }

    unsigned shard_bits() const noexcept { return shard_bits_; }
    std::uint32_t groups() const noexcept { return groups_; }  // of a shard
    Slot first() const noexcept { return first_; }
    Slot end() const noexcept { return first_ + groups_ * static_cast<Slot>(TagGroup::places); }

    // From the first group of a shard on, or of all.
    TagGroup* tags(std::uint32_t group = 0) const noexcept { return tags_ + group; }
    Overflow* all_overflow(std::uint32_t group) noexcept { return overflow_ + group; }
    Mark::Word* marks(std::uint32_t group) noexcept { return Marked ? marks_ + group : nullptr; }
    std::uint16_t* taken_places(std::uint32_t group) noexcept { return taken_places_ + group; }
    E* cells(std::uint32_t group = 0) const noexcept {
        return cells_ + std::size_t{group} * TagGroup::places;
    }

private:
    static_assert(TagGroup::places == Mark::in_a_word);

    static constexpr std::align_val_t alignment{alignof(E) > 64 ? alignof(E) : 64};
    static constexpr std::size_t most_in_huge_pages = 32;  // bytes of an entry

    /// Of all but the entries. They come first, where huge pages begin, as they are what look-ups
    /// read first; by falling alignment.
    static constexpr std::size_t heads_bytes(std::size_t groups) noexcept {
        constexpr auto line = static_cast<std::size_t>(alignment);
        const std::size_t bytes =
            groups * (sizeof(TagGroup) + sizeof(Overflow) + (Marked ? sizeof(Mark::Word) : 0) +
                      sizeof(std::uint16_t));
        return (bytes + line - 1) / line * line;
    }
    /// Throws std::bad_array_new_length if no machine of this width has as many.
    static constexpr std::size_t all_bytes(std::size_t groups) {
        constexpr std::size_t a_group = TagGroup::places * sizeof(E);
        constexpr std::size_t most = std::numeric_limits<std::size_t>::max() / 2;
        if (groups > most / (a_group + heads_bytes(1))) throw std::bad_array_new_length();
        return heads_bytes(groups) + groups * a_group;
    }
    /// One for each group.
    template <class T>
    T* make(void* at) const noexcept {
        static_assert(std::is_trivially_destructible_v<T>);
        T* const first = static_cast<T*>(at);
        std::uninitialized_value_construct_n(first, all_groups_);
        return first;
    }

    // Nothing of these changes: all cores have them.
    const std::uint32_t all_groups_;
    const std::uint32_t groups_;
    const Slot first_;
    const unsigned shard_bits_;
    const detail::RawMemory memory_;  // of all that follows
    TagGroup* const tags_;
    Overflow* const overflow_;
    Mark::Word* const marks_;            // if Marked
    std::uint16_t* const taken_places_;  // bits
    E* const cells_;
};

namespace detail {

/// Six of seven places in use as planned, up to 15 of 16 before it grows: then four keys in five
/// live in their home group.
inline std::size_t groups_for(std::size_t entries) {
    return (entries * 7 + 6 * TagGroup::places - 1) / (6 * TagGroup::places);
}

}  // namespace detail

/// The blocks of a store, each larger than all before it together. The shard that needs another
/// first makes it for all, as the others, which fill as fast, will need it soon.
///
/// Thread-safe.
template <class E, bool Marked = false>
class Blocks {
public:
    using Block = drey::Block<E, Marked>;
    static constexpr std::size_t most_slots = std::size_t{1} << 31;

    /// Room for `entries` entries a shard to begin with. Takes 26 bytes a group of 16 at once (30
    /// if marked), and the rest by whole pages where entries are made: huge ones if they are small.
    Blocks(unsigned shard_bits, std::size_t entries)
        : shard_bits_(shard_bits), shard_shift_(32 - shard_bits) {
        add(entries);
    }
    Blocks(const Blocks&) = delete;
    Blocks& operator=(const Blocks&) = delete;

    /// The number of the shard that keys like h live in: its first bits.
    std::uint32_t shard(Hash h) const noexcept {
        return static_cast<std::uint32_t>(h >> 32 >> shard_shift_);
    }

    /// Acquire: who sees the block sees it made.
    const Block& newest() const noexcept { return *newest_.load(std::memory_order_acquire); }

    /// The block with this number; it is made if it is the next. Throws std::bad_alloc, or
    /// std::length_error if shards would have 2^31 slots, and has then changed nothing.
    Block& at(std::size_t number) {
        const std::lock_guard lock(mutex_);
        if (number == blocks_.size()) add(blocks_.back()->end() / 7 * 6);
        return *blocks_[number];
    }

private:
    void add(std::size_t entries) {
        const Slot first = blocks_.empty() ? 0 : blocks_.back()->end();
        const std::size_t groups = detail::groups_for(entries);
        constexpr std::size_t most_groups = std::numeric_limits<std::uint32_t>::max();
        if (first + groups * TagGroup::places >= most_slots || groups > most_groups >> shard_bits_)
            throw std::length_error("drey: more than 2^31 entries in a shard");
        blocks_.reserve(blocks_.size() + 1);
        blocks_.push_back(
            std::make_unique<Block>(shard_bits_, static_cast<std::uint32_t>(groups), first));
        newest_.store(blocks_.back().get(), std::memory_order_release);
    }

    std::atomic<const Block*> newest_{nullptr};
    const unsigned shard_bits_;
    const unsigned shard_shift_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Block>> blocks_;  // oldest first
};

}  // namespace drey
