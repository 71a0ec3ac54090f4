#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "drey/detail/fence.hpp"
#include "drey/types.hpp"

#if defined(__SSE2__) && !DREY_THREAD_SANITIZER
#include <emmintrin.h>
#endif

namespace drey {

/// Key hash -> slot, for one shard: an open-addressing table of 32-bit words that readers probe
/// without a lock while one writer, under the shard's lock, changes it.
///
/// A group is one cache line: 15 words and a count of the entries that found the group full and
/// live further on (as in F14, Bronson and Shi, "Open-sourcing F14", 2019). A word is 0, or the
/// slot + 1 in its low bits and a tag of the hash above. A probe starts at the hash's home group
/// and goes on while the count is not 0.
///
/// Invariants
/// - An entry stays at its word for as long as it is in the table, and overwriting it replaces the
///   word in place: nothing is ever moved and there are no tombstones. Hence a probe that does not
///   find a key overlaps a moment at which the table did not have it, without any validation.
/// - The overflow counts on an entry's way are raised before it is published further on, and
///   lowered after it is withdrawn.
/// - A table that became too small is replaced by a new one and never changes again. It is kept
///   until the index is destroyed, so a reader may finish probing it; all of them together are
///   smaller than the current one.
class Index {
    using Word = std::atomic<std::uint32_t>;
    static constexpr std::size_t group_words = 16;
    static constexpr std::size_t group_entries = group_words - 1;
    static constexpr std::size_t overflow_word = group_words - 1;

    struct alignas(64) Group {
        std::array<Word, group_words> words{};
    };

    struct Table {
        Table(std::size_t group_count, unsigned slot_bits)
            : groups(new Group[group_count]), count(static_cast<std::uint32_t>(group_count)),
              slot_mask((std::uint32_t{1} << slot_bits) - 1) {}

        std::uint32_t tag(Hash h) const noexcept {
            return static_cast<std::uint32_t>(h) & ~slot_mask;
        }
        std::uint32_t home(Hash h) const noexcept {
            return static_cast<std::uint32_t>(((h >> 32) * count) >> 32);
        }
        std::uint32_t next(std::uint32_t group) const noexcept {
            return group + 1 == count ? 0 : group + 1;
        }
        Slot slot(std::uint32_t word) const noexcept { return (word & slot_mask) - 1; }
        std::uint32_t word(Hash h, Slot s) const noexcept { return tag(h) | (s + 1); }

        std::unique_ptr<Group[]> groups;
        std::uint32_t count;
        std::uint32_t slot_mask;
    };

public:
    static constexpr std::size_t most_slots = std::size_t{1} << 28;

    /// Room for `entries` entries in slots below `slots`, to begin with.
    Index(std::size_t entries, std::size_t slots) { install(make_table(entries, slots)); }

    /// Where an entry is: a word of the table, and what was read there.
    struct Place {
        const Table* table = nullptr;
        const Word* word = nullptr;
        std::uint32_t value = 0;
        explicit operator bool() const noexcept { return word != nullptr; }
        Slot slot() const noexcept { return table->slot(value); }
    };

    /// The first group of a probe, and its words that carry the hash's tag. Small enough to live in
    /// registers: most hits end here.
    struct Home {
        const Table* table;
        Group* group;
        std::uint32_t candidates;  // bits

        const Word& first() const noexcept {
            return group->words[static_cast<std::size_t>(std::countr_zero(candidates))];
        }
        void drop_first() noexcept { candidates &= candidates - 1; }

        /// Whether no key of this home lives further on. Relaxed: the count was raised before any
        /// entry that we may rely on finding was published there, and we happen after that.
        bool is_last() const noexcept {
            return group->words[overflow_word].load(std::memory_order_relaxed) == 0;
        }
    };

    [[gnu::always_inline]] Home home(Hash h) const noexcept {
        const Table* table = table_.load(std::memory_order_acquire);
        Group* group = &table->groups[table->home(h)];
        return {table, group, candidates(*group, table->tag(h), ~table->slot_mask)};
    }

    /// Walks all the words that may stand for a key with hash h. A reader without the lock must
    /// protect the entry and then ask `still_holds` before it looks at it.
    class Probe {
    public:
        Probe(const Index& index, Hash h) noexcept
            : home_(index.home(h)), tag_(home_.table->tag(h)) {}

