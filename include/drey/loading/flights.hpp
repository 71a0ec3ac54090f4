#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/hash.hpp"
#include "drey/loading/flight.hpp"
#include "drey/loading/wait_graph.hpp"
#include "drey/lookup.hpp"
#include "drey/types.hpp"

namespace drey {

/// The loads in flight of one cache, by key: who misses a key that is being loaded joins that
/// flight. One whose ticket is doomed takes no more passengers: who asks after an invalidation gets
/// what was loaded after it.
///
/// Most readers of a stale value find that it is being replaced. They are told without a lock, by a
/// hint: a few words, each free or the mark of one stale value that a flight in the table will
/// replace. A mark has two words to choose from, and is not there if both are taken.
///
/// Invariants: a flight is in the table from before its loader runs until its result is known; at
/// most one flight of a key in the table is not doomed; only its leader ends a flight. Thread-safe.
template <class K, class V, class Backend>
class Flights {
public:
    using Flight = drey::Flight<K, V, Backend>;
    using Ptr = std::shared_ptr<Flight>;

    explicit Flights(Backend& backend) noexcept : backend_(backend) {}

    /// Tells one stale value of one key from all others.
    using Mark = std::uint64_t;
    static constexpr Mark no_mark = 0;
    static Mark mark_of(Hash h, const Reading& stale) noexcept {
        if (stale.state != Found::stale || stale.fresh_until == no_deadline) return no_mark;
        return detail::mix(h, static_cast<std::uint64_t>(stale.fresh_until)) | 1;
    }

    struct Boarding {
        Ptr flight;
        bool is_new = false;
        bool same_key = true;  // false: it may be this key's; wait for its end and ask again
        Stage stage = Stage::boarding;
        TagTime tag_time = 0;  // when it was boarded, unless it is new
    };

    /// Boards the key's flight; if there is none, the one that `make()` returns. Under the lock, in
    /// which `make` takes a shard's to have a ticket; never the other way round.
    template <class Make>
    Boarding board(const K& key, Hash h, Make&& make) {
        Stripe& stripe = stripe_of(h);
        const std::lock_guard lock(stripe.mutex);
        if (const auto found = find(stripe, key, h); found.flight) {
            found.flight->has_passengers = true;
            return found;
        }
        return {.flight = add(stripe, h, make), .is_new = true};
    }

    /// The flight that `make()` returns, unless the key has one. It will replace what has this
    /// mark.
    template <class Make>
    Ptr start(const K& key, Hash h, Make&& make, Mark mark = no_mark) {
        Stripe& stripe = stripe_of(h);
        const std::lock_guard lock(stripe.mutex);
        if (find(stripe, key, h).flight) return nullptr;
        Ptr flight = add(stripe, h, make);
        hint(*flight, mark);
        return flight;
    }

    /// Whether the key has a flight, which will replace what has this mark.
    bool contains(const K& key, Hash h, Mark mark = no_mark) {
        Stripe& stripe = stripe_of(h);
        const std::lock_guard lock(stripe.mutex);
        const Ptr flight = find(stripe, key, h).flight;
        if (flight) hint(*flight, mark);
        return flight != nullptr;
    }

    /// The same without the lock; false if it is not known. True of a value that was replaced
    /// meanwhile, too, as long as the flight takes: who asks has found it before.
    ///
    /// Relaxed: nothing is read on the strength of it. No hint outlasts its flight: it is written
    /// and cleared under the stripe's lock, by read-modify-writes, which see the last word.
    bool will_replace(Mark mark) const noexcept {
        if (mark == no_mark) return false;
        return hints_[first_word(mark)].load(std::memory_order_relaxed) == mark ||
               hints_[second_word(mark)].load(std::memory_order_relaxed) == mark;
    }

    /// Whether the key was invalidated since a call found it stale and boarded the flight.
    bool is_doomed(const Flight& flight) {
        const std::lock_guard lock(stripe_of(flight.hash).mutex);
        return flight.was_doomed || (flight.ticket && flight.ticket->doomed());
    }

    /// Waits for a flight that is led to end, by `clock` no longer than until `deadline`; whether
    /// it did. Throws ReentrantLoad if it waits for the caller.
    bool await(Flight& flight, const ClockRef& clock, Deadline deadline) {
        const WaitGraph::Edge edge(flight.leader(), flight.ended);
        std::unique_lock lock(stripe_of(flight.hash).mutex);
        while (!flight.ended.load(std::memory_order_acquire)) {
            if (deadline == no_deadline) {
                flight.landing.wait(lock);
                continue;
            }
            const std::int64_t left = deadline - clock.now();
            if (left <= 0) return false;
            flight.landing.wait_for(lock, clock.nap(left));
        }
        return true;
    }

