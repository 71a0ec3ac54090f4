#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "drey/hash.hpp"
#include "drey/types.hpp"

namespace drey {

/// The numbers a sketch leaves open.
struct SketchTuning {
    unsigned most_mean = 40;      ///< counts are halved when they come to this for each entry
    bool conservative = true;     ///< only the smallest of a key's counters grow
    unsigned bytes_an_entry = 8;  ///< a power of two, at most 64
};

/// How often keys were asked for of late, estimated in a fixed space: a count-min sketch (Cormode
/// and Muthukrishnan, "An improved data stream summary", J. Algorithms 2005) of four rows of 4-bit
/// counters that add conservatively (Estan and Varghese, "New directions in traffic measurement",
/// SIGCOMM 2002) and are halved as time goes by, as TinyLFU does (Einziger, Friedman, Manes, ACM
/// ToS 2017).
///
/// Where we differ:
///  - A key's four counters lie in one cache line, which the seed and the key's hash choose.
///  - All counters are halved at the same moment, as estimates must be comparable, but no call
///    takes long: lines are halved when they are next used, or when their turn comes before the
///    next halving.
///  - It grows with what it is for, and keeps its estimates: twice as many lines begin as two
///    copies of each. One that shrinks keeps those of some keys, and soon forgets them.
///
/// 8.1 bytes an entry unless told otherwise, 1 KiB at least. Every call but `resize` is O(1), and
/// reads one cache line.
///
/// Who does not know the seed cannot choose keys that share counters with a given one.
///
/// Invariant: a line whose epoch is not the sketch's is yet to be halved, once; those before next_
/// are not.
class Sketch {
    static constexpr unsigned rows = 4;
    static constexpr unsigned row_words = 2;  // of 16 counters
    static constexpr std::size_t least_lines = 16;
    static constexpr std::size_t no_line = ~std::size_t{0};

public:
    /// The largest estimate.
    static constexpr unsigned most = 15;

    explicit Sketch(SketchTuning tuning = {}) noexcept
        : line_entries_(sizeof(Line) / tuning.bytes_an_entry), most_mean_(tuning.most_mean),
          conservative_(tuning.conservative) {}

    /// Before the first key.
    void seed(std::uint64_t x) noexcept { seed_ = x; }

    /// The number of entries that the counters are enough for.
    std::size_t room() const noexcept { return lines_count_ * line_entries_; }
    std::size_t memory() const noexcept { return lines_count_ * (sizeof(Line) + 1); }

    /// Makes it one for this many entries, more or fewer. False, and nothing has changed, when
    /// memory is refused. Linear. Must have succeeded once before any other call.
    bool resize(std::size_t entries) noexcept {
        const std::size_t count =
            std::max((entries + line_entries_ - 1) / line_entries_, least_lines);
        if (count != lines_count_ && !replace(count)) return false;
        limit_ = static_cast<std::int64_t>(std::max(entries, line_entries_) * most_mean_);
        period_ = static_cast<std::size_t>(limit_) / (4 * count);
        return true;
    }

    /// At least how often `h` was added of late, as a rule, and at most 15.
    unsigned estimate(Hash h) const noexcept { return estimate_at(mix(h)); }

    /// The same, for one that is asked about again and again: the estimate stays what it is until
    /// `watches()` says otherwise. One at a time.
    unsigned watch(Hash h) noexcept {
        const std::uint64_t mixed = mix(h);
        watched_ = line_of(mixed);
        return estimate_at(mixed);
    }
    bool watches() const noexcept { return watched_ != no_line; }

    /// Adds `n`, which is at most 15, to what is counted for `h`.
    void add(Hash h, unsigned n = 1) noexcept {
        const std::uint64_t mixed = mix(h);
        const std::size_t i = line_of(mixed);
        if (i == watched_) watched_ = no_line;
        if (epochs_[i] != epoch_) halve(i);
        Line& line = lines_[i];
        std::array<std::uint64_t, rows> counts;
        std::uint64_t least = full;
        for (unsigned row = 0; row < rows; ++row) {
            counts[row] = Counter(mixed, row).raised(line) & full;
            least = std::min(least, counts[row]);
        }
        const std::uint64_t by = std::uint64_t{n} << top;
        const std::uint64_t goal = least + std::min(by, full - least);
        for (unsigned row = 0; row < rows; ++row) {
            const std::uint64_t count = counts[row];
            const std::uint64_t to = conservative_ ? goal : count + std::min(by, full - count);
            if (count < to) {
                const Counter at(mixed, row);
                line.words[at.word] += (to - count) >> at.above;
            }
        }
        count_ += static_cast<std::int64_t>((goal - least) >> top);
        if (count_ >= limit_) begin_epoch();
        added_ += n;
        if (added_ > period_) take_turn();
    }

