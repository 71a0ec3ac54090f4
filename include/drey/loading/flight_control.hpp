#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

#include "drey/clock.hpp"
#include "drey/detail/per_process.hpp"
#include "drey/error.hpp"
#include "drey/loading/flight.hpp"
#include "drey/loading/flights.hpp"
#include "drey/loading/loader.hpp"
#include "drey/loading/rests.hpp"
#include "drey/loading/workers.hpp"
#include "drey/lookup.hpp"
#include "drey/options.hpp"
#include "drey/stats.hpp"
#include "drey/terms.hpp"
#include "drey/types.hpp"

namespace drey {

/// Flies flights: from a last look at the backend through the loader to the fill, on the calling
/// thread or in the background. Ends each exactly once, whatever is thrown, dropped or destroyed.
/// Thread-safe, but for construction and destruction.
template <class K, class V, class Backend>
class FlightControl {
public:
    using Flights = drey::Flights<K, V, Backend>;
    using Flight = typename Flights::Flight;
    using FlightPtr = typename Flights::Ptr;
    static constexpr bool shares_value = Flight::shares_value;

    /// Whether others than this process may invalidate keys, which dooms no tickets here.
    static constexpr bool has_others = requires(Backend & b, typename Backend::LoadTicket& t) {
        b.verdict(t);
    };

    /// Both must outlive it.
    FlightControl(Backend& backend, const ClockRef& clock)
        : backend_(backend), clock_(clock), flights_(backend) {}
    FlightControl(const FlightControl&) = delete;
    FlightControl& operator=(const FlightControl&) = delete;

    /// Abandons the loads that have not begun, and waits for those that have. A flight that
    /// somebody goes on to when one of these ends is in the table before it is launched: so it is
    /// claimed here, or `launch` knows.
    ~FlightControl() {
        ends_ = true;
        for (const FlightPtr& flight : flights_.claim_all()) abandon(*flight);
        std::unique_lock lock(left_mutex_);
        left_changed_.wait(lock, [&] { return left_ == 0; });
    }

    Flights& flights() noexcept { return flights_; }
    const Flights& flights() const noexcept { return flights_; }

    /// Whether the key's loader has thrown, and is left alone.
    bool rests(Hash h, const Reading& there) {
        return rests_.contains(h, there.left, [&] { return clock_.now(); });
    }

    /// Whether a stale value that was found before the flight may be served though the flight has
    /// failed or takes too long: not if the key was invalidated meanwhile. Where others than this
    /// process may have done that, one more look says so, and what it finds is what is served;
    /// if it cannot say either, nobody knows better than the caller.
    bool may_serve(Flight& flight, [[maybe_unused]] const K& key,
                   [[maybe_unused]] std::optional<V>& stale) noexcept {
        if (flights_.is_doomed(flight)) return false;
        if constexpr (has_others) {
            try {
                typename Backend::Attempt attempt(backend_, key, Counts::no);
                Looked<V> now;
                const auto use = [&]<class T>(T&& value) { stale.emplace(std::forward<T>(value)); };
                look(backend_, key, attempt, now, use);
                if (now.found == Found::stale) stale = std::move(now.stale);
                return now.found == Found::hit || now.found == Found::stale ||
                       now.found == Found::failed;
            } catch (...) {
                return false;
            }
        }
        return true;
    }

    /// Whether another process may have invalidated the key after the flight had its value and
    /// before the passenger asked. Where nobody knows, as when the server is down, what one
    /// load per process brings is good for all: it is then that the database needs it most.
    static bool is_doubtful([[maybe_unused]] const typename Flights::Boarding& boarding) {
        if constexpr (!has_others) return false;
        if (boarding.is_new) return false;
        const Flight& flight = *boarding.flight;
        if (!flight.has_loaded) return true;
        switch (boarding.stage) {
            case Stage::boarding:
                return false;
            case Stage::loading:
                return flight.untouched == false;
            case Stage::landing:
                break;
        }
        return flight.untouched.has_value();
    }

    /// Whether the passenger asked after a tag was invalidated that may be one of what the flight
    /// has brought. If that was another's, the value is in the cache, and to ask again is a hit.
    static bool is_overtaken(const typename Flights::Boarding& boarding) noexcept {
        const Flight& flight = *boarding.flight;
        return !boarding.is_new && flight.may_be_tagged && boarding.tag_time != flight.tag_time;
    }

    void add_to(Stats& stats) const noexcept {
        stats.loads += loads_.load(std::memory_order_relaxed);
        stats.load_failures += failures_.load(std::memory_order_relaxed);
        stats.dropped_loads += dropped_.load(std::memory_order_relaxed);
        stats.load_time += std::chrono::nanoseconds(nanoseconds_.load(std::memory_order_relaxed));
    }

    /// A flight with a loader of its own, to be launched.
    FlightPtr make(K&& key, typename Backend::Attempt&& attempt, const Looked<V>& looked,
                   const LoadPlan& plan, std::shared_ptr<OwnedLoader<K, V>> loader) {
        auto flight =
            std::make_shared<Flight>(backend_, std::move(key), std::move(attempt), looked, plan);
        flight->loader = std::move(loader);
        const std::lock_guard lock(left_mutex_);
        ++left_;
        return flight;
    }

