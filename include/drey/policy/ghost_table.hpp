#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "drey/policy/policy.hpp"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace drey {

/// Which keys a ghost remembers, and of what age each is: a hash table of fingerprints and stamps
/// that forgets by itself. What was stamped longer ago than the ghost looks back (`length`, which
/// the caller knows) is not there any more, and its cell is free, without anything being done to
/// it.
///
/// A bucket is one cache line of ten cells. There are two halves with as many buckets, and a key
/// may lie in one bucket of either, so that a look-up reads two cache lines. A new key goes left if
/// that bucket has a free cell, else right (Vöcking, "How asymmetry helps load balancing", JACM
/// 2003); when both are full, it displaces another key into that one's other bucket, and so on
/// (Pagh and Rodler, "Cuckoo hashing", 2004; that the way between a key's buckets follows from its
/// tag is from Fan et al., "Cuckoo filter", CoNEXT 2014). Nine cells in ten may be used; then a new
/// key displaces 0.4 others on average.
///
/// A hash is cut to 45 bits. Of these a cell need not hold what its bucket tells (quotienting:
/// Knuth, TAOCP 3, exercise 6.4-13), nor a stamp more bits than it takes to tell the keys' order,
/// so that 6.4 bytes are enough for both at any size, and a key's 45 bits can always be restored,
/// to displace it or to move it to a larger table. With h buckets a half, a look-up of a key that
/// is not there finds one with a probability of less than 20 * h / 2^45: 2^-28 for 112,500 keys.
///
/// A stamp that comes round must not make a forgotten key seem new. Every few keys a bucket is
/// swept: stamps that are out of date are made so by just a little.
///
/// Invariants, with h = half(): length <= places() = 26h - 2; 32h <= stamp_mask_ + 1 < 64h; no
/// stamp is older than stamp_mask_; a cell that is not free has the tag and the rest of a key whose
/// spot in that half its bucket is.
class GhostTable {
    static constexpr unsigned bucket_cells = 10;
    static constexpr unsigned key_bits = 45;
    static constexpr unsigned tag_bits = 16;
    static constexpr unsigned high_bits = key_bits - tag_bits;
    static constexpr std::uint32_t high_mask = (1u << high_bits) - 1;
    static constexpr unsigned all_cells = (1u << bucket_cells) - 1;
    static constexpr unsigned load = 18;  // keys of the 20 cells in a pair of buckets
    static constexpr unsigned most_displaced = 64;

    struct alignas(64) Bucket {
        std::array<std::uint32_t, bucket_cells> words;  // the stamp, and above it some of the rest
        std::array<std::uint16_t, bucket_cells> tags;
        std::uint32_t extras;  // the highest 3 bits of each rest
    };
    static_assert(sizeof(Bucket) == 64);

public:
    /// A half that is enough for `keys`. Small tables need more spare room, as chance is less even.
    static constexpr std::uint32_t least_half = 3;
    static constexpr std::uint32_t half_for(std::uint64_t keys) noexcept {
        return static_cast<std::uint32_t>(keys / load) + least_half;
    }

    /// The keys that a table of this size is enough for.
    std::uint32_t room() const noexcept { return room_; }

    /// Makes an empty table of twice `half` buckets, half >= least_half. False, and the table is
    /// not to be used, when memory is refused.
    bool allocate(std::uint32_t half) noexcept {
        *this = GhostTable{};
        buckets_.reset(new (std::nothrow) Bucket[2 * std::size_t{half}]);
        if (!buckets_) return false;
        right_ = &buckets_[half];
        half_ = half;
        room_ = (half - least_half + 1) * load - 1;
        stamp_mask_ = 32 * std::bit_ceil(half) - 1;
        sweep_period_ = (stamp_mask_ - places() - 1) / (2 * half);
        now_ = places() + 1;
        std::fill_n(buckets_.get(), 2 * std::size_t{half}, Bucket{});
        return true;
    }

    std::uint32_t half() const noexcept { return half_; }
    /// The largest length that stamps can tell.
    std::uint32_t places() const noexcept { return 26 * half_ - 2; }
    std::size_t memory() const noexcept { return 2 * std::size_t{half_} * sizeof(Bucket); }

    static std::uint64_t key_of(Hash h) noexcept {
        // Hashes that differ in a few bits only must not share buckets, or tags.
        return ((h ^ h >> 32) * 0x9e3779b97f4a7c15) >> (64 - key_bits);
    }

    /// Takes out a key of at most the age `length`, and returns its age; 0 if there is none.
    std::uint32_t remove(std::uint64_t key, std::uint32_t length) noexcept {
        const Spot left = spot(0, key), right = spot(1, key);
        const unsigned in_left = matches(left), in_right = matches(right);
        if ((in_left | in_right) == 0) return 0;
        const std::uint32_t age = remove(left, in_left, length);
        return age != 0 ? age : remove(right, in_right, length);
    }

