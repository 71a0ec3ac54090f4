#pragma once

#include <thread>

#include "drey/types.hpp"

namespace drey {

/// Which keys are being written now, and by which threads. For the holder of its owner's lock;
/// nothing here allocates, and every look-up is linear in the threads that are writing.
///
/// Invariants: claims in the list have different keys; a claim is in the list or not for as long as
/// its owner says, and its key outlives it.
template <class K, class Identity>
class KeyClaims {
public:
    /// The calling thread's wish to write the key; a claim once it is added.
    class Claim {
    public:
        explicit Claim(const K& key) : hash_(Identity::hash(key)), key_(key) {}
        Claim(const Claim&) = delete;
        Claim& operator=(const Claim&) = delete;

        Hash hash() const noexcept { return hash_; }
        const K& key() const noexcept { return key_; }
        bool is_mine() const noexcept { return thread_ == std::this_thread::get_id(); }

    private:
        friend class KeyClaims;

        const Hash hash_;
        const K& key_;
        const std::thread::id thread_ = std::this_thread::get_id();
        Claim* next_ = nullptr;
    };

    /// Who else has claimed the key. Throws what the equality of keys throws.
    const Claim* find(const Claim& wish) const {
        for (const Claim* claim = first_; claim != nullptr; claim = claim->next_)
            if (claim->hash_ == wish.hash_ && Identity::equal(claim->key_, wish.key_)) return claim;
        return nullptr;
    }

    /// Whether the calling thread has claimed any key.
    bool has_mine() const noexcept {
        for (const Claim* claim = first_; claim != nullptr; claim = claim->next_)
            if (claim->is_mine()) return true;
        return false;
    }

    void add(Claim& claim) noexcept {
        claim.next_ = first_;
        first_ = &claim;
    }

    void remove(const Claim& claim) noexcept {
        Claim** link = &first_;
        while (*link != &claim) link = &(*link)->next_;
        *link = claim.next_;
    }

private:
    Claim* first_ = nullptr;
};

}  // namespace drey