    /// A flight that ends within the call of the thread that makes it, and leads it.
    FlightPtr make(K&& key, typename Backend::Attempt&& attempt, const Looked<V>& looked,
                   const LoadPlan& plan) {
        auto flight =
            std::make_shared<Flight>(backend_, std::move(key), std::move(attempt), looked, plan);
        flight->claim();
        return flight;
    }

    /// Takes a flight from the last look to the fill; ends it. Whether it had passengers. A value
    /// that cannot be copied is used in place, before it is stored. `own_error` is what went wrong
    /// for the leader alone.
    template <class Load, class Use>
    bool fly(Flight& flight, Load&& load, const Use& use_in_place,
             std::exception_ptr& own_error) noexcept {
        try {
            if (take_off(flight, use_in_place, own_error)) {
                Clocks clocks(*this, flight.plan);
                auto outcome = load();
                clocks.loaded();
                bring(flight, std::move(outcome), clocks.cost(), use_in_place, own_error);
            }
        } catch (...) {
            fail(flight, std::current_exception());
        }
        return flights_.land(flight);
    }

    /// Where what follows a load is to run.
    Executor executor(const Executor& own, bool runs_here) {
        if (own) return own;
        if (runs_here) return [](const std::function<void()>& task) { task(); };
        return [this](std::function<void()> task) { workers_.get().run(std::move(task)); };
    }

    // ---- the parts of a flight, for who flies many at once --------------------------------------

    /// A last look, since another flight may have landed between our look at the cache and this.
    /// Whether the loader is to run.
    template <class Use>
    bool take_off(Flight& flight, [[maybe_unused]] const Use& use_in_place,
                  [[maybe_unused]] std::exception_ptr& own_error) {
        const auto take = [&]<class T>(T&& value) {
            flight.has_value = true;
            if constexpr (shares_value) {
                flight.value.emplace(std::forward<T>(value));
            } else {
                visit(use_in_place, std::as_const(value), own_error);
            }
        };
        if constexpr (requires { flight.ticket->expect_tags(); })
            if (!flight.plan.tags.empty()) flight.ticket->expect_tags();
        const Found found = backend_.prepare(*flight.ticket, std::as_const(flight.key),
                                             flight.attempt, flight.why, take);
        if (found == Found::hit || found == Found::absent) return false;
        flight.has_loaded = true;
        // In this process a stale value that is gone was invalidated before the ticket was taken,
        // if it was not evicted; others are told of by the verdict.
        const bool is_gone = !has_others && flight.why == LoadFor::miss && found != Found::stale;
        flights_.take_off(flight, is_gone);
        return true;
    }

    /// Stores what was loaded.
    template <class Use>
    void bring(Flight& flight, detail::LoadOutcome<V>&& outcome, std::chrono::nanoseconds took,
               [[maybe_unused]] const Use& use_in_place, std::exception_ptr& own_error) noexcept {
        flight.has_value = outcome.value.has_value();
        bool fills = false;
        try {
            if constexpr (!shares_value) {
                if (flight.has_value) visit(use_in_place, std::as_const(*outcome.value), own_error);
                flight.is_shared = !flight.has_value;  // "no such row" can be shared
            }
            if (flight.has_value) flight.value.emplace(*std::move(outcome.value));
            flight.plan.add_tags(outcome.options);
            flight.may_be_tagged = !outcome.options.tags.empty();
            keep(flight, outcome.options, took, fills);
        } catch (...) {
            own_error = std::current_exception();
            if (shares_value && flight.has_value && !flight.value) flight.error = own_error;
        }
        if (!fills) give_up(flight);
        rests_.end(flight.hash);
    }

    /// The loader threw, or something before it.
    void fail(Flight& flight, std::exception_ptr error) noexcept {
        if (flight.has_loaded) give_up(flight);
        flight.error = std::move(error);
        rest(flight);
    }

    /// How long a loader takes, in real time for the statistics, and in the cache's for the cost
    /// that early refreshes go by. Counts a failure unless told otherwise.
    class Clocks {
    public:
        Clocks(FlightControl& control, const LoadPlan& plan)
            : control_(control), start_(std::chrono::steady_clock::now()),
              needs_cost_(plan.early > 0), began_(needs_cost_ ? control.clock_.now() : 0) {}
        Clocks(const Clocks&) = delete;
        Clocks& operator=(const Clocks&) = delete;
        ~Clocks() {
            const std::chrono::nanoseconds time = std::chrono::steady_clock::now() - start_;
            control_.nanoseconds_.fetch_add(time.count(), std::memory_order_relaxed);
            (loaded_ ? control_.loads_ : control_.failures_)
                .fetch_add(1, std::memory_order_relaxed);
        }

