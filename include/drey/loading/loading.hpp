#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/detail/per_process.hpp"
#include "drey/error.hpp"
#include "drey/hash.hpp"
#include "drey/loading/alarms.hpp"
#include "drey/loading/async.hpp"
#include "drey/loading/async_call.hpp"
#include "drey/loading/batch.hpp"
#include "drey/loading/erased.hpp"
#include "drey/loading/flight.hpp"
#include "drey/loading/flight_control.hpp"
#include "drey/loading/flights.hpp"
#include "drey/loading/loader.hpp"
#include "drey/loading/looked.hpp"
#include "drey/loading/plan.hpp"
#include "drey/lookup.hpp"
#include "drey/options.hpp"
#include "drey/stats.hpp"
#include "drey/terms.hpp"
#include "drey/types.hpp"

namespace drey {

/// What a cache is told of loading.
struct LoadSettings {
    LoadOptions options = {};
    ClockRef clock = {};
    std::uint64_t seed = 0;
    bool may_start_threads = true;
};

/// How a miss becomes a value: one load per key at a time, however many threads want it, and what
/// they get when it fails or takes long.
///
///     fresh ───────────────────────────► the value        (early: and a load in the background)
///     absent ──────────────────────────► no such row
///     stale ─┬ resting after an error ─► the stale value
///            ├ patience is 0 ──────────► the stale value, and a load in the background
///            ▼
///     board the key's flight ┬ mine, and I wait to the end: run the loader here
///            │               └ mine, and I may leave before: run it in the background
///            ▼ wait
///     landed ┬ a value, or no row ─────► that
///            ├ the loader threw ───────► the stale value if there is one, else what it threw
///            ▼
///     my patience is over ─────────────► the stale value if there is one, else LoadTimeout
///
/// A stale value is not served on errors if the key was invalidated during the load.
///
/// `Backend` gives
///  - Attempt(backend, key, counts): one call's way through; its hash(); movable,
///  - look(key, attempt, use): the first look; see Reading; perhaps in halves too, look_at_once and
///    look_closely,
///  - LoadTicket(backend, hash): the right to fill, which an invalidation dooms,
///  - prepare(ticket, key, attempt, why, use): a last look before the loader runs, and whatever the
///    backend needs of the others who may be loading the key; says stale if there is such a value,
///    unless it has a verdict,
///  - fill(ticket, key, value, terms, attempt), fill_absent(ticket, key, terms, attempt), or else
///    give_up(ticket, attempt),
///  - equal(key, key),
/// and, if others than this process may invalidate keys,
///  - verdict(ticket): whether they left the key alone during the load, if that is known,
///  - can_look_again(attempt), look_again(attempt, use): for who cannot share a flight's value.
template <class K, class V, class Backend>
class Loading {
    using Control = FlightControl<K, V, Backend>;
    using Flight = typename Control::Flight;
    using FlightPtr = typename Control::FlightPtr;
    using Boarding = typename Control::Flights::Boarding;
    using Attempt = typename Backend::Attempt;
    using Looked = drey::Looked<V>;
    static constexpr bool shares_value = Control::shares_value;

public:
    /// Both must outlive it.
    Loading(Backend& backend, const LoadSettings& settings)
        : backend_(backend), settings_(settings), control_(backend, settings.clock) {}
    Loading(const Loading&) = delete;
    Loading& operator=(const Loading&) = delete;
    ~Loading() {
        if (Alarms* const alarms = alarms_.find()) alarms->stop();  // before what they ring for
    }

    /// Calls `use(value)` and says yes if the key has a value that will not expire, as most hits
    /// have; else nothing has happened, and `get` is to be called with the same attempt.
    template <class Q, class Use>
    [[gnu::always_inline]] bool get_at_once(const Q& key, const Attempt& attempt, Use& use) {
        if constexpr (requires { backend_.look_at_once(key, attempt, use); }) {
            return backend_.look_at_once(key, attempt, use);
        } else {
            return false;
        }
    }

    /// Calls `use(value)` with the key's value; on a miss, with what the loader brings. False if
    /// there is no such row. `make_key()` gives a K to keep; `call` has been checked. Throws what
    /// the loader throws, ReentrantLoad where waiting would never end, LoadTimeout.
    template <class Q, class MakeKey, class Loader, class Use>
    bool get(const Q& key, MakeKey&& make_key, Attempt& attempt, Loader&& loader,
             const LoadOptions* call, Use&& use) {
        Looked looked;
        look_closely(backend_, key, attempt, looked, use);
        if (looked.found == Found::hit && looked.reading.load_cost.count() == 0) [[likely]]
            return true;
        return go_on_with<Loader>(make_key, attempt, looked, loader, call, use);
    }