    /// Begins a new age: what was n before is n + 1. To be followed by `put(key, 1, length)`.
    void tick(std::uint32_t length) noexcept {
        ++now_;
        if (++ticks_ < sweep_period_) return;
        ticks_ = 0;
        sweep(buckets_[swept_], length);
        if (++swept_ == 2 * half_) swept_ = 0;
    }

    /// Puts a key in. Returns 0, or the age of one that found no room and is not in any more: that
    /// takes more than 20 keys with the same hash, or a coincidence rarer than a wrong look-up.
    std::uint32_t put(std::uint64_t key, std::uint32_t age, std::uint32_t length) noexcept {
        const Spot left = spot(0, key);
        if (write_to_free(left, age, length)) return 0;
        if (write_to_free(spot(1, key), age, length)) return 0;
        return displace(left, age, length);
    }

    /// Gives each key of at most the age `length` the age that `rank` tells.
    template <class Rank>
    void rename(std::uint32_t length, Rank&& rank) noexcept {
        for (std::size_t i = 0; i < 2 * std::size_t{half_}; ++i) {
            for (std::uint32_t& word : buckets_[i].words) {
                const std::uint32_t age = age_of(word);
                set_age(word, age <= length ? rank(age) : places() + 1);
            }
        }
    }

    /// Calls `use(key, age)` for each key of at most the age `length`.
    template <class Use>
    void for_each(std::uint32_t length, Use&& use) const {
        for (std::size_t i = 0; i < 2 * std::size_t{half_}; ++i) {
            for (unsigned cell = 0; cell < bucket_cells; ++cell) {
                const std::uint32_t age = age_of(&buckets_[i], cell);
                if (age <= length) use(key_in(&buckets_[i], cell), age);
            }
        }
    }

    bool validate(std::uint32_t length) const {
        for (std::size_t i = 0; i < 2 * std::size_t{half_}; ++i) {
            const Bucket* const bucket = &buckets_[i];
            for (unsigned cell = 0; cell < bucket_cells; ++cell) {
                if (age_of(bucket, cell) == 0) return false;
                if (age_of(bucket, cell) > length) continue;
                const Spot back = spot(i >= half_, key_in(bucket, cell));
                if (back.bucket != bucket || !holds(back, cell)) return false;
            }
        }
        return true;
    }

private:
    /// Where in a half a key belongs, and what a cell there has of it.
    struct Spot {
        Bucket* bucket;
        std::uint32_t rest;
        std::uint16_t tag;

        std::uint32_t extra() const noexcept { return rest >> 26; }
        std::uint32_t word() const noexcept { return rest << 6; }  // with room for a stamp
    };

    /// The tag tells how far a key's place in the right half is from that in the left one.
    static std::uint32_t shift_of(std::uint64_t tag) noexcept {
        return static_cast<std::uint32_t>(tag) * 0x85ebca6b;
    }

    // With x for the key's high bits, the bucket is x * h / 2^29, and the division leaves a rest of
    // 29 bits. Multiples of h being far apart, x can be told from it though a stamp takes the place
    // of the lowest bits of the rest: of no more than log2(h) of them.
    Spot spot(unsigned in_half, std::uint64_t key) const noexcept {
        const auto tag = static_cast<std::uint16_t>(key);
        std::uint64_t high = key >> tag_bits;
        if (in_half == 1) high = (high + shift_of(tag)) & high_mask;
        const std::uint64_t product = high * half_;
        return {(in_half == 0 ? buckets_.get() : right_) + (product >> high_bits),
                static_cast<std::uint32_t>(product) & high_mask, tag};
    }

    std::uint64_t key_in(const Bucket* bucket, unsigned cell) const noexcept {
        const bool in_right = bucket >= right_;
        const auto index =
            static_cast<std::uint64_t>(bucket - (in_right ? right_ : buckets_.get()));
        const std::uint32_t rest =
            (bucket->extras >> 3 * cell & 7) << 26 | (bucket->words[cell] & ~stamp_mask_) >> 6;
        std::uint64_t high = ((index << high_bits | rest) + half_ - 1) / half_;
        const std::uint64_t tag = bucket->tags[cell];
        if (in_right) high = (high - shift_of(tag)) & high_mask;
        return high << tag_bits | tag;
    }

    std::uint32_t age_of(std::uint32_t word) const noexcept { return (now_ - word) & stamp_mask_; }
    std::uint32_t age_of(const Bucket* bucket, unsigned cell) const noexcept {
        return age_of(bucket->words[cell]);
    }
    std::uint32_t stamp(std::uint32_t age) const noexcept { return (now_ - age) & stamp_mask_; }
    void set_age(std::uint32_t& word, std::uint32_t age) const noexcept {
        word = (word & ~stamp_mask_) | stamp(age);
    }

    bool holds(const Spot& at, unsigned cell) const noexcept {
        return at.bucket->tags[cell] == at.tag &&
               ((at.bucket->words[cell] ^ at.word()) & ~stamp_mask_) == 0 &&
               (at.bucket->extras >> 3 * cell & 7) == at.extra();
    }