        /// Goes to the next candidate; false if there are no more.
        bool next() noexcept {
            for (;;) {
                while (home_.candidates != 0) {
                    place_.word = &home_.first();
                    home_.drop_first();
                    if (again()) return true;
                }
                const Table& table = *home_.table;
                if (home_.is_last() || ++visited_ == table.count) return false;
                if (++home_.group == table.groups.get() + table.count)
                    home_.group = table.groups.get();
                home_.candidates = Index::candidates(*home_.group, tag_, ~table.slot_mask);
            }
        }

        /// Reads the word once more, after `still_holds` failed: an overwrite has put the key's new
        /// entry into this very word. False if it is empty.
        bool again() noexcept {
            // Acquire: the caller goes on to read the entry that was published by this word. That
            // it still carries the tag need not be asked: the caller compares keys.
            place_.value = place_.word->load(std::memory_order_acquire);
            place_.table = home_.table;
            return place_.value != 0;
        }

        Slot slot() const noexcept { return place_.slot(); }
        const Place& place() const noexcept { return place_; }
        const Table* table() const noexcept { return home_.table; }

    private:
        Home home_;
        std::uint32_t tag_;
        std::uint32_t visited_ = 0;
        Place place_;
    };

    Probe probe(Hash h) const noexcept { return Probe(*this, h); }

    /// Whether a probe of `table` that found nothing can be believed. If the table was replaced
    /// meanwhile, `still_holds` has refused every candidate, and the new one must be asked.
    bool is_current(const Table* table) const noexcept {
        return table_.load(std::memory_order_acquire) == table;
    }

    /// Whether `place` still names its slot, read after a hazard for the entry was published. The
    /// word comes first: if the table is current after that, the word was the truth.
    bool still_holds(const Place& place) const noexcept {
        return place.word->load(std::memory_order_acquire) == place.value &&
               is_current(place.table);
    }

    // The rest is for the holder of the shard's lock.

    std::size_t size() const noexcept { return size_; }

    /// Makes sure that one more entry can be added without failing, all slots being below `slots`;
    /// `hash_of(slot)` gives the hash of an entry that is in. Throws std::bad_alloc, or
    /// std::length_error beyond 2^28 slots, and has then changed nothing.
    template <class HashOf>
    void reserve_one(std::size_t slots, HashOf&& hash_of) {
        if (size_ < limit_ && slots < table().slot_mask) return;
        grow(slots, hash_of);
    }

    /// Publishes s under h. The key must not be in. Room must have been reserved.
    void add(Hash h, Slot s) noexcept {
        add_to(table(), h, s);
        ++size_;
    }

    /// The place of slot s, which is in under h.
    Place place_of(Hash h, Slot s) const noexcept {
        const Table& t = table();
        const std::uint32_t value = t.word(h, s);
        std::uint32_t g = t.home(h);
        for (std::uint32_t visited = 0; visited < t.count; ++visited, g = t.next(g)) {
            Group& group = t.groups[g];
            if (const auto found = candidates(group, value, ~std::uint32_t{0}); found != 0)
                return {&t, &group.words[static_cast<std::size_t>(std::countr_zero(found))], value};
            if (group.words[overflow_word].load(std::memory_order_relaxed) == 0) break;
        }
        return {};
    }

    /// Publishes `to` instead of the slot at `place`, under the same key.
    void replace(const Place& place, Hash h, Slot to) noexcept {
        // Release, here and in add_to: readers who see the word see the entry.
        writable(place).store(place.table->word(h, to), std::memory_order_release);
    }

    /// Withdraws the entry at `place`, whose hash is h.
    void remove(const Place& place, Hash h) noexcept {
        writable(place).store(0, std::memory_order_release);
        const Table& t = *place.table;
        for (std::uint32_t g = t.home(h); !contains(t.groups[g], place.word); g = t.next(g)) {
            Word& overflow = t.groups[g].words[overflow_word];
            overflow.store(overflow.load(std::memory_order_relaxed) - 1, std::memory_order_release);
        }
        --size_;
    }