        void loaded() noexcept { loaded_ = true; }
        std::chrono::nanoseconds cost() const noexcept {
            return std::chrono::nanoseconds(needs_cost_ ? control_.clock_.now() - began_ : 0);
        }

    private:
        FlightControl& control_;
        const std::chrono::steady_clock::time_point start_;
        const bool needs_cost_;
        const std::int64_t began_;
        bool loaded_ = false;
    };

    // ---- flights that may outlive the call that made them --------------------------------------

    /// Has the flight run in the background. If that cannot be, it is abandoned.
    void launch(const FlightPtr& flight, const Executor& executor) noexcept {
        if (ends_) {
            if (flight->claim()) abandon(*flight);
            return;
        }
        try {
            const auto task = std::make_shared<Task>(*this, flight);
            if (executor) {
                executor([task] { task->run(); });
            } else {
                workers_.get().run([task] { task->run(); });
            }
        } catch (...) {
            if (flight->claim()) abandon(*flight);
        }
    }

    /// Runs a flight with a loader of its own; the caller has claimed it.
    void run(Flight& flight) noexcept {
        std::exception_ptr nobodys_error;
        fly(
            flight, [&] { return flight.loader->load(flight.key); }, [](const V&) {},
            nobodys_error);
        flight.loader.reset();
        one_less_leaves();
    }

private:
    /// What a visitor throws is its caller's own error, and no passenger's.
    template <class Use>
    static void visit(const Use& use, const V& value, std::exception_ptr& own_error) noexcept {
        try {
            use(value);
        } catch (...) {
            own_error = std::current_exception();
        }
    }

    /// There will be no fill: nothing is to be stored, or the loader threw.
    void give_up(Flight& flight) noexcept {
        flights_.enter(flight, Stage::landing);
        backend_.give_up(*flight.ticket, flight.attempt);
        if constexpr (has_others) flight.untouched = backend_.verdict(*flight.ticket);
    }

    /// Stores what was loaded; of no row, what is to be remembered of it, or in whose place no old
    /// value may stay.
    void keep(Flight& flight, const PutOptions& own, std::chrono::nanoseconds took, bool& fills) {
        const Terms absence = flight.plan.absence(own);
        if (!flight.has_value && !flight.replaces && absence.ttl->nanoseconds() == 0) return;
        K key = flights_.key_to_keep(flight);
        flights_.enter(flight, Stage::landing);
        bool kept = false;
        if (!flight.has_value) {
            fills = true;
            kept = backend_.fill_absent(*flight.ticket, std::move(key), absence, flight.attempt);
        } else {
            const Terms terms = flight.plan.terms(own, took);
            if constexpr (shares_value) {
                V value(std::as_const(*flight.value));
                fills = true;
                kept = backend_.fill(*flight.ticket, std::move(key), std::move(value), terms,
                                     flight.attempt);
            } else {
                fills = true;
                kept = backend_.fill(*flight.ticket, std::move(key), std::move(*flight.value),
                                     terms, flight.attempt);
            }
        }
        if constexpr (has_others) flight.untouched = backend_.verdict(*flight.ticket);
        if (!kept) dropped_.fetch_add(1, std::memory_order_relaxed);
    }

    void rest(const Flight& flight) noexcept {
        if (!flight.replaces) return;
        try {
            const std::int64_t now = clock_.now();
            rests_.begin(flight.hash, now,
                         deadline_after(now, flight.plan.retry_after.nanoseconds()));
        } catch (const std::bad_alloc&) {
        }
    }

    /// What an executor runs, or drops.
    struct Task {
        Task(FlightControl& control, FlightPtr one) : all(control), flight(std::move(one)) {}
        Task(const Task&) = delete;
        Task& operator=(const Task&) = delete;
        ~Task() {
            // Whoever claims a flight keeps the cache alive until it has landed.
            if (flight->claim()) all.abandon(*flight);
        }
        void run() {
            if (!flight->claim()) return;
            const InBackground here;
            all.run(*flight);
        }

        FlightControl& all;
        const FlightPtr flight;
    };

    void abandon(Flight& flight) noexcept {
        flight.loader.reset();
        flight.was_abandoned = true;
        try {
            flight.error = std::make_exception_ptr(LoadAbandoned());
        } catch (...) {  // its text needs memory
            flight.error = std::current_exception();
        }
        flights_.land(flight);
        one_less_leaves();
    }

    void one_less_leaves() noexcept {
        const std::lock_guard lock(left_mutex_);
        if (--left_ == 0) left_changed_.notify_all();  // under the lock: then all of this may end
    }

    Backend& backend_;
    const ClockRef& clock_;
    Flights flights_;
    Rests rests_;
    std::atomic<std::uint64_t> loads_{0}, failures_{0}, dropped_{0};
    std::atomic<std::int64_t> nanoseconds_{0};

    std::mutex left_mutex_;
    std::condition_variable left_changed_;
    std::size_t left_ = 0;  // flights that may outlive their calls, and have not ended
    std::atomic<bool> ends_{false};
    detail::PerProcess<Workers> workers_;
};

}  // namespace drey