    /// The same with a loader that has no type.
    bool get(const K& key, LoaderRef<K, V>& loader, const LoadOptions& call, const UseRef<V>& use) {
        detail::check(call);
        return get(key, Counts::yes, loader, call, use);
    }

    /// What `get` does, without waiting; `promise` is completed.
    template <class Loader>
    std::shared_ptr<detail::Promise<V>> get_async(K key, Loader&& loader,
                                                  const LoadOptions& options) {
        detail::check(options);
        const Executor& executor = options.executor ? options.executor : settings_.options.executor;
        const bool runs_here = !executor && !settings_.may_start_threads;
        auto promise = std::make_shared<detail::Promise<V>>(control_.executor(executor, runs_here));
        Attempt attempt(backend_, std::as_const(key));
        Looked looked;
        std::optional<V> value;
        const auto use = [&]<class T>(T&& fresh) { value.emplace(std::forward<T>(fresh)); };
        look(backend_, std::as_const(key), attempt, looked, use);
        LoaderOf<K, V, Loader> erased(loader);
        if (looked.found == Found::hit) {
            if (is_early(attempt, looked, options)) {
                const auto make_key = [&] { return std::move(key); };
                start_early(make_key, attempt, erased, options, looked);
            }
            promise->complete(std::move(value), nullptr);
        } else if (looked.found == Found::absent && erased.may_be_absent) {
            promise->complete(std::nullopt, nullptr);
        } else {
            const auto call = std::make_shared<AsyncCall<K, V, Backend>>(
                shared_, std::move(key), erased.own(), erased.may_be_absent,
                LoadPlan(options, settings_.options), executor, runs_here, promise);
            call->go_on(std::move(attempt), looked);
        }
        return promise;
    }

    /// The values of these keys, which are all different, in their order. What is missing and
    /// nobody is loading is loaded by one call of `load_all(keys)`, which returns an outcome for
    /// each; what others are loading is waited for after that, and loaded by `load_one` if it comes
    /// to nothing. Timeouts bound that wait only, for all of them. Throws what the loaders throw.
    template <class LoadAll>
    std::vector<std::optional<V>> get_many(std::span<const K> keys, LoadAll&& load_all,
                                           LoaderRef<K, V>& load_one, const LoadOptions& options) {
        detail::check(options);
        const LoadPlan plan(options, settings_.options);
        Batch<K, V, Backend> batch(backend_, control_, keys, plan);
        batch.load(load_all);
        stale_serves_.fetch_add(batch.stale_serves(), std::memory_order_relaxed);
        auto& values = batch.values();
        LoadOptions rest = options;
        const std::int64_t began = batch.others().empty() ? 0 : settings_.clock.now();
        for (const std::size_t i : batch.others()) {
            const auto use = [&]<class T>(T&& value) { values[i].emplace(std::forward<T>(value)); };
            get(keys[i], Counts::no, load_one, rest, UseRef<V>(use));
            const auto waited = settings_.clock.now() - began;
            rest.soft_timeout = left_of(plan.soft_timeout, waited);
            rest.hard_timeout = left_of(plan.hard_timeout, waited);
        }
        return std::move(values);
    }

    /// Has the key loaded again in the background, unless it is being loaded; on the calling thread
    /// if there can be no other. Counts neither as a hit nor as a miss.
    template <class Loader>
    void refresh(K key, Loader&& loader, const LoadOptions& options) {
        detail::check(options);
        Attempt attempt(backend_, std::as_const(key), Counts::no);
        Looked looked;
        const auto ignore = [](const V&) {};
        look(backend_, std::as_const(key), attempt, looked, ignore);
        LoaderOf<K, V, Loader> erased(loader);
        Call(*this, std::move(key), std::move(attempt), erased, options, UseRef<V>(ignore))
            .refresh(looked);
    }

    void add_to(Stats& stats) const noexcept {
        control_.add_to(stats);
        stats.stale_serves += stale_serves_.load(std::memory_order_relaxed);
        stats.refreshes += refreshes_.load(std::memory_order_relaxed);
        stats.load_timeouts += timeouts_.load(std::memory_order_relaxed);
    }

private:
    static const LoadOptions& options(const LoadOptions* call) noexcept {
        static const LoadOptions none;
        return call != nullptr ? *call : none;
    }

