#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace support {

/// A value that counts its instances and knows whether it is whole: it says the same thing three
/// times, once on the heap, so that one that was destroyed, torn or mixed up gives itself away.
class Counted {
public:
    Counted() : Counted(0) {}
    Counted(std::uint64_t number)  // NOLINT: a number is as good as a Counted
        : number_(number), text_(text_of(number)), check_(~number) {
        alive_.fetch_add(1, std::memory_order_relaxed);
    }
    Counted(const Counted& other)
        : number_(other.number_), text_(other.text_), check_(other.check_) {
        alive_.fetch_add(1, std::memory_order_relaxed);
    }
    Counted(Counted&& other) noexcept
        : number_(std::exchange(other.number_, moved_from)), text_(std::move(other.text_)),
          check_(other.check_) {
        alive_.fetch_add(1, std::memory_order_relaxed);
    }
    Counted& operator=(const Counted&) = default;
    Counted& operator=(Counted&& other) noexcept {
        number_ = std::exchange(other.number_, moved_from);
        text_ = std::move(other.text_);
        check_ = other.check_;
        return *this;
    }
    ~Counted() {
        number_ = destroyed;
        check_ = destroyed;
        alive_.fetch_sub(1, std::memory_order_relaxed);
    }

    std::uint64_t number() const { return number_; }
    bool whole() const { return check_ == ~number_ && text_ == text_of(number_); }
    bool operator==(const Counted& other) const { return number_ == other.number_; }

    static long alive() { return alive_.load(std::memory_order_relaxed); }

private:
    static constexpr std::uint64_t moved_from = 0xdeadbeefdeadbeef, destroyed = 0xdddddddddddddddd;

    static std::string text_of(std::uint64_t number) {
        return "a text too long for the small string optimisation: " + std::to_string(number);
    }

    static inline std::atomic<long> alive_{0};

    std::uint64_t number_;
    std::string text_;
    std::uint64_t check_;
};

}  // namespace support