    /// Has the waiter told when the flight ends; false if it has.
    bool wait(Flight& flight, std::shared_ptr<Waiter> waiter) {
        const std::lock_guard lock(stripe_of(flight.hash).mutex);
        if (flight.ended.load(std::memory_order_relaxed)) return false;
        flight.waiters.push_back(std::move(waiter));
        return true;
    }

    /// The loader is about to run; `is_gone`: what calls may have found stale before is not there.
    void take_off(Flight& flight, bool is_gone) {
        const std::lock_guard lock(stripe_of(flight.hash).mutex);
        flight.stage = Stage::loading;
        flight.was_doomed = is_gone;
    }

    void enter(Flight& flight, Stage stage) {
        const std::lock_guard lock(stripe_of(flight.hash).mutex);
        flight.stage = stage;
    }

    /// A key to store what was loaded under: a copy, or the flight's own, by which nobody can find
    /// it then.
    K key_to_keep(Flight& flight) {
        if constexpr (std::is_copy_constructible_v<K>) {
            return K(std::as_const(flight.key));
        } else {
            const std::lock_guard lock(stripe_of(flight.hash).mutex);
            flight.has_key = false;
            return K(std::move(flight.key));
        }
    }

    /// Ends the flight, and tells who waits; whether it had passengers.
    bool land(Flight& flight) {
        Stripe& stripe = stripe_of(flight.hash);
        std::vector<std::shared_ptr<Waiter>> waiters;
        bool has_passengers = false;
        Ptr kept;  // so that the caller's reference is good to the end
        {
            const std::lock_guard lock(stripe.mutex);
            has_passengers = flight.has_passengers;
            flight.was_doomed |= flight.ticket->doomed();
            flight.ticket.reset();
            const auto [first, last] = stripe.flights.equal_range(flight.hash);
            for (auto at = first; at != last; ++at)
                if (at->second.get() == &flight) {
                    kept = std::move(at->second);
                    stripe.flights.erase(at);
                    break;
                }
            hint(flight, no_mark);
            flight.ended.store(true, std::memory_order_release);
            waiters.swap(flight.waiters);
        }
        flight.landing.notify_all();
        for (const auto& waiter : waiters) waiter->landed();
        return has_passengers;
    }

    /// Claims all that nobody leads.
    std::vector<Ptr> claim_all() {
        std::vector<Ptr> claimed;
        for (Stripe& stripe : stripes_) {
            const std::lock_guard lock(stripe.mutex);
            for (const auto& [hash, flight] : stripe.flights)
                if (flight->claim()) claimed.push_back(flight);
        }
        return claimed;
    }

private:
    static constexpr std::size_t stripes = 8;
    static constexpr std::size_t words = 128;

    struct Stripe {
        std::mutex mutex;
        std::unordered_multimap<Hash, Ptr> flights;
    };

    static std::size_t first_word(Mark mark) noexcept { return (mark >> 1) % words; }
    static std::size_t second_word(Mark mark) noexcept { return (mark >> 32) % words; }

    /// Hints at this mark for the flight, and no longer at the one before. Under the stripe's lock.
    void hint(Flight& flight, Mark mark) noexcept {
        if (flight.hinted_at == mark) return;
        if (flight.hinted_at != no_mark &&
            !replace_word(first_word(flight.hinted_at), flight.hinted_at, no_mark))
            replace_word(second_word(flight.hinted_at), flight.hinted_at, no_mark);
        flight.hinted_at = no_mark;
        if (mark == no_mark) return;
        if (replace_word(first_word(mark), no_mark, mark) ||
            replace_word(second_word(mark), no_mark, mark))
            flight.hinted_at = mark;
    }
    bool replace_word(std::size_t word, Mark expected, Mark mark) noexcept {
        return hints_[word].compare_exchange_strong(expected, mark, std::memory_order_relaxed);
    }

    Stripe& stripe_of(Hash h) noexcept { return stripes_[(h >> 40) % stripes]; }

    /// A flight that was made must be in the table, or nobody would end it: so its place is made
    /// first.
    template <class Make>
    static Ptr add(Stripe& stripe, Hash h, Make& make) {
        const auto place = stripe.flights.emplace(h, nullptr);
        try {
            return place->second = make();
        } catch (...) {
            stripe.flights.erase(place);
            throw;
        }
    }

    Boarding find(Stripe& stripe, const K& key, Hash h) {
        const auto [first, last] = stripe.flights.equal_range(h);
        for (auto at = first; at != last; ++at) {
            Flight& flight = *at->second;
            if (flight.ticket->doomed()) continue;
            if (flight.has_key && !backend_.equal(flight.key, key)) continue;
            return {.flight = at->second,
                    .same_key = flight.has_key,
                    .stage = flight.stage,
                    .tag_time = tag_time_of(backend_)};
        }
        return {};
    }

    Backend& backend_;
    std::array<Stripe, stripes> stripes_;
    std::array<std::atomic<Mark>, words> hints_{};
};

}  // namespace drey
