#pragma once

#include <cstddef>
#include <memory>

namespace drey::detail {

/// An array whose length is fixed when it is made and whose elements need not be movable.
template <class T>
class FixedArray {
public:
    /// Makes `length` elements, each from what `make(i)` returns.
    template <class Make>
    FixedArray(std::size_t length, Make&& make)
        : items_(std::allocator<T>{}.allocate(length)), length_(length) {
        std::size_t made = 0;
        try {
            for (; made < length; ++made) ::new (static_cast<void*>(items_ + made)) T(make(made));
        } catch (...) {
            destroy(made);
            throw;
        }
    }
    FixedArray(const FixedArray&) = delete;
    FixedArray& operator=(const FixedArray&) = delete;
    ~FixedArray() { destroy(length_); }

    std::size_t size() const noexcept { return length_; }
    T& operator[](std::size_t i) noexcept { return items_[i]; }
    const T& operator[](std::size_t i) const noexcept { return items_[i]; }
    T* begin() noexcept { return items_; }
    T* end() noexcept { return items_ + length_; }
    const T* begin() const noexcept { return items_; }
    const T* end() const noexcept { return items_ + length_; }

private:
    void destroy(std::size_t made) noexcept {
        std::destroy_n(items_, made);
        std::allocator<T>{}.deallocate(items_, length_);
    }

    T* items_;
    std::size_t length_;
};

}  // namespace drey::detail
