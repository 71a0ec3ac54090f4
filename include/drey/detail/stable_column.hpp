#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "drey/detail/huge_pages.hpp"
#include "drey/types.hpp"

namespace drey::detail {

/// A growing array of raw storage, indexed by slot, whose elements never move: readers without a
/// lock may hold on to them while a writer grows it.
///
/// The first chunk is as long as was first asked for, and usually the only one: then an element is
/// found by one comparison and one addition. Each chunk after it is as long as all before, so the
/// table of chunks has a fixed size. Memory is touched only where elements are constructed, so a
/// large chunk costs address space, not pages (huge ones, where there are any). The owner
/// constructs with `emplace` before the first access, and destroys what is not trivially
/// destructible.
///
/// Thread safety: one thread at a time may grow. A reader may access slot s beside that once it
/// has read, with acquire, a value that was stored with release after `grow(n)`, s < n.
template <class T>
class StableColumn {
public:
    /// Makes storage for every slot below `n`. Throws std::bad_alloc and is then still valid.
    void grow(std::size_t n) {
        if (size_ == 0 && n > 0) {
            chunks_[0] = allocate(n);
            first_ = chunks_[0].get();
            first_size_ = size_ = n;
        }
        for (; size_ < n; size_ *= 2) chunks_[chunk_of(size_)] = allocate(size_);
    }

    /// The number of slots that have storage: at least the largest `n` asked for.
    std::size_t size() const noexcept { return size_; }

    [[gnu::always_inline]] T* address(Slot s) const noexcept {
        return s < first_size_ ? first_ + s : later_address(s);
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
    using Chunk = std::unique_ptr<T, Free>;

    static Chunk allocate(std::size_t length) {
        Chunk chunk(static_cast<T*>(::operator new(length * sizeof(T), alignment)));
        advise_huge_pages(chunk.get(), length * sizeof(T));
        return chunk;
    }

    /// Chunk i > 0 holds the slots from first_size_ * 2^(i-1) on.
    std::size_t chunk_of(std::size_t s) const noexcept {
        return static_cast<std::size_t>(std::bit_width(s / first_size_));
    }
    [[gnu::noinline]] T* later_address(Slot s) const noexcept {
        const std::size_t chunk = chunk_of(s);
        return chunks_[chunk].get() + (s - (first_size_ << (chunk - 1)));
    }

    T* first_ = nullptr;  // chunk 0, at hand
    std::size_t first_size_ = 0;
    std::size_t size_ = 0;
    std::array<Chunk, 33> chunks_;
};

}  // namespace drey::detail
