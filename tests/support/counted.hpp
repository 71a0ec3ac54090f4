#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace support {

/// A value that counts its instances and knows whether it is whole: it says the same thing three
/// times, once on the heap, so that one that was destroyed, torn or mixed up gives itself away.
///
/// Each instance has a random identity, which enters one sum when it is made and another when it
/// is destroyed: the sums are equal only if every instance was destroyed exactly once. A count
/// alone would not tell one that was destroyed twice beside one that was forgotten.
class Counted {
public:
    Counted() : Counted(0) {}
    Counted(std::uint64_t number)  // NOLINT: a number is as good as a Counted
        : number_(number), text_(text_of(number)), check_(~number) {}
    Counted(const Counted& other)
        : number_(other.number_), text_(other.text_), check_(other.check_) {}
    Counted(Counted&& other) noexcept
        : number_(std::exchange(other.number_, moved_from)), text_(std::move(other.text_)),
          check_(other.check_) {}
    Counted& operator=(const Counted& other) {
        number_ = other.number_;
        text_ = other.text_;
        check_ = other.check_;
        return *this;
    }
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
        buried_.fetch_add(identity_, std::memory_order_relaxed);
    }

    std::uint64_t number() const { return number_; }
    bool whole() const { return check_ == ~number_ && text_ == text_of(number_); }
    bool operator==(const Counted& other) const { return number_ == other.number_; }

    static long alive() { return alive_.load(std::memory_order_relaxed); }

    /// Whether each instance that was ever made was destroyed, and none twice.
    static bool all_destroyed_once() {
        return alive() == 0 &&
               born_.load(std::memory_order_relaxed) == buried_.load(std::memory_order_relaxed);
    }

private:
    static constexpr std::uint64_t moved_from = 0xdeadbeefdeadbeef, destroyed = 0xdddddddddddddddd;

    static std::string text_of(std::uint64_t number) {
        return "a text too long for the small string optimisation: " + std::to_string(number);
    }

    static std::uint64_t register_new() {
        alive_.fetch_add(1, std::memory_order_relaxed);
        std::uint64_t x = made_.fetch_add(0x9e3779b97f4a7c15, std::memory_order_relaxed);
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
        x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
        x ^= x >> 31;
        born_.fetch_add(x, std::memory_order_relaxed);
        return x;
    }

    static inline std::atomic<long> alive_{0};
    static inline std::atomic<std::uint64_t> made_{1}, born_{0}, buried_{0};

    std::uint64_t number_;
    std::string text_;
    std::uint64_t check_;
    const std::uint64_t identity_ = register_new();
};

}  // namespace support
