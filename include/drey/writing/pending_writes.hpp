#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "drey/writing/forget.hpp"
#include "drey/writing/key_claims.hpp"
#include "drey/writing/key_identity.hpp"
#include "drey/writing/write_worker.hpp"

namespace drey {

/// Puts writes into a write-behind queue, and finds them there.
///
/// One thread at a time writes a key: it *claims* the key, decides what to write, queues that, does
/// the same to the cache, and gives the claim up. So queue and cache see the writes of a key in one
/// order, and what is decided rests on what is true until it is queued.
///
/// Nobody waits for others while holding a claim, since others may wait for that: a write from
/// within a write (by a listener of the cache, or a loader) that would have to wait throws
/// std::logic_error. So no circle of waiting threads is closed here.
///
/// Room: the entries and the claims that may yet need one are `max_queue` at most, but that a claim
/// of a key that is queued already is always granted; its entry may leave before it needs another.
///
/// Thread-safe, but for construction and destruction.
template <class C, class BatchWriter>
class PendingWrites {
    using K = typename C::key_type;
    using V = typename C::mapped_type;
    using Identity = detail::KeyIdentity<C>;
    using Worker = WriteWorker<C, BatchWriter>;
    using Queue = typename Worker::Queue;
    using Lock = typename Worker::Lock;
    using Claims = KeyClaims<K, Identity>;

public:
    using Options = typename Worker::Options;
    using Failure = typename Worker::Failure;
    using Link = typename Worker::Link;
    using Pending = typename Queue::Pending;

    /// Throws std::invalid_argument that names the field if an option is wrong.
    PendingWrites(C& cache, BatchWriter writer, Options options)
        : cache_(cache), worker_(cache, std::move(writer), std::move(options)) {}
    PendingWrites(const PendingWrites&) = delete;
    PendingWrites& operator=(const PendingWrites&) = delete;

    Worker& worker() noexcept { return worker_; }
    const Worker& worker() const noexcept { return worker_; }

    /// Queues the write, then has `store` do the same to the cache. False if there was no room and
    /// nothing was said of what to do then.
    template <class Store>
    bool put(const Pending& write, std::optional<WhenFull> when_full, Store&& store) {
        Turn turn(*this, write->key);
        auto fresh = Queue::prepare(turn.claim.hash(), write);
        Lock lock = worker_.lock();
        if (!turn.begin(lock, when_full)) return false;
        carry_out(lock, turn, fresh, write, store);
        return true;
    }

    /// Queues what `decide(queued)` returns, given what is queued for the key, if anything is; then
    /// has `store` do the same to the cache. Does nothing if it returns null.
    template <class Decide, class Store>
    void change(const K& key, Decide&& decide, Store&& store) {
        Turn turn(*this, key);
        Pending queued;
        {
            Lock lock = worker_.lock();
            turn.begin(lock, worker_.options().when_full);
            turn.is_undecided = true;
            ++undecided_;
            queued = latest(turn.claim.hash(), key);
        }
        const Pending write = decide(std::as_const(queued));
        if (!write) return;
        auto fresh = Queue::prepare(turn.claim.hash(), write);
        Lock lock = worker_.lock();
        carry_out(lock, turn, fresh, write, store);
    }

    /// What is queued for the key. The lock is held for a look-up, and not taken while nothing is
    /// queued: who must find a value has seen its put store it in the cache, which came later.
    Pending look(const K& key) const {
        if (!worker_.may_have_any()) return nullptr;
        const Hash h = Identity::hash(key);
        const Lock lock = worker_.lock();
        return latest(h, key);
    }

    /// The same for who may outlive this object.
    static Pending look(const Link& link, const K& key) {
        const Hash h = Identity::hash(key);
        const Lock lock(link->mutex);
        return link->owner != nullptr ? latest(*link->owner, h, key) : nullptr;
    }

    /// See WriteBehind.
    std::vector<Failure> flush(Resting resting) {
        Lock lock = worker_.lock();
        refuse_wait();
        return worker_.flush(lock, resting);
    }

private:
    /// The calling thread's turn at a key, until the end of the scope.
    struct Turn {
        Turn(PendingWrites& p, const K& key) : writes(p), claim(key) {}
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() {
            if (!has_begun) return;
            const Lock lock = writes.worker_.lock();
            end();
        }

        /// False if there is no room and nothing was said of what to do then.
        bool begin(Lock& lock, std::optional<WhenFull> when_full) {
            has_begun = writes.admit(lock, claim, when_full);
            return has_begun;
        }

        void decided() noexcept {
            if (std::exchange(is_undecided, false)) --writes.undecided_;
        }

        void end() noexcept {
            decided();
            writes.claims_.remove(claim);
            has_begun = false;
            writes.worker_.sleepers().wake();
        }

        PendingWrites& writes;
        typename Claims::Claim claim;
        bool has_begun = false;
        bool is_undecided = false;
    };

    bool admit(Lock& lock, typename Claims::Claim& claim, std::optional<WhenFull> when_full) {
        for (;;) {
            worker_.prepare();
            if (const auto* other = claims_.find(claim)) {
                if (other->is_mine())
                    throw std::logic_error("drey: a write of a key, within a write of that key");
                refuse_wait();
                worker_.sleepers().sleep(lock);
                continue;
            }
            const Queue& queue = worker_.queue();
            if (queue.size() + undecided_ < worker_.options().max_queue ||
                queue.find(claim.hash(), claim.key()) != nullptr)
                break;
            if (!when_full) return false;
            if (*when_full == WhenFull::throws) throw WriteQueueFull();
            if (worker_.write_some(lock)) continue;
            refuse_wait();
            worker_.await_batch(lock);
        }
        claims_.add(claim);
        return true;
    }

    template <class Store>
    void carry_out(Lock& lock, Turn& turn, typename Queue::Entries& fresh, const Pending& write,
                   Store& store) {
        Queue& queue = worker_.queue();
        Pending replaced;  // to be destroyed without the lock
        auto* entry = queue.find(turn.claim.hash(), write->key);
        if (entry == nullptr) {
            entry = &queue.add(fresh, worker_.options().clock.now());
            worker_.note_size();
        } else {
            replaced = queue.replace(*entry, write);
        }
        turn.decided();
        lock.unlock();
        std::exception_ptr error;
        try {
            store();
        } catch (...) {
            error = std::current_exception();
            detail::forget(cache_, write->key);  // it may have kept an older value
        }
        lock.lock();
        const bool is_news = queue.unpin(*entry);
        turn.end();
        if (is_news) worker_.tell_watcher(lock);
        lock.unlock();
        if (error) std::rethrow_exception(error);
    }

    /// Who writes a key must not wait for others, who may wait for that.
    void refuse_wait() const {
        if (claims_.has_mine())
            throw std::logic_error("drey: from within a write, a wait for other writes");
    }

    Pending latest(Hash h, const K& key) const { return latest(worker_, h, key); }
    static Pending latest(const Worker& worker, Hash h, const K& key) {
        const auto* entry = worker.queue().find(h, key);
        return entry != nullptr ? Queue::latest(*entry) : nullptr;
    }

    C& cache_;

    // Guarded by the worker's lock.
    Claims claims_;
    std::size_t undecided_ = 0;  // claims that may yet need room

    Worker worker_;  // last, since its destructor calls user code that looks here
};

}  // namespace drey