    bool get(const K& key, Counts counts, LoaderRef<K, V>& loader, const LoadOptions& options,
             const UseRef<V>& use) {
        Attempt attempt(backend_, key, counts);
        Looked looked;
        look(backend_, key, attempt, looked, use);
        const auto make_key = [&] { return K(key); };
        return go_on(make_key, attempt, looked, loader, options, use);
    }

    /// Apart from hits, so that they need no room for what it needs.
    template <class Loader, class MakeKey, class Use>
    [[gnu::noinline]] bool go_on_with(MakeKey& make_key, Attempt& attempt, Looked& looked,
                                      std::remove_reference_t<Loader>& loader,
                                      const LoadOptions* call, Use& use) {
        LoaderOf<K, V, Loader> erased(loader);
        return go_on(make_key, attempt, looked, erased, options(call), UseRef<V>(use));
    }

    /// What a get comes to whose look said this. Whether there is a value, which was used.
    template <class MakeKey>
    bool go_on(MakeKey& make_key, Attempt& attempt, Looked& looked, LoaderRef<K, V>& loader,
               const LoadOptions& options, const UseRef<V>& use) {
        if (looked.found == Found::hit) {
            if (is_early(attempt, looked, options))
                start_early(make_key, attempt, loader, options, looked);
            return true;
        }
        if (looked.found == Found::absent && loader.may_be_absent) return false;
        if constexpr (shares_value) {
            if (is_being_replaced(attempt, looked) && serves_at_once(looked, loader, options)) {
                count(stale_serves_);
                use(*std::move(looked.stale));
                return true;
            }
        }
        return Call(*this, make_key(), std::move(attempt), loader, options, use).resolve(looked);
    }

    /// One call that did not find what it wanted.
    class Call {
    public:
        Call(Loading& all, K&& key, Attempt&& attempt, LoaderRef<K, V>& loader,
             const LoadOptions& options, const UseRef<V>& use)
            : all_(all), key_(std::move(key)), attempt_(std::move(attempt)), loader_(loader),
              use_(use), plan_(options, all.settings_.options),
              executor_(options.executor ? options.executor : all.settings_.options.executor),
              may_leave_(loader.can_be_owned && (all.settings_.may_start_threads || executor_)) {}

        bool may_leave() const noexcept { return may_leave_; }

        /// Whether there is a value, which was used.
        bool resolve(Looked& looked) {
            for (;;) {
                const Answer answer = try_once(looked);
                if (answer != Answer::again) return answer == Answer::value;
                looked = Looked();
                attempt_.emplace(all_.backend_, std::as_const(*key_), Counts::no);
                look(all_.backend_, std::as_const(*key_), *attempt_, looked, use_);
                if (looked.found == Found::hit) return true;
                if (looked.found == Found::absent && loader_.may_be_absent) return false;
            }
        }

        void refresh(const Looked& looked) {
            if (may_leave_) return start(looked);
            const Hash h = attempt_->hash();
            const FlightPtr flight =
                all_.control_.flights().start(*key_, h, [&] { return make_own(looked); });
            std::exception_ptr error;
            if (flight) all_.control_.fly(*flight, load_of(*flight), use_, error);
        }

        /// Starts a load in the background, unless there is one. Only if it may leave.
        void start(const Looked& looked) {
            const Hash h = attempt_->hash();
            const auto mark = Control::Flights::mark_of(h, looked.reading);
            if (all_.control_.flights().contains(*key_, h, mark)) return;
            own();
            const FlightPtr flight = all_.control_.flights().start(
                *key_, h, [&] { return make_owning(looked); }, mark);
            if (flight == nullptr) return;
            if (flight->replaces) count(all_.refreshes_);
            all_.control_.launch(flight, executor_);
        }

    private:
        enum class Answer { value, absent, again };

