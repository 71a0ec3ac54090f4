#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "drey/policy/policy.hpp"

namespace drey {

/// Remembers the keys evicted last, by hash, first in first out, up to a weight. Exact: a removed
/// key frees its room at once, the oldest leaves first, and a key is told from 2^61 others.
///
/// A log, and a hash table chained through it. The log is a ring of 64-bit words in order of age; a
/// word holds the distance to the next older word of the same bucket, and what is left of the hash.
/// What is older than the log is long is forgotten, whether or not a chain still leads there, so
/// that forgetting costs nothing. Of the hash a word need not hold the k bits that chose its bucket
/// (quotienting: Knuth, TAOCP 3, exercise 6.4-13; Bender et al., "Don't thrash", VLDB 2012). When
/// the ring doubles, distances need a bit more and buckets tell a bit more, so the bits given up
/// stay the same three, at any size, and a word can always be rehashed.
///
/// About 9 bytes a unit-weight key when full: 8 a word, 1/2 to 1 for the buckets, 1/32 of the ring
/// for holes left by `remove`; 8 more with weights. Grows as it fills, whatever its capacity. When
/// growth is refused, the oldest key is forgotten instead. Amortised O(1), chains being 4 to 8
/// words long and holes being squeezed out 1/32 of the ring at a time.
///
/// Invariants: the words that are not holes are in exactly one chain each, newest first, and that
/// of their bucket; their number and weight are `keys_` and `weight_`; weight_ <= capacity_.
class Ghost {
public:
    /// Sets what the keys may weigh together, and forgets the oldest beyond it. Unless weighed,
    /// each weighs 1. A change of `weighed` forgets all.
    void budget(Budget b) noexcept {
        if (b.weighed != weighed_) {
            *this = Ghost{};
            weighed_ = b.weighed;
        }
        capacity_ = b.capacity;
        while (weight_ > capacity_) forget_oldest();
        if (log_.size > most_words()) resize(most_words());
    }

    /// Remembers `h`, forgetting the oldest as needed. One heavier than the capacity is ignored. A
    /// key added twice is remembered twice.
    void add(Hash h, Weight w = 1) noexcept {
        // Without weight, any number of keys would fit.
        w = weighed_ ? std::max<Weight>(w, 1) : 1;
        if (w > capacity_) return;
        while (weight_ > capacity_ - w) forget_oldest();
        if (log_.length == log_.size) make_room();
        if (log_.length == log_.size) return;
        if (log_.number % Log::renewal_period == 0) squeeze();
        log_.push(mix(h), w);
        weight_ += w;
        ++keys_;
    }

    /// Whether `h` was remembered; it is not any more.
    bool remove(Hash h) noexcept {
        if (keys_ == 0) return false;
        const std::uint64_t x = mix(h);
        const std::uint32_t bucket = log_.bucket_of(x);
        std::uint32_t newer = none;
        for (std::uint32_t age = log_.newest(bucket); age != none; age = log_.older(age)) {
            if (log_.remainder(age) == log_.remainder_of(x)) {
                unchain(bucket, newer, age);
                return true;
            }
            newer = age;
        }
        return false;
    }

    std::size_t size() const noexcept { return keys_; }
    Weight weight() const noexcept { return weight_; }
    Weight capacity() const noexcept { return capacity_; }

    /// Allocated bytes.
    std::size_t memory() const noexcept {
        return log_.size * (sizeof(std::uint64_t) + (weighed_ ? sizeof(Weight) : 0)) +
               log_.bucket_count() * sizeof(std::uint32_t);
    }

