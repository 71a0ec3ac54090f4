#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "drey/error.hpp"
#include "drey/loading/loader.hpp"
#include "drey/loading/wait_graph.hpp"
#include "drey/options.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

namespace drey {

/// One load per key at a time, however many threads miss it.
///
/// The first to miss a key leads its flight: it takes a ticket from the store, runs the loader
/// outside all locks, and fills the store unless the ticket was doomed by an invalidation. Those
/// who miss the key meanwhile wait for the flight and share what it brings, value or exception. A
/// flight whose ticket is doomed takes no more passengers: who asks after an invalidation gets what
/// was loaded after it.
///
/// Invariants: a flight is in the table from before its loader runs until its result is known, or
/// until it is doomed and another replaces it; at most one flight of a key in the table is not
/// doomed; only its leader ends a flight.
///
/// `Backend` gives
///  - Attempt(backend, key): one call's way through; its hash(),
///  - LoadTicket(backend, hash): the right to fill, which an invalidation dooms,
///  - prepare(ticket, key, attempt, use): a last look before the loader runs, and whatever the
///    backend needs of the others who may be loading the key; true if that found a value,
///  - fill(ticket, key, value, terms, attempt), or else give_up(ticket, attempt),
///  - equal(key, key),
/// and, if others than this process may invalidate keys,
///  - verdict(ticket): whether they left the key alone during the load, if that is known,
///  - can_look_again(attempt), look_again(attempt, use): for who cannot share a flight's value.
template <class K, class V, class Backend>
class SingleFlight {
    static constexpr bool shares_value = std::is_copy_constructible_v<V>;

    /// Whether others than this process may invalidate keys, which dooms no tickets here.
    static constexpr bool has_others = requires(Backend & b, typename Backend::LoadTicket& t) {
        b.verdict(t);
    };

    /// How far a flight is; what a passenger may make of it depends on when it boarded.
    enum class Stage {
        boarding,  // the loader has not begun: what it brings is newer than the question
        loading,   // it has: good for the passenger unless the fill finds the key overtaken
        landing    // the fill is on its way, and says nothing of what comes after it
    };

    struct Flight {
        Flight(Backend& backend, const K& k, Hash h)
            : hash(h), leader(std::this_thread::get_id()), key(&k),
              ticket(std::in_place, backend, h) {}

        const Hash hash;
        const std::thread::id leader;

        // Guarded by the stripe's lock while the flight is in its table.
        const K* key;  // the leader's; null once it had to be moved into the cache
        bool has_passengers = false;
        Stage stage = Stage::boarding;
        std::optional<typename Backend::LoadTicket> ticket;  // until the flight has ended

        // Written by the leader before `ended`, with release; read by others after, with acquire.
        std::optional<V> value;
        bool is_shared =
            shares_value;         // whether passengers may use `value`; if not, they ask again
        bool has_loaded = false;  // the value is the loader's, not what a last look found
        std::optional<bool> untouched;  // whether others left the key alone, if that is known
        std::exception_ptr error;
        std::atomic<bool> ended{false};
    };
    using FlightPtr = std::shared_ptr<Flight>;
    using Attempt = typename Backend::Attempt;

public:
    explicit SingleFlight(Backend& backend) noexcept : backend_(backend) {}

    /// Loads the key, or waits for the thread that is loading it, and calls `use(value)` with what
    /// came of it. False if the loader said that there is no such row. Throws what the loader
    /// threw, and ReentrantLoad where waiting would never end. A key that cannot be copied is moved
    /// from.
    template <class Loader, class Use>
    bool load(K& key, Attempt& attempt, Loader& loader, const Terms& terms, Use&& use) {
        for (;;) {
            const auto [flight, leads, same_key, stage] = board(key, attempt.hash());
            if (leads) return lead(*flight, key, attempt, loader, terms, use);
            await(*flight);
            if (!same_key) continue;
            if (flight->error) std::rethrow_exception(flight->error);
            if (!flight->is_shared) continue;
            if constexpr (has_others) {
                if (is_doubtful(*flight, stage) && backend_.can_look_again(attempt)) {
                    if (backend_.look_again(attempt, use)) return true;
                    continue;
                }
            }
            if (flight->value) use(std::as_const(*flight->value));
            return flight->value.has_value();
        }
    }

