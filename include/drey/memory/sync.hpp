#pragma once

#include <atomic>
#include <cstddef>

#include "drey/memory/hazards.hpp"
#include "drey/memory/spin_mutex.hpp"

/// The two ways to share a store: among threads, or not at all. A store is written once, against
/// the members that these have in common.
namespace drey {

/// For any number of threads.
struct Shared {
    static constexpr bool is_shared = true;

    using Mutex = SpinMutex;

    class Readers {
    public:
        explicit Readers(HazardDomain& domain = HazardDomain::process()) noexcept
            : domain_(&domain), quick_(&domain) {}
        Readers(const Readers& other) noexcept : Readers(*other.domain_) {}
        Readers& operator=(const Readers&) = delete;

        struct Guard : HazardDomain::Guard {
            explicit Guard(Readers& readers) : HazardDomain::Guard(*readers.domain_) {}
        };
        using Hand = HazardDomain::Hand;
        struct QuickGuard : HazardDomain::QuickGuard {
            explicit QuickGuard(Readers& readers) noexcept
                : HazardDomain::QuickGuard(readers.quick_.load(std::memory_order_relaxed)) {}
        };
        /// After a thread's first guard, which this is if there was none, its guards may be quick.
        void know_thread() { const Guard first(*this); }

        using Moment = HazardDomain::Moment;
        Moment now() noexcept { return domain_->now(); }
        bool fenced_since(Moment moment) const noexcept { return domain_->fenced_since(moment); }

        using Held = HazardDomain::Held;
        Held held() noexcept { return Held(*domain_); }
        Held held_without_fence() noexcept { return Held::without_fence(*domain_); }
        bool held_by_me(const void* address) { return domain_->held_by_me(address); }

        /// From now on no new guard is quick: there is more to look at than quick calls do. Relaxed
        /// will do: who does not know yet began before what is to be looked at is published, and
        /// may answer as of then.
        void take_care() noexcept { quick_.store(this, std::memory_order_relaxed); }

        void await_writers() noexcept { domain_->await_writers(); }

    private:
        HazardDomain* domain_;
        std::atomic<const void*> quick_;  // the domain, or what is none
    };
};

/// For one thread at a time: no lock, no fence. Calls may still nest, since visitors, listeners
/// and copy constructors may use the cache, so the guards in being form a list, innermost first.
struct Unshared {
    static constexpr bool is_shared = false;

    struct Mutex {
        void lock() noexcept {}
        void unlock() noexcept {}
        bool try_lock() noexcept { return true; }
    };

    class Readers {
    public:
        class Guard {
        public:
            explicit Guard(Readers& readers) noexcept
                : readers_(readers), outer_(readers.innermost_) {
                readers_.innermost_ = this;
            }
            Guard(const Guard&) = delete;
            Guard& operator=(const Guard&) = delete;
            ~Guard() { readers_.innermost_ = outer_; }
            void protect(const void* address) noexcept { address_ = address; }
            std::size_t lane() const noexcept { return 0; }

        private:
            friend class Readers;
            Readers& readers_;
            const Guard* outer_;
            const void* address_ = nullptr;
        };
        class Hand {
        public:
            explicit Hand(Guard& guard) noexcept : guard_(&guard) {}
            void protect(const void* address) const noexcept { guard_->protect(address); }

        private:
            Guard* guard_;
        };
        struct QuickGuard : Guard {
            Hand hand() noexcept { return Hand(*this); }
            explicit QuickGuard(Readers& readers) noexcept
                : Guard(readers), quick_(!readers.careful_) {}
            explicit operator bool() const noexcept { return quick_; }
            void protect_to_write(const void* address) noexcept { protect(address); }

        private:
            const bool quick_;
        };
        void know_thread() const noexcept {}
        void take_care() noexcept { careful_ = true; }
        void await_writers() const noexcept {}

        struct Moment {};
        Moment now() const noexcept { return {}; }
        bool fenced_since(Moment) const noexcept { return true; }

        struct Held {
            bool is_empty() const noexcept { return readers.innermost_ == nullptr; }
            bool contains(const void* address) const noexcept {
                return readers.held_by_me(address);
            }
            const Readers& readers;
        };
        Held held() const noexcept { return {*this}; }
        Held held_without_fence() const noexcept { return {*this}; }
        bool held_by_me(const void* address) const noexcept {
            for (const Guard* guard = innermost_; guard != nullptr; guard = guard->outer_)
                if (guard->address_ == address) return true;
            return false;
        }

    private:
        const Guard* innermost_ = nullptr;
        bool careful_ = false;
    };
};

}  // namespace drey
