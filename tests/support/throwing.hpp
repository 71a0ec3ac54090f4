#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace support {

/// What a Fragile, or a test's own function, may refuse to do.
enum class Deed { construct, copy, move, hash, equal, call };
inline constexpr std::array all_deeds{Deed::construct, Deed::copy,  Deed::move,
                                      Deed::hash,      Deed::equal, Deed::call};

struct Refused {
    Deed deed;
};

/// While it lives, the calling thread's deed number `n` of a kind, counted from 0, throws Refused.
class Refuse {
public:
    Refuse(Deed deed, std::size_t n) : deed_(deed), left_(n) { current_ = this; }
    Refuse(const Refuse&) = delete;
    Refuse& operator=(const Refuse&) = delete;
    ~Refuse() { current_ = nullptr; }

    /// Whether there were that many.
    bool happened() const { return happened_; }

    static void may_throw(Deed deed) {
        if (current_ == nullptr || current_->deed_ != deed || current_->happened_) return;
        if (current_->left_-- != 0) return;
        current_->happened_ = true;
        throw Refused{deed};
    }

private:
    static inline thread_local Refuse* current_ = nullptr;

    Deed deed_;
    std::size_t left_;
    bool happened_ = false;
};

/// A key or value of which everything but the destructor can throw. Owns memory, counts instances.
template <bool copies = true>
class Fragile {
public:
    Fragile(std::uint64_t number)
        : number_((Refuse::may_throw(Deed::construct),
                   std::make_unique<std::uint64_t>(number))) {  // NOLINT
        ++alive_;
    }
    Fragile(const Fragile& other) requires copies
        : number_((Refuse::may_throw(Deed::copy),
                   std::make_unique<std::uint64_t>(other.number()))) {
        ++alive_;
    }
    Fragile(Fragile&& other) noexcept(false)
        : number_((Refuse::may_throw(Deed::move), std::move(other.number_))) {
        ++alive_;
    }
    Fragile& operator=(const Fragile& other) requires copies {
        Refuse::may_throw(Deed::copy);
        number_ = std::make_unique<std::uint64_t>(other.number());
        return *this;
    }
    Fragile& operator=(Fragile&& other) noexcept(false) {
        Refuse::may_throw(Deed::move);
        number_ = std::move(other.number_);
        return *this;
    }
    ~Fragile() { --alive_; }

    std::uint64_t number() const { return *number_; }

    friend bool operator==(const Fragile& a, const Fragile& b) {
        Refuse::may_throw(Deed::equal);
        return a.number() == b.number();
    }

    static long alive() { return alive_; }

private:
    static inline std::atomic<long> alive_{0};

    std::unique_ptr<std::uint64_t> number_;
};

}  // namespace support

template <bool copies>
struct std::hash<support::Fragile<copies>> {
    std::size_t operator()(const support::Fragile<copies>& key) const {
        support::Refuse::may_throw(support::Deed::hash);
        return key.number();
    }
};