    bool validate() const {
        std::size_t chained = 0;
        for (std::uint32_t bucket = 0; bucket < log_.bucket_count(); ++bucket) {
            std::uint32_t newer = none;
            for (std::uint32_t age = log_.newest(bucket); age != none; age = log_.older(age)) {
                if (age <= newer || age > log_.length || log_.is_hole(age)) return false;
                newer = age;
                ++chained;
            }
        }
        std::size_t logged = 0;
        Weight weight = 0;
        for (std::uint32_t age = 1; age <= log_.length; ++age) {
            if (log_.is_hole(age)) continue;
            ++logged;
            weight += log_.weight(age);
        }
        return chained == keys_ && logged == keys_ && weight == weight_ && weight_ <= capacity_;
    }

private:
    static constexpr std::uint32_t none = 0;  // no age: that of the newest word is 1

    /// Hashes that differ in few bits, or only in low ones, must not share a bucket. Invertible.
    static std::uint64_t mix(Hash h) noexcept { return h * 0x9e3779b97f4a7c15; }

    struct Log {
        std::unique_ptr<std::uint64_t[]> words;
        std::unique_ptr<std::uint32_t[]> buckets;  // the number of the newest word in each
        std::unique_ptr<Weight[]> weights;         // only with weights
        std::uint32_t size = 0;                    // words in the ring
        std::uint32_t length = 0;                  // words in use, holes included
        std::uint32_t next = 0;                    // where the next word goes
        std::uint32_t number = first_number;       // what the next word is numbered, modulo 2^32
        unsigned bucket_bits = 0;

        // Numbers come round, and then those in stale buckets must not seem to be new: all are
        // renewed once in renewal_period words, the first time soon, so that it is no rare event.
        static constexpr std::uint32_t renewal_period = std::uint32_t{1} << 31;
        static constexpr std::uint32_t first_number = ~std::uint32_t{99};

        /// False, and nothing is held, when memory is refused. There are a quarter to an eighth as
        /// many buckets as words, so that any distance, a bucket, and the mark of a hole fit in
        /// bucket_bits + 3.
        bool allocate(std::uint32_t n, bool weighed) noexcept {
            bucket_bits = static_cast<unsigned>(std::bit_width(n / 4)) - 1;
            words.reset(new (std::nothrow) std::uint64_t[n]);
            buckets.reset(new (std::nothrow) std::uint32_t[std::size_t{1} << bucket_bits]);
            if (weighed) weights.reset(new (std::nothrow) Weight[n]);
            if (!words || !buckets || (weighed && !weights)) return false;
            size = n;
            std::fill_n(buckets.get(), bucket_count(), stale());
            return true;
        }

        std::size_t bucket_count() const noexcept {
            return size ? std::size_t{1} << bucket_bits : 0;
        }
        std::uint64_t link_mask() const noexcept { return (std::uint64_t{8} << bucket_bits) - 1; }

        std::uint32_t bucket_of(std::uint64_t x) const noexcept {
            return static_cast<std::uint32_t>(x >> (64 - bucket_bits));
        }
        std::uint64_t remainder_of(std::uint64_t x) const noexcept {
            return (x << bucket_bits) & ~link_mask();
        }
        std::uint64_t mixed(std::uint64_t bucket, std::uint64_t remainder) const noexcept {
            return bucket << (64 - bucket_bits) | remainder >> bucket_bits;
        }

        std::uint32_t at(std::uint32_t age) const noexcept {
            return next >= age ? next - age : next + (size - age);
        }
        std::uint64_t remainder(std::uint32_t age) const noexcept {
            return words[at(age)] & ~link_mask();
        }
        std::uint64_t link(std::uint32_t age) const noexcept {
            return words[at(age)] & link_mask();
        }
        void set_link(std::uint32_t age, std::uint64_t to) noexcept {
            words[at(age)] = remainder(age) | to;
        }
        bool is_hole(std::uint32_t age) const noexcept { return link(age) == link_mask(); }
        Weight weight(std::uint32_t age) const noexcept { return weights ? weights[at(age)] : 1; }

        /// The ages of a bucket's newest word, and of the next older one, if it is in the log.
        std::uint32_t newest(std::uint32_t bucket) const noexcept {
            const std::uint32_t age = number - buckets[bucket];
            return age <= length ? age : none;
        }
        std::uint32_t older(std::uint32_t age) const noexcept {
            const std::uint64_t distance = link(age);
            if (distance == 0 || distance > length - age) return none;
            return age + static_cast<std::uint32_t>(distance);
        }

