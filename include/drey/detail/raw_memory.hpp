#pragma once

#include <cstddef>
#include <new>

#include "drey/detail/huge_pages.hpp"

namespace drey::detail {

/// Memory for a large table, uninitialised. Throws std::bad_alloc.
///
/// What is to lie in huge pages is asked of the system and not of the allocator, which may hand out
/// again what has been in use, in small pages. It must not need more alignment than a page has.
class RawMemory {
public:
    RawMemory(std::size_t bytes, std::align_val_t alignment, bool in_huge_pages)
        : bytes_(bytes), alignment_(alignment),
          is_mapped_(in_huge_pages && bytes >= huge_page && can_map),
          begin_(is_mapped_ ? map(bytes) : ::operator new(bytes, alignment)) {}
    RawMemory(const RawMemory&) = delete;
    RawMemory& operator=(const RawMemory&) = delete;
    ~RawMemory() {
        if (is_mapped_) {
            unmap(begin_, bytes_);
        } else {
            ::operator delete(begin_, alignment_);
        }
    }

    std::byte* begin() const noexcept { return static_cast<std::byte*>(begin_); }

private:
    const std::size_t bytes_;
    const std::align_val_t alignment_;
    const bool is_mapped_;
    void* const begin_;
};

}  // namespace drey::detail