    void add_to(Stats& stats) const noexcept {
        stats.loads += loads_.load(std::memory_order_relaxed);
        stats.load_failures += failures_.load(std::memory_order_relaxed);
        stats.dropped_loads += dropped_.load(std::memory_order_relaxed);
        stats.load_time += std::chrono::nanoseconds(nanoseconds_.load(std::memory_order_relaxed));
    }

private:
    static constexpr std::size_t stripes = 8;

    struct Stripe {
        std::mutex mutex;
        std::unordered_multimap<Hash, FlightPtr> flights;
    };

    Stripe& stripe_of(Hash h) noexcept { return stripes_[(h >> 40) % stripes]; }

    struct Boarding {
        FlightPtr flight;
        bool leads;
        bool same_key;  // false: a flight that may be this key's; wait for its end and ask again
        Stage stage = Stage::boarding;
    };

    /// The key's flight: another thread's, or a new one that the caller leads.
    Boarding board(const K& key, Hash h) {
        Stripe& stripe = stripe_of(h);
        {
            const std::lock_guard lock(stripe.mutex);
            if (auto boarding = join(stripe, key, h); boarding.flight) return boarding;
        }
        // Made outside the lock, since taking a ticket locks a shard.
        auto mine = std::make_shared<Flight>(backend_, key, h);
        const std::lock_guard lock(stripe.mutex);
        if (auto boarding = join(stripe, key, h); boarding.flight) return boarding;
        stripe.flights.emplace(h, mine);
        return {std::move(mine), true, true};
    }

    Boarding join(Stripe& stripe, const K& key, Hash h) {
        const auto [first, last] = stripe.flights.equal_range(h);
        for (auto at = first; at != last; ++at) {
            Flight& flight = *at->second;
            if (flight.ticket->doomed()) continue;
            if (flight.key != nullptr && !backend_.equal(*flight.key, key)) continue;
            flight.has_passengers = true;
            return {at->second, false, flight.key != nullptr, flight.stage};
        }
        return {nullptr, false, false};
    }

    template <class Loader, class Use>
    bool lead(Flight& flight, K& key, Attempt& attempt, Loader& loader, const Terms& terms,
              Use& use) {
        bool found = false;
        // What its visitor or the storing of the value throws is the caller's own error and no
        // passenger's.
        std::exception_ptr own_error;
        [[maybe_unused]] const auto use_in_place = [&](auto&& value) {
            try {
                use(std::forward<decltype(value)>(value));
            } catch (...) {
                own_error = std::current_exception();
            }
        };
        try {
            // Another flight may have landed between our look at the cache and our take-off.
            if constexpr (shares_value) {
                found = backend_.prepare(*flight.ticket, std::as_const(key), attempt, LoadFor::miss,
                                         [&]<class T>(T&& v) {
                                             flight.value.emplace(std::forward<T>(v));
                                         }) == Found::hit;
            } else {
                found = backend_.prepare(*flight.ticket, std::as_const(key), attempt, LoadFor::miss,
                                         use_in_place) == Found::hit;
            }
            if (!found) {
                Landing landing(*this, flight, attempt);
                flight.has_loaded = true;
                enter(flight, Stage::loading);
                auto outcome = run(std::as_const(key), loader);
                found = outcome.value.has_value();
                if constexpr (!shares_value) {
                    // Before it is moved into the cache.
                    if (found) use_in_place(std::as_const(*outcome.value));
                    flight.is_shared = !found;  // "no such row" can be shared
                }
                if (found) {
                    flight.value.emplace(*std::move(outcome.value));
                    try {
                        keep(flight, key, outcome.ttl ? Terms{.ttl = outcome.ttl} : terms, attempt,
                             landing);
                    } catch (...) {
                        own_error = std::current_exception();
                    }
                }
            }
        } catch (...) {
            flight.error = std::current_exception();
        }
        const bool has_passengers = land(flight);
        if (flight.error) std::rethrow_exception(flight.error);
        if (own_error) std::rethrow_exception(own_error);
        if constexpr (shares_value) {
            if (found && has_passengers) use(std::as_const(*flight.value));
            if (found && !has_passengers) use(std::move(*flight.value));
        }
        return found;
    }