    /// Bit i says whether cell i has the tag.
    static unsigned matches(const Spot& at) noexcept {
#ifdef __SSE2__
        static_assert(offsetof(Bucket, tags) == 40);
        const auto* const quarters = reinterpret_cast<const __m128i*>(at.bucket);
        const auto* const first = reinterpret_cast<const __m128i*>(at.bucket->tags.data());
        const __m128i tag = _mm_set1_epi16(static_cast<short>(at.tag));
        const __m128i same =
            _mm_packs_epi16(_mm_cmpeq_epi16(_mm_loadu_si128(first), tag),
                            _mm_cmpeq_epi16(_mm_srli_si128(_mm_load_si128(quarters + 3), 8), tag));
        return static_cast<unsigned>(_mm_movemask_epi8(same)) & all_cells;
#else
        unsigned same = 0;
        for (unsigned cell = 0; cell < bucket_cells; ++cell)
            same |= unsigned{at.bucket->tags[cell] == at.tag} << cell;
        return same;
#endif
    }

    std::uint32_t remove(const Spot& at, unsigned same, std::uint32_t length) noexcept {
        for (; same != 0; same &= same - 1) {
            const auto cell = static_cast<unsigned>(std::countr_zero(same));
            const std::uint32_t age = age_of(at.bucket, cell);
            if (age > length || !holds(at, cell)) continue;
            set_age(at.bucket->words[cell], places() + 1);
            return age;
        }
        return 0;
    }

    /// Bit i says whether cell i has no key of at most the age `length`.
    unsigned free_cells(const Bucket& bucket, std::uint32_t length) const noexcept {
#ifdef __SSE2__
        // Ages and lengths have 31 bits, so that signed comparisons do. The last two cells are
        // compared along with something else.
        static_assert(offsetof(Bucket, words) == 0);
        const auto* const quarters = reinterpret_cast<const __m128i*>(&bucket);
        const __m128i now = _mm_set1_epi32(static_cast<int>(now_));
        const __m128i mask = _mm_set1_epi32(static_cast<int>(stamp_mask_));
        const __m128i most = _mm_set1_epi32(static_cast<int>(length));
        const auto older = [&](int quarter) {
            const __m128i ages = _mm_sub_epi32(now, _mm_load_si128(quarters + quarter));
            return _mm_cmpgt_epi32(_mm_and_si128(ages, mask), most);
        };
        const __m128i free = _mm_packs_epi16(_mm_packs_epi32(older(0), older(1)),
                                             _mm_packs_epi32(older(2), older(2)));
        return static_cast<unsigned>(_mm_movemask_epi8(free)) & all_cells;
#else
        unsigned free = 0;
        for (unsigned cell = 0; cell < bucket_cells; ++cell)
            free |= unsigned{age_of(bucket.words[cell]) > length} << cell;
        return free;
#endif
    }

    void write(const Spot& at, unsigned cell, std::uint32_t age) noexcept {
        Bucket& bucket = *at.bucket;
        bucket.tags[cell] = at.tag;
        bucket.words[cell] = (at.word() & ~stamp_mask_) | stamp(age);
        bucket.extras = (bucket.extras & ~(7u << 3 * cell)) | at.extra() << 3 * cell;
    }

    bool write_to_free(const Spot& at, std::uint32_t age, std::uint32_t length) noexcept {
        const unsigned free = free_cells(*at.bucket, length);
        if (free == 0) return false;
        write(at, static_cast<unsigned>(std::countr_zero(free)), age);
        return true;
    }

    /// Puts a key where no cell is free, and the one that was there into its other bucket.
    /// Not inlined: every insertion would pay for the registers it needs.
    [[gnu::noinline]] std::uint32_t displace(Spot at, std::uint32_t age,
                                             std::uint32_t length) noexcept {
        for (unsigned displaced = 0; displaced < most_displaced; ++displaced) {
            const unsigned cell = (now_ + displaced) % bucket_cells;
            const bool was_right = at.bucket >= right_;
            const std::uint64_t key = key_in(at.bucket, cell);
            const std::uint32_t its_age = age_of(at.bucket, cell);
            write(at, cell, age);
            at = spot(was_right ? 0 : 1, key);
            age = its_age;
            if (write_to_free(at, age, length)) return 0;
        }
        return age;
    }

    void sweep(Bucket& bucket, std::uint32_t length) noexcept {
        for (unsigned free = free_cells(bucket, length); free != 0; free &= free - 1)
            set_age(bucket.words[static_cast<unsigned>(std::countr_zero(free))], places() + 1);
    }

    std::unique_ptr<Bucket[]> buckets_;
    Bucket* right_ = nullptr;  // the right half of them
    std::uint32_t half_ = 0;
    std::uint32_t room_ = 0;
    std::uint32_t stamp_mask_ = 0;
    std::uint32_t now_ = 0;
    std::uint32_t sweep_period_ = 0;
    std::uint32_t ticks_ = 0;
    std::uint32_t swept_ = 0;  // the bucket to sweep next
};

}  // namespace drey