        /// The number of a word that is not in the log any more.
        std::uint32_t stale() const noexcept { return number - size - 1; }

        void push(std::uint64_t x, Weight w) noexcept {
            const std::uint32_t bucket = bucket_of(x);
            words[next] = remainder_of(x) | newest(bucket);  // an age is the distance from the next
            if (weights) weights[next] = w;
            buckets[bucket] = number++;
            if (++next == size) next = 0;
            ++length;
        }
    };

    /// A capacity's worth, and some holes before they must be squeezed out.
    std::uint32_t most_words() const noexcept {
        const Weight most = std::min(capacity_, Weight{1} << 30);
        return static_cast<std::uint32_t>(most + most / 32 + 8);
    }

    void unchain(std::uint32_t bucket, std::uint32_t newer, std::uint32_t age) noexcept {
        const std::uint32_t older = log_.older(age);
        if (newer != none) {
            log_.set_link(newer, older == none ? 0 : older - newer);
        } else {
            log_.buckets[bucket] = older == none ? log_.stale() : log_.number - older;
        }
        log_.set_link(age, log_.link_mask());
        weight_ -= log_.weight(age);
        --keys_;
    }

    /// Needs keys_ > 0.
    void forget_oldest() noexcept {
        while (log_.is_hole(log_.length)) --log_.length;
        weight_ -= log_.weight(log_.length);
        --keys_;
        --log_.length;
    }

    /// The ring is full of words and holes.
    void make_room() noexcept {
        const auto holes = log_.length - keys_;
        if (holes > log_.size / 32 || log_.size >= most_words()) {
            squeeze();
        } else {
            const std::uint64_t doubled = std::max<std::uint64_t>(2 * std::uint64_t{log_.size}, 16);
            const auto wanted = std::min<std::uint64_t>(doubled, most_words());
            if (!resize(static_cast<std::uint32_t>(wanted)) && keys_ > 0) forget_oldest();
        }
    }

    /// Moves all words together, in place.
    void squeeze() noexcept {
        name_buckets();
        const std::uint32_t oldest = log_.at(log_.length);
        const std::uint32_t length = std::exchange(log_.length, 0);
        log_.next = oldest;
        push_all(oldest, length, log_);
    }

    /// `n` has room for all keys.
    bool resize(std::uint32_t n) noexcept {
        Log to;
        if (!to.allocate(n, weighed_)) return false;
        name_buckets();
        push_all(log_.at(log_.length), log_.length, to);
        log_ = std::move(to);
        return true;
    }

    /// Breaks up all chains and has every word name its bucket instead.
    void name_buckets() noexcept {
        for (std::uint32_t bucket = 0; bucket < log_.bucket_count(); ++bucket) {
            std::uint32_t age = log_.newest(bucket);
            log_.buckets[bucket] = log_.stale();
            while (age != none) {
                const std::uint32_t older = log_.older(age);
                log_.set_link(age, bucket);
                age = older;
            }
        }
    }

    /// Pushes `length` words from position `from` on, which name their buckets, to a log that may
    /// be this very one: what is overwritten there was read before.
    void push_all(std::uint32_t from, std::uint32_t length, Log& to) noexcept {
        for (; length > 0; --length) {
            const std::uint64_t link = log_.words[from] & log_.link_mask();
            if (link != log_.link_mask()) {
                const std::uint64_t remainder = log_.words[from] & ~log_.link_mask();
                to.push(log_.mixed(link, remainder), log_.weights ? log_.weights[from] : 1);
            }
            if (++from == log_.size) from = 0;
        }
    }

    Log log_;
    Weight capacity_ = 0;
    Weight weight_ = 0;
    std::size_t keys_ = 0;
    bool weighed_ = false;
};

}  // namespace drey
