#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <random>

#include "drey/hash.hpp"

namespace drey::redis {

/// Numbers of which no two are alike, in whatever process: in one object they are the outputs of a
/// permutation, and objects start at random places; so does each child that inherits one by fork.
/// Thread-safe.
class Stamps {
public:
    Stamps() {
        std::random_device device;
        first_ = std::uint64_t{device()} << 32 | device();
    }

    std::uint64_t next() noexcept {
        const auto process = static_cast<std::uint64_t>(::getpid());
        const std::uint64_t first = detail::scrambled(first_ ^ process);
        return detail::scrambled(first + count_.fetch_add(1, std::memory_order_relaxed));
    }

private:
    std::uint64_t first_ = 0;
    std::atomic<std::uint64_t> count_{0};
};

}  // namespace drey::redis
