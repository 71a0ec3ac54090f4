#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/hash.hpp"
#include "drey/loading/alarms.hpp"
#include "drey/loading/async.hpp"
#include "drey/loading/async_call.hpp"
#include "drey/loading/batch.hpp"
#include "drey/loading/call.hpp"
#include "drey/loading/context.hpp"
#include "drey/loading/erased.hpp"
#include "drey/loading/flight_control.hpp"
#include "drey/loading/loader.hpp"
#include "drey/loading/looked.hpp"
#include "drey/loading/plan.hpp"
#include "drey/lookup.hpp"
#include "drey/options.hpp"
#include "drey/stats.hpp"
#include "drey/terms.hpp"
#include "drey/types.hpp"

namespace drey {

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
///  - LoadTicket's expect_tags(): told before `prepare` of a load whose call says tags,
///  - can_look_again(attempt), look_again(attempt, use): for who cannot share a flight's value.
template <class K, class V, class Backend>
class Loading {
    using Context = LoadContext<K, V, Backend>;
    using Control = FlightControl<K, V, Backend>;
    using Call = LoadCall<K, V, Backend>;
    using Attempt = typename Backend::Attempt;
    using Looked = drey::Looked<V>;
    static constexpr bool shares_value = Control::shares_value;

public:
    /// Both must outlive it.
    Loading(Backend& backend, const LoadSettings& settings) : context_(backend, settings) {}
    Loading(const Loading&) = delete;
    Loading& operator=(const Loading&) = delete;
    ~Loading() {
        if (Alarms* const alarms = context_.alarms.find())
            alarms->stop();  // before what they ring for
    }

    /// Calls `use(value)` and says yes if the key has a value that will not expire, as most hits
    /// have; else nothing has happened, and `get` is to be called with the same attempt.
    template <class Q, class Use>
    [[gnu::always_inline]] bool get_at_once(const Q& key, const Attempt& attempt, Use& use) {
        if constexpr (requires { context_.backend.look_at_once(key, attempt, use); }) {
            return context_.backend.look_at_once(key, attempt, use);
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
        look_closely(context_.backend, key, attempt, looked, use);
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
        const Executor& executor =
            options.executor ? options.executor : context_.settings.options.executor;
        const bool runs_here = !executor && !context_.settings.may_start_threads;
        auto promise =
            std::make_shared<detail::Promise<V>>(context_.control.executor(executor, runs_here));
        Attempt attempt(context_.backend, std::as_const(key));
        Looked looked;
        std::optional<V> value;
        const auto use = [&]<class T>(T&& fresh) { value.emplace(std::forward<T>(fresh)); };
        look(context_.backend, std::as_const(key), attempt, looked, use);
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
                context_, std::move(key), erased.own(), erased.may_be_absent,
                LoadPlan(options, context_.settings.options), executor, runs_here, promise);
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
        const LoadPlan plan(options, context_.settings.options);
        Batch<K, V, Backend> batch(context_.backend, context_.control, keys, plan);
        batch.load(load_all);
        Context::count(context_.stale_serves, batch.stale_serves());
        auto& values = batch.values();
        LoadOptions rest = options;
        const std::int64_t began = batch.others().empty() ? 0 : context_.settings.clock.now();
        for (const std::size_t i : batch.others()) {
            const auto use = [&]<class T>(T&& value) { values[i].emplace(std::forward<T>(value)); };
            get(keys[i], Counts::no, load_one, rest, UseRef<V>(use));
            const auto waited = context_.settings.clock.now() - began;
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
        Attempt attempt(context_.backend, std::as_const(key), Counts::no);
        Looked looked;
        const auto ignore = [](const V&) {};
        look(context_.backend, std::as_const(key), attempt, looked, ignore);
        LoaderOf<K, V, Loader> erased(loader);
        Call(context_, std::move(key), std::move(attempt), erased, options, UseRef<V>(ignore))
            .refresh(looked);
    }

    void add_to(Stats& stats) const noexcept { context_.add_to(stats); }

private:
    static const LoadOptions& options(const LoadOptions* call) noexcept {
        static const LoadOptions none;
        return call != nullptr ? *call : none;
    }

    bool get(const K& key, Counts counts, LoaderRef<K, V>& loader, const LoadOptions& options,
             const UseRef<V>& use) {
        Attempt attempt(context_.backend, key, counts);
        Looked looked;
        look(context_.backend, key, attempt, looked, use);
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
                Context::count(context_.stale_serves);
                use(*std::move(looked.stale));
                return true;
            }
        }
        return Call(context_, make_key(), std::move(attempt), loader, options, use).resolve(looked);
    }

    /// What is left of a wait, some time after it began.
    static Ttl left_of(Ttl patience, std::int64_t waited) noexcept {
        if (patience == never) return never;
        return std::chrono::nanoseconds(std::max<std::int64_t>(patience.nanoseconds() - waited, 0));
    }

    bool is_being_replaced(const Attempt& attempt, const Looked& looked) const noexcept {
        const auto mark = Control::Flights::mark_of(attempt.hash(), looked.reading);
        return context_.control.flights().will_replace(mark);
    }

    /// What `Call` does with a stale value, if somebody is loading another.
    bool serves_at_once(const Looked& looked, const LoaderRef<K, V>& loader,
                        const LoadOptions& options) const {
        const LoadPlan plan(options, context_.settings.options);
        return looked.has_stale(plan) && plan.patience(true).nanoseconds() == 0 &&
               loader.can_be_owned &&
               (context_.settings.may_start_threads || options.executor ||
                context_.settings.options.executor);
    }

    /// Whether a fresh value is to be refreshed now.
    [[gnu::noinline]] bool is_early(const Attempt& attempt, const Looked& looked,
                                    const LoadOptions& options) {
        if (looked.reading.load_cost.count() == 0) return false;
        const double early = options.early.value_or(context_.settings.options.early.value_or(0.0));
        if (!(early > 0)) return false;
        const std::uint64_t step = draws_.fetch_add(1, std::memory_order_relaxed);
        const double draw =
            static_cast<double>(detail::mix(step, context_.settings.seed) >> 11) * 0x1p-53;
        return detail::is_early(early, looked.reading.load_cost, looked.reading.left, draw) &&
               !context_.control.rests(attempt.hash(), looked.reading);
    }

    /// A refresh that cannot be started is nobody's error: the value is there, and fresh.
    template <class MakeKey>
    void start_early(MakeKey& make_key, Attempt& attempt, LoaderRef<K, V>& loader,
                     const LoadOptions& options, const Looked& looked) noexcept {
        try {
            const auto ignore = [](const V&) {};
            Call call(context_, make_key(), std::move(attempt), loader, options, UseRef<V>(ignore));
            if (call.may_leave()) call.start(looked);
        } catch (...) {
        }
    }

    std::atomic<std::uint64_t> draws_{0};
    Context context_;
};

}  // namespace drey
