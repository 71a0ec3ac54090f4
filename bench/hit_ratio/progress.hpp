#pragma once

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>

namespace hit_ratio {

/// One line that is written over, and nothing unless stderr is a terminal.
class Progress {
public:
    explicit Progress(std::uint64_t steps) : steps_(steps) {}
    ~Progress() {
        if (on_) std::fputs("\r\033[K", stderr);
    }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void step(std::string_view doing) {
        if (!on_) return;
        const std::lock_guard lock(mutex_);
        ++done_;
        std::fprintf(stderr, "\r\033[K%llu of %llu: %.*s", static_cast<unsigned long long>(done_),
                     static_cast<unsigned long long>(steps_), static_cast<int>(doing.size()),
                     doing.data());
    }

    /// As a bar, at most ten times a second, of what takes longer than that. With an unknown number
    /// of steps, 0, what is done is told in `units` of a million.
    void advance(std::uint64_t steps, std::string_view doing, std::string_view units) {
        if (!on_) return;
        const std::lock_guard lock(mutex_);
        done_ += steps;
        const auto now = std::chrono::steady_clock::now();
        if (now < next_) return;
        next_ = now + std::chrono::milliseconds(100);
        std::fprintf(stderr, "\r\033[K%.*s ", static_cast<int>(doing.size()), doing.data());
        if (steps_ == 0) {
            std::fprintf(stderr, "%.1f million %.*s", static_cast<double>(done_) / 1e6,
                         static_cast<int>(units.size()), units.data());
            return;
        }
        const double share = static_cast<double>(done_) / static_cast<double>(steps_);
        constexpr std::size_t width = 40;
        const auto full = static_cast<std::size_t>(share < 1 ? share * width : width);
        const std::string bar = std::string(full, '#') + std::string(width - full, '.');
        std::fprintf(stderr, "[%s] %3.0f %%", bar.c_str(), 100 * (share < 1 ? share : 1));
    }

private:
    const bool on_ = isatty(STDERR_FILENO) != 0;
    const std::uint64_t steps_;
    std::uint64_t done_ = 0;
    std::chrono::steady_clock::time_point next_ =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    std::mutex mutex_;
};

}  // namespace hit_ratio