    /// Whether the overflow counts are what the entries make them; for tests. Linear.
    template <class HashOf>
    bool validate(HashOf&& hash_of) const {
        const Table& t = table();
        std::vector<std::uint32_t> passed(t.count);
        std::size_t count = 0;
        for (std::uint32_t g = 0; g < t.count; ++g)
            for (std::size_t i = 0; i < group_entries; ++i) {
                const auto value = t.groups[g].words[i].load(std::memory_order_relaxed);
                if (value == 0) continue;
                ++count;
                const Hash h = hash_of(t.slot(value));
                if (value != t.word(h, t.slot(value))) return false;
                for (std::uint32_t on = t.home(h); on != g; on = t.next(on)) ++passed[on];
            }
        for (std::uint32_t g = 0; g < t.count; ++g)
            if (t.groups[g].words[overflow_word].load(std::memory_order_relaxed) != passed[g])
                return false;
        return count == size_;
    }

private:
    /// The tables are the index's own; only their readers see them as const.
    static Word& writable(const Place& place) noexcept { return const_cast<Word&>(*place.word); }

    static bool contains(const Group& group, const Word* word) noexcept {
        return word >= group.words.data() && word < group.words.data() + group_words;
    }

    /// Relaxed: under the lock, and only its holders store.
    const Table& table() const noexcept { return *table_.load(std::memory_order_relaxed); }

    static std::unique_ptr<Table> make_table(std::size_t entries, std::size_t slots) {
        if (slots >= most_slots) throw std::length_error("drey: more than 2^28 entries in a shard");
        // 10 of 15 words in use when full. Nothing is ever moved, so displaced entries spread as
        // others come and go: at 12.5 a miss would come to visit a dozen lines, at 10 not two.
        return std::make_unique<Table>(entries / 10 + 1,
                                       static_cast<unsigned>(std::bit_width(slots + 1)));
    }

    void install(std::unique_ptr<Table> table) {
        tables_.push_back(std::move(table));
        limit_ = std::size_t{tables_.back()->count} * 11;
        // Release: readers who see the table see its words.
        table_.store(tables_.back().get(), std::memory_order_release);
    }

    template <class HashOf>
    [[gnu::noinline]] void grow(std::size_t slots, HashOf& hash_of) {
        const Table& old = table();
        auto bigger = make_table(size_ * 2 + 1, slots * 2);
        for (std::uint32_t g = 0; g < old.count; ++g)
            for (std::size_t i = 0; i < group_entries; ++i)
                if (const auto value = old.groups[g].words[i].load(std::memory_order_relaxed))
                    add_to(*bigger, hash_of(old.slot(value)), old.slot(value));
        install(std::move(bigger));
    }

    static void add_to(const Table& table, Hash h, Slot s) noexcept {
        for (std::uint32_t g = table.home(h);; g = table.next(g)) {
            Group& group = table.groups[g];
            if (const auto empty = candidates(group, 0, ~std::uint32_t{0}); empty != 0) {
                group.words[static_cast<std::size_t>(std::countr_zero(empty))].store(
                    table.word(h, s), std::memory_order_release);
                return;
            }
            Word& overflow = group.words[overflow_word];
            overflow.store(overflow.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        }
    }

    /// The words of a group that are equal to `want` in the bits of `mask`, as bits. For readers it
    /// only nominates: every decision to take an entry rests on an atomic load made afterwards.
    static std::uint32_t candidates(const Group& group, std::uint32_t want,
                                    std::uint32_t mask) noexcept {
#if defined(__SSE2__) && !DREY_THREAD_SANITIZER
        // Each aligned 32-bit lane is read whole on every x86-64; that is all we ask of it.
        const auto* lanes = reinterpret_cast<const __m128i*>(group.words.data());
        const __m128i wanted = _mm_set1_epi32(static_cast<int>(want));
        const __m128i bits = _mm_set1_epi32(static_cast<int>(mask));
        const auto same = [&](int i) {
            return _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(lanes + i), bits), wanted);
        };
        const __m128i packed =
            _mm_packs_epi16(_mm_packs_epi32(same(0), same(1)), _mm_packs_epi32(same(2), same(3)));
        return static_cast<std::uint32_t>(_mm_movemask_epi8(packed)) & 0x7fffu;
#else
        std::uint32_t found = 0;
        for (std::size_t i = 0; i < group_entries; ++i)
            if ((group.words[i].load(std::memory_order_relaxed) & mask) == want) found |= 1u << i;
        return found;
#endif
    }

    std::atomic<const Table*> table_{nullptr};
    std::vector<std::unique_ptr<Table>> tables_;  // the last is the current one
    std::size_t size_ = 0;
    std::size_t limit_ = 0;  // how many entries the current table takes
};

}  // namespace drey
