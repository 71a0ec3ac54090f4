#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "drey/types.hpp"

namespace drey {

/// Lets one thread at a time write a key, while other keys are written by others.
///
/// Who is writing what is noted in a list, and the list's lock is held only to look: a slow write
/// of one key delays no other key, which a lock shared by several keys would. Waiters are not
/// served in the order in which they came.
///
/// Invariants: the turns in a stripe's list have different keys; a turn is in the list for its
/// whole life, and its key outlives it.
template <class K, class Identity>
class KeyTurns {
    struct Stripe;

public:
    /// The calling thread's turn at the key, for the life of this object. Waits for others' to end.
    /// Throws std::logic_error if the thread has the key's turn already.
    class Turn {
    public:
        Turn(KeyTurns& turns, const K& key)
            : hash_(Identity::hash(key)), key_(key), stripe_(turns.stripe_of(hash_)) {
            std::unique_lock lock(stripe_.mutex);
            while (const Turn* other = stripe_.find(hash_, key)) {
                if (other->thread_ == thread_)
                    throw std::logic_error("drey: a writer wrote the very key that it is writing");
                stripe_.ended.wait(lock);
            }
            next_ = stripe_.first;
            stripe_.first = this;
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() {
            {
                const std::lock_guard lock(stripe_.mutex);
                Turn** link = &stripe_.first;
                while (*link != this) link = &(*link)->next_;
                *link = next_;
            }
            stripe_.ended.notify_all();
        }

    private:
        friend struct Stripe;

        const Hash hash_;
        const K& key_;
        Stripe& stripe_;
        const std::thread::id thread_ = std::this_thread::get_id();
        Turn* next_ = nullptr;
    };

private:
    struct Stripe {
        const Turn* find(Hash h, const K& key) const {
            for (const Turn* turn = first; turn != nullptr; turn = turn->next_)
                if (turn->hash_ == h && Identity::equal(turn->key_, key)) return turn;
            return nullptr;
        }

        std::mutex mutex;
        std::condition_variable ended;
        Turn* first = nullptr;
    };

    static constexpr std::size_t stripes = 16;

    Stripe& stripe_of(Hash h) noexcept { return stripes_[(h >> 40) % stripes]; }

    std::array<Stripe, stripes> stripes_;
};

}  // namespace drey
