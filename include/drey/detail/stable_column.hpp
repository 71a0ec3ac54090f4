#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "drey/types.hpp"

namespace drey::detail {

/// A growing array of raw storage, indexed by slot, whose elements never move: readers without a
/// lock may hold on to them while a writer grows it.
///
/// Chunk i holds 64 * 2^i elements, so the table of chunks has a fixed size and finding an element
/// takes a bit scan and no loop. Memory is touched only where elements are constructed, so a large
/// last chunk costs address space, not pages. The owner constructs with `emplace` before the first
/// access, and destroys what is not trivially destructible.
///
/// Thread safety: one thread at a time may grow. A reader may access slot s beside that once it
/// has read, with acquire, a value that was stored with release after `grow(n)`, s < n.
template <class T>
class StableColumn {
    static constexpr unsigned first_bits = 6;
    static constexpr std::size_t first_chunk = std::size_t{1} << first_bits;

public:
    /// Makes storage for every slot below `n`. Throws std::bad_alloc and is then still valid.
    void grow(std::size_t n) {
        while (size_ < n) {
            const auto chunk =
                static_cast<std::size_t>(std::bit_width(size_ + first_chunk)) - 1 - first_bits;
            const std::size_t length = first_chunk << chunk;
            chunks_[chunk].reset(static_cast<T*>(::operator new(length * sizeof(T), alignment)));
            size_ += length;
        }
    }

    /// The number of slots that have storage: at least the largest `n` asked for.
    std::size_t size() const noexcept { return size_; }

    T* address(Slot s) const noexcept {
        const std::uint64_t place = std::uint64_t{s} + first_chunk;
        const auto chunk =
            static_cast<std::size_t>(std::countl_zero(place) ^ 63);  // its highest bit
        return chunks_[chunk - first_bits].get() + (place ^ (std::size_t{1} << chunk));
    }

    T& operator[](Slot s) noexcept { return *address(s); }
    const T& operator[](Slot s) const noexcept { return *address(s); }

    /// Starts the lifetime of slot s's element, over whatever trivially destructible one was there.
    template <class... Args>
    T& emplace(Slot s, Args&&... args) noexcept(std::is_nothrow_constructible_v<T, Args...>) {
        return *std::construct_at(address(s), std::forward<Args>(args)...);
    }

private:
    static constexpr std::align_val_t alignment{
        alignof(T) > alignof(std::max_align_t) ? alignof(T) : alignof(std::max_align_t)};
    struct Free {
        void operator()(T* chunk) const noexcept { ::operator delete(chunk, alignment); }
    };

    std::array<std::unique_ptr<T, Free>, 33 - first_bits> chunks_;
    std::size_t size_ = 0;
};

}  // namespace drey::detail