    /// Begins to load what `estimate(h)` will read.
    void prefetch([[maybe_unused]] Hash h) const noexcept {
#ifdef __GNUC__
        __builtin_prefetch(&lines_[line_of(mix(h))]);
#endif
    }

private:
    struct alignas(64) Line {
        std::array<std::uint64_t, rows * row_words> words{};
    };
    static constexpr unsigned top = 60;  // where the highest of a word's counters begins
    static constexpr std::uint64_t full = std::uint64_t{most} << top;

    /// Where a row has its counter for a key: in which word, and how many bits of it are above.
    struct Counter {
        Counter(std::uint64_t mixed, unsigned row) noexcept {
            const auto bits = static_cast<unsigned>(mixed >> 8 * row);
            word = row * row_words + (bits & 1);
            above = (bits >> 1 & 15) * 4;
        }
        /// The counter at a word's top, and what is below it.
        std::uint64_t raised(const Line& line) const noexcept { return line.words[word] << above; }

        unsigned word;
        unsigned above;
    };

    unsigned estimate_at(std::uint64_t mixed) const noexcept {
        const std::size_t i = line_of(mixed);
        std::uint64_t least = full;
        for (unsigned row = 0; row < rows; ++row)
            least = std::min(least, Counter(mixed, row).raised(lines_[i]));
        const auto count = static_cast<unsigned>(least >> top);
        return epochs_[i] == epoch_ ? count : count / 2;
    }

    std::uint64_t mix(Hash h) const noexcept {
        return detail::folded_product(h ^ seed_, detail::pi_1);
    }
    /// The line comes from the upper half of the mixed hash, the counters in it from the lower.
    std::size_t line_of(std::uint64_t mixed) const noexcept {
        return static_cast<std::size_t>((mixed >> 32) * lines_count_ >> 32);
    }

    [[gnu::noinline]] void begin_epoch() noexcept {
        while (next_ < lines_count_) take_turn();  // none is left, unless counts were lost
        epoch_ ^= 1;
        watched_ = no_line;
        next_ = 0;
        count_ /= 2;
    }

    [[gnu::noinline]] void take_turn() noexcept {
        added_ = 0;
        if (next_ == lines_count_) return;
        if (epochs_[next_] != epoch_) halve(next_);
        ++next_;
    }

    [[gnu::noinline]] void halve(std::size_t i) noexcept {
        int odd = 0;
        for (std::uint64_t& word : lines_[i].words) {
            odd += std::popcount(word & 0x1111111111111111u);
            word = word >> 1 & 0x7777777777777777u;
        }
        count_ -= odd / 4;  // more than rounding loses, as in Caffeine: few counts wear off slowly
        epochs_[i] = epoch_;
    }

    /// Keys are spread over the lines in order of their hash, so that some come from one line, or
    /// one comes from some.
    bool replace(std::size_t count) noexcept {
        std::unique_ptr<Line[]> lines(new (std::nothrow) Line[count]());
        std::unique_ptr<std::uint8_t[]> epochs(new (std::nothrow) std::uint8_t[count]());
        if (!lines || !epochs) return false;
        for (std::size_t i = 0; i < lines_count_; ++i)
            if (epochs_[i] != epoch_) halve(i);
        if (lines_count_ > 0) {
            const double step = static_cast<double>(lines_count_) / static_cast<double>(count);
            for (std::size_t i = 0; i < count; ++i)
                lines[i] = lines_[static_cast<std::size_t>(static_cast<double>(i) * step)];
        }
        lines_ = std::move(lines);
        epochs_ = std::move(epochs);
        lines_count_ = count;
        watched_ = no_line;
        next_ = count;
        epoch_ = 0;
        return true;
    }

    std::unique_ptr<Line[]> lines_;
    std::unique_ptr<std::uint8_t[]> epochs_;
    std::size_t lines_count_ = 0;
    std::size_t watched_ = no_line;
    std::uint64_t seed_ = 0;
    std::int64_t count_ = 0;  // of all keys
    std::int64_t limit_ = 0;
    std::size_t added_ = 0;   // since the last line's turn
    std::size_t period_ = 0;  // additions from one turn to the next: all come before the next epoch
    std::size_t next_ = 0;    // whose turn is next
    std::uint8_t epoch_ = 0;
    std::size_t line_entries_;
    unsigned most_mean_;
    bool conservative_;
};

}  // namespace drey
