#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stdexcept>

#include "drey/types.hpp"
#include "drey/writing/key_claims.hpp"

namespace drey {

/// Lets one thread at a time write a key, while other keys are written by others.
///
/// Who is writing what is noted in a list, and the list's lock is held only to look: a slow write
/// of one key delays no other key, which a lock shared by several keys would. Waiters are not
/// served in the order in which they came.
template <class K, class Identity>
class KeyTurns {
    using Claims = KeyClaims<K, Identity>;
    struct Stripe;

public:
    /// The calling thread's turn at the key, for the life of this object. Waits for others' to end.
    /// Throws std::logic_error if the thread has the key's turn already.
    class Turn {
    public:
        Turn(KeyTurns& turns, const K& key) : claim_(key), stripe_(turns.stripe_of(claim_.hash())) {
            std::unique_lock lock(stripe_.mutex);
            while (const auto* other = stripe_.claims.find(claim_)) {
                if (other->is_mine())
                    throw std::logic_error("drey: a writer wrote the very key that it is writing");
                stripe_.ended.wait(lock);
            }
            stripe_.claims.add(claim_);
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() {
            {
                const std::lock_guard lock(stripe_.mutex);
                stripe_.claims.remove(claim_);
            }
            stripe_.ended.notify_all();
        }

    private:
        typename Claims::Claim claim_;
        Stripe& stripe_;
    };

private:
    struct Stripe {
        std::mutex mutex;
        std::condition_variable ended;
        Claims claims;
    };

    static constexpr std::size_t stripes = 16;

    Stripe& stripe_of(Hash h) noexcept { return stripes_[(h >> 40) % stripes]; }

    std::array<Stripe, stripes> stripes_;
};

}  // namespace drey