        Answer try_once(Looked& looked) {
            const Hash h = attempt_->hash();
            const bool has_stale = looked.has_stale(plan_);
            const Ttl patience = plan_.patience(has_stale);
            const bool leaves_at_once = may_leave_ && has_stale && patience.nanoseconds() == 0;
            if (has_stale && (leaves_at_once || plan_.serves_on_error()) && all_.control_.rests(h))
                return serve_stale(looked);
            if (leaves_at_once) {
                start(looked);
                return serve_stale(looked);
            }
            const Deadline deadline = deadline_of(patience);
            const bool must_end = deadline == no_deadline || InBackground::here();
            const bool stays = must_end || !may_leave_;
            if (!stays) own();
            const Boarding boarding = all_.control_.flights().board(
                *key_, h, [&] { return stays ? make_own(looked) : make_owning(looked); });
            Flight& flight = *boarding.flight;
            if (boarding.is_new) {
                if (stays) return lead(flight, looked, has_stale);
                all_.control_.launch(boarding.flight, executor_);
            } else if (must_end && flight.claim()) {
                all_.control_.run(flight);  // rather than wait for an executor
            }
            const bool landed =
                all_.control_.flights().await(flight, all_.settings_.clock, deadline);
            if (landed) return share(flight, boarding, looked, has_stale);
            // What was invalidated meanwhile is not served: the call goes on as if it had found
            // nothing.
            if (has_stale && (all_.control_.flights().is_doomed(flight) || !still_stands(looked)))
                return Answer::again;
            count(all_.timeouts_);
            if (has_stale) return serve_stale(looked);
            throw LoadTimeout();
        }

        /// Runs the loader here.
        Answer lead(Flight& flight, Looked& looked, bool has_stale) {
            std::exception_ptr own_error;
            const bool has_passengers = all_.control_.fly(flight, load_of(flight), use_, own_error);
            if (flight.error) {
                take_key_back(flight);
                return serve_instead(flight, looked, has_stale);
            }
            if (own_error) std::rethrow_exception(own_error);
            if constexpr (shares_value) {
                if (flight.value && has_passengers) use_(std::as_const(*flight.value));
                if (flight.value && !has_passengers) use_(std::move(*flight.value));
            }
            if (flight.has_value) return Answer::value;
            if (loader_.may_be_absent) return Answer::absent;
            take_key_back(flight);
            return Answer::again;
        }

        /// What a flight brought that ran elsewhere.
        Answer share(Flight& flight, const Boarding& boarding, Looked& looked, bool has_stale) {
            if (!boarding.same_key) return Answer::again;
            if (flight.was_abandoned) {  // then here
                may_leave_ = false;
                return Answer::again;
            }
            if (flight.error) return serve_instead(flight, looked, has_stale);
            if (!flight.is_shared || Control::is_overtaken(boarding)) {
                // If the cache does not have it either, the next load must show it here.
                if (boarding.is_new && !flight.is_shared) may_leave_ = false;
                return Answer::again;
            }
            if constexpr (Control::has_others) {
                if (Control::is_doubtful(boarding) && all_.backend_.can_look_again(*attempt_))
                    return all_.backend_.look_again(*attempt_, use_) ? Answer::value
                                                                     : Answer::again;
            }
            if (flight.value) {
                if constexpr (shares_value) use_(std::as_const(*flight.value));
                return Answer::value;
            }
            return loader_.may_be_absent ? Answer::absent : Answer::again;
        }

        /// After a load that threw.
        Answer serve_instead(Flight& flight, Looked& looked, bool has_stale) {
            if (has_stale && plan_.serves_on_error() && still_stands(looked) &&
                all_.control_.may_serve(flight, *key_, looked.stale) &&
                serve_stale(looked) == Answer::value)
                return Answer::value;
            std::rethrow_exception(flight.error);
        }

        bool still_stands(Looked& looked) {
            return key_ && drey::still_stands(all_.backend_, std::as_const(*key_),
                                              looked.reading.tags_hold, looked.stale);
        }

        Answer serve_stale(Looked& looked) {
            if constexpr (shares_value) {
                use_(*std::move(looked.stale));
            } else {
                if (!key_) return Answer::again;
                Attempt once_more(all_.backend_, std::as_const(*key_), Counts::no);
                const Found found =
                    all_.backend_.look(std::as_const(*key_), once_more,
                                       [&](const V& value, const Reading&) { use_(value); });
                if (found != Found::hit && found != Found::stale) return Answer::again;
            }
            count(all_.stale_serves_);
            return Answer::value;
        }

        auto load_of(Flight& flight) {
            // A loader that was moved out of the call is where it was moved to.
            return [&] { return owned_ ? owned_->load(flight.key) : loader_.load(flight.key); };
        }