    /// Tells the backend if there will be no fill, because there is no row or the loader threw.
    struct Landing {
        Landing(SingleFlight& f, Flight& one, Attempt& a) : flights(f), flight(one), attempt(a) {}
        Landing(const Landing&) = delete;
        Landing& operator=(const Landing&) = delete;
        ~Landing() {
            if (fills) return;
            flights.enter(flight, Stage::landing);
            flights.backend_.give_up(*flight.ticket, attempt);
            if constexpr (has_others) flight.untouched = flights.backend_.verdict(*flight.ticket);
        }

        SingleFlight& flights;
        Flight& flight;
        Attempt& attempt;
        bool fills = false;
    };

    template <class Loader>
    detail::LoadOutcome<V> run(const K& key, Loader& loader) {
        const auto start = std::chrono::steady_clock::now();
        const auto count = [&](std::atomic<std::uint64_t>& counter) {
            const std::chrono::nanoseconds time = std::chrono::steady_clock::now() - start;
            nanoseconds_.fetch_add(time.count(), std::memory_order_relaxed);
            counter.fetch_add(1, std::memory_order_relaxed);
        };
        try {
            auto outcome = detail::outcome_of<V>(detail::call_loader(loader, key));
            count(loads_);
            return outcome;
        } catch (...) {
            count(failures_);
            throw;
        }
    }

    void keep(Flight& flight, K& key, const Terms& terms, Attempt& attempt, Landing& landing) {
        K own_key = [&] {
            if constexpr (std::is_copy_constructible_v<K>) {
                return K(std::as_const(key));
            } else {
                const std::lock_guard lock(stripe_of(flight.hash).mutex);
                flight.key = nullptr;
                return K(std::move(key));
            }
        }();
        enter(flight, Stage::landing);
        bool kept = false;
        if constexpr (shares_value) {
            V own_value(std::as_const(*flight.value));
            landing.fills = true;
            kept = backend_.fill(*flight.ticket, std::move(own_key), std::move(own_value), terms,
                                 attempt);
        } else {
            landing.fills = true;
            kept = backend_.fill(*flight.ticket, std::move(own_key), std::move(*flight.value),
                                 terms, attempt);
        }
        if constexpr (has_others) flight.untouched = backend_.verdict(*flight.ticket);
        if (!kept) dropped_.fetch_add(1, std::memory_order_relaxed);
    }

    /// Whether another process may have invalidated the key after the flight had its value and
    /// before the passenger asked. Where nobody knows, as when the server is down, what one load
    /// per process brings is good for all: it is then that the database needs it most.
    static bool is_doubtful(const Flight& flight, Stage boarded) {
        if (!flight.has_loaded) return true;
        switch (boarded) {
            case Stage::boarding:
                return false;
            case Stage::loading:
                return flight.untouched == false;
            case Stage::landing:
                break;
        }
        return flight.untouched.has_value();
    }

    void enter([[maybe_unused]] Flight& flight, [[maybe_unused]] Stage stage) {
        if constexpr (has_others) {
            const std::lock_guard lock(stripe_of(flight.hash).mutex);
            flight.stage = stage;
        }
    }

    /// Ends the flight; whether it had passengers.
    bool land(Flight& flight) {
        Stripe& stripe = stripe_of(flight.hash);
        bool has_passengers = false;
        {
            const std::lock_guard lock(stripe.mutex);
            has_passengers = flight.has_passengers;
            const auto [first, last] = stripe.flights.equal_range(flight.hash);
            for (auto at = first; at != last; ++at)
                if (at->second.get() == &flight) {
                    stripe.flights.erase(at);
                    break;
                }
        }
        flight.ticket.reset();
        flight.ended.store(true, std::memory_order_release);
        flight.ended.notify_all();
        return has_passengers;
    }

    /// Waits for a flight that another thread leads, unless that thread waits for us.
    static void await(Flight& flight) {
        const WaitGraph::Edge edge(flight.leader, flight.ended);
        flight.ended.wait(false, std::memory_order_acquire);
    }

    Backend& backend_;
    std::array<Stripe, stripes> stripes_;
    std::atomic<std::uint64_t> loads_{0};
    std::atomic<std::uint64_t> failures_{0};
    std::atomic<std::uint64_t> dropped_{0};
    std::atomic<std::int64_t> nanoseconds_{0};
};

}  // namespace drey
