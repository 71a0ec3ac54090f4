#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

/// How the cache_aside example measures and shows what it found.
namespace example {

/// Durations in buckets that grow with them: an eighth of a power of two each, so that a quantile
/// is right to about 6 %. For one thread; add up those of several.
class LatencyHistogram {
public:
    void record(std::chrono::nanoseconds duration) noexcept {
        ++buckets_[bucket_of(
            static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0)))];
        ++count_;
    }

    LatencyHistogram& operator+=(const LatencyHistogram& other) noexcept {
        for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
        count_ += other.count_;
        return *this;
    }

    /// The duration that the share `q` in [0, 1] of all recorded ones did not exceed.
    std::chrono::nanoseconds quantile(double q) const noexcept {
        const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(count_));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            seen += buckets_[i];
            if (seen > rank || (seen == count_ && seen > 0))
                return std::chrono::nanoseconds{static_cast<std::int64_t>(middle_of(i))};
        }
        return {};
    }

    std::uint64_t count() const noexcept { return count_; }

private:
    static constexpr unsigned sub_bits = 3;

    // Below 8 a bucket a nanosecond; above, the exponent and the three bits behind the leading one.
    static std::size_t bucket_of(std::uint64_t ns) noexcept {
        if (ns < 1u << sub_bits) return static_cast<std::size_t>(ns);
        const auto exponent = static_cast<unsigned>(std::bit_width(ns)) - 1 - sub_bits;
        return ((std::size_t{exponent} + 1) << sub_bits) +
               static_cast<std::size_t>((ns >> exponent) - (1u << sub_bits));
    }

    static std::uint64_t middle_of(std::size_t bucket) noexcept {
        if (bucket < 1u << sub_bits) return bucket;
        const std::size_t exponent = (bucket >> sub_bits) - 1;
        const std::uint64_t low = ((bucket & ((1u << sub_bits) - 1)) + (1u << sub_bits))
                                  << exponent;
        return low + (std::uint64_t{1} << exponent) / 2;
    }

    std::array<std::uint64_t, (64 - sub_bits + 1) << sub_bits> buckets_{};
    std::uint64_t count_ = 0;
};

/// Says on stderr how far a long step has come: a line that is written over on a terminal, one
/// plain line a step elsewhere.
class Progress {
public:
    Progress(std::string step, std::uint64_t total)
        : step_(std::move(step)), total_(std::max<std::uint64_t>(total, 1)) {
        if (!terminal_) std::fprintf(stderr, "%s\n", step_.c_str());
    }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() {
        if (terminal_) std::fputs("\r\033[K", stderr);
    }

    void at(std::uint64_t done) {
        const auto percent = static_cast<int>(std::min(done, total_) * 100 / total_);
        if (!terminal_ || percent == shown_) return;
        shown_ = percent;
        std::fprintf(stderr, "\r\033[K%s %3d %%", step_.c_str(), percent);
        std::fflush(stderr);
    }

private:
    const bool terminal_ = isatty(STDERR_FILENO) == 1;
    const std::string step_;
    const std::uint64_t total_;
    int shown_ = -1;
};

/// printf into a string.
template <class... Args>
std::string formatted(const char* format, Args... args) {
    std::array<char, 128> text{};
    std::snprintf(text.data(), text.size(), format, args...);
    return text.data();
}

/// 1234567 as 1,234,567.
inline std::string grouped(std::uint64_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, 1, ',');
    return digits;
}

/// Three digits and a unit.
inline std::string pretty(std::chrono::nanoseconds duration) {
    auto amount = static_cast<double>(duration.count());
    const char* unit = "ns";
    for (const char* larger : {"us", "ms", "s"}) {
        if (amount < 999.5) break;
        amount /= 1000;
        unit = larger;
    }
    return formatted("%.*f %s", amount < 10 && *unit != 'n' ? 1 : 0, amount, unit);
}

/// Right-aligned columns, the first one left-aligned, under a head.
class Table {
public:
    explicit Table(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

    void print() const {
        std::vector<std::size_t> widths(rows_[0].size());
        for (const auto& row : rows_)
            for (std::size_t c = 0; c < row.size(); ++c)
                widths[c] = std::max(widths[c], row[c].size());
        std::size_t line = 0;
        for (const std::size_t width : widths) line += width + 2;
        for (const auto& row : rows_) {
            for (std::size_t c = 0; c < row.size(); ++c) {
                const int width = static_cast<int>(widths[c]);
                std::printf("  %*s", c == 0 ? -width : width, row[c].c_str());
            }
            std::puts("");
            if (&row == &rows_[0]) std::printf("  %s\n", std::string(line - 2, '-').c_str());
        }
    }

private:
    std::vector<std::vector<std::string>> rows_;
};

/// Horizontal bars, the longest one `width` characters.
class BarChart {
public:
    void add(std::string name, double value, std::string label) {
        bars_.push_back({std::move(name), value, std::move(label)});
    }

    void print(std::size_t width = 56) const {
        std::size_t name_width = 0;
        double most = 0;
        for (const Bar& bar : bars_) {
            name_width = std::max(name_width, bar.name.size());
            most = std::max(most, bar.value);
        }
        for (const Bar& bar : bars_) {
            const double share = most > 0 ? bar.value / most : 0;
            const auto length = static_cast<std::size_t>(share * static_cast<double>(width) + 0.5);
            std::printf("  %-*s |%s %s\n", static_cast<int>(name_width), bar.name.c_str(),
                        std::string(length, '#').c_str(), bar.label.c_str());
        }
    }

private:
    struct Bar {
        std::string name;
        double value;
        std::string label;
    };
    std::vector<Bar> bars_;
};

}  // namespace example