        /// How long to wait for loads, all in all.
        Deadline deadline_of(Ttl patience) {
            if (patience == never) return no_deadline;
            if (!began_) began_ = all_.settings_.clock.now();
            return deadline_after(*began_, patience.nanoseconds());
        }

        /// Makes what `make_owning` needs: copies are made outside the lock.
        void own() {
            if constexpr (std::is_copy_constructible_v<K>) {
                if (!owned_) owned_ = loader_.own();
                spare_key_.emplace(std::as_const(*key_));
            }
        }

        FlightPtr make_own(const Looked& looked) {
            return all_.control_.make(*std::move(key_), *std::move(attempt_), looked, plan_);
        }
        FlightPtr make_owning(const Looked& looked) {
            if constexpr (std::is_copy_constructible_v<K>) {
                return all_.control_.make(*std::move(spare_key_), *std::move(attempt_), looked,
                                          plan_, owned_);
            } else {
                return make_own(looked);  // not called: such a loader cannot be owned
            }
        }

        /// After a flight that the key went into.
        [[gnu::noinline]] void take_key_back(Flight& flight) {  // rare
            key_.reset();
            // It has landed: nobody else looks at it.
            if (flight.has_key) key_.emplace(std::move(flight.key));
        }

        Loading& all_;
        std::optional<K> key_;
        std::optional<Attempt> attempt_;
        LoaderRef<K, V>& loader_;
        const UseRef<V> use_;
        const LoadPlan plan_;
        const Executor& executor_;
        std::shared_ptr<OwnedLoader<K, V>> owned_;  // once it has been taken from the caller
        std::optional<K> spare_key_;                // for a flight that may leave
        bool may_leave_;
        std::optional<std::int64_t> began_;  // when it first had to wait no longer than some time
    };

    /// What is left of a wait, some time after it began.
    static Ttl left_of(Ttl patience, std::int64_t waited) noexcept {
        if (patience == never) return never;
        return std::chrono::nanoseconds(std::max<std::int64_t>(patience.nanoseconds() - waited, 0));
    }

    static void count(std::atomic<std::uint64_t>& counter) noexcept {
        counter.fetch_add(1, std::memory_order_relaxed);
    }

    bool is_being_replaced(const Attempt& attempt, const Looked& looked) const noexcept {
        const auto mark = Control::Flights::mark_of(attempt.hash(), looked.reading);
        return control_.flights().will_replace(mark);
    }

    /// What `Call` does with a stale value, if somebody is loading another.
    bool serves_at_once(const Looked& looked, const LoaderRef<K, V>& loader,
                        const LoadOptions& options) const {
        const LoadPlan plan(options, settings_.options);
        return looked.has_stale(plan) && plan.patience(true).nanoseconds() == 0 &&
               loader.can_be_owned &&
               (settings_.may_start_threads || options.executor || settings_.options.executor);
    }

    /// Whether a fresh value is to be refreshed now.
    [[gnu::noinline]] bool is_early(const Attempt& attempt, const Looked& looked,
                                    const LoadOptions& options) {
        if (looked.reading.load_cost.count() == 0) return false;
        const double early = options.early.value_or(settings_.options.early.value_or(0.0));
        if (!(early > 0)) return false;
        const std::uint64_t step = draws_.fetch_add(1, std::memory_order_relaxed);
        const double draw = static_cast<double>(detail::mix(step, settings_.seed) >> 11) * 0x1p-53;
        return detail::is_early(early, looked.reading.load_cost, looked.reading.left, draw) &&
               !control_.rests(attempt.hash());
    }

    /// A refresh that cannot be started is nobody's error: the value is there, and fresh.
    template <class MakeKey>
    void start_early(MakeKey& make_key, Attempt& attempt, LoaderRef<K, V>& loader,
                     const LoadOptions& options, const Looked& looked) noexcept {
        try {
            const auto ignore = [](const V&) {};
            Call call(*this, make_key(), std::move(attempt), loader, options, UseRef<V>(ignore));
            if (call.may_leave()) call.start(looked);
        } catch (...) {
        }
    }

    Backend& backend_;
    const LoadSettings& settings_;
    std::atomic<std::uint64_t> stale_serves_{0}, refreshes_{0}, timeouts_{0}, draws_{0};
    detail::PerProcess<Alarms> alarms_;
    Control control_;
    const typename AsyncCall<K, V, Backend>::Shared shared_{
        backend_, control_, settings_.clock, alarms_, stale_serves_, refreshes_, timeouts_};
};

}  // namespace drey
