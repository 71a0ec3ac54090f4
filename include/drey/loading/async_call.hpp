#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "drey/clock.hpp"
#include "drey/error.hpp"
#include "drey/loading/async.hpp"
#include "drey/loading/context.hpp"
#include "drey/loading/erased.hpp"
#include "drey/loading/flight.hpp"
#include "drey/loading/flight_control.hpp"
#include "drey/loading/looked.hpp"
#include "drey/loading/plan.hpp"
#include "drey/lookup.hpp"

namespace drey {

/// One asynchronous call that did not find what it wanted: the same way through as the one that
/// waits on its thread (`Loading`), but told of what it waits for.
///
/// It lives as long as the flight that it waits for and its alarm, which end before the cache does.
template <class K, class V, class Backend>
class AsyncCall final : public Waiter,
                        public std::enable_shared_from_this<AsyncCall<K, V, Backend>> {
    using Context = LoadContext<K, V, Backend>;
    using Control = FlightControl<K, V, Backend>;
    using Flight = typename Control::Flight;
    using FlightPtr = typename Control::FlightPtr;
    using Boarding = typename Control::Flights::Boarding;
    using Attempt = typename Backend::Attempt;

public:
    AsyncCall(Context& context, K key, std::shared_ptr<OwnedLoader<K, V>> loader,
              bool may_be_absent, const LoadPlan& plan, Executor executor, bool runs_here,
              std::shared_ptr<detail::Promise<V>> promise)
        : context_(context), key_(std::move(key)), loader_(std::move(loader)),
          may_be_absent_(may_be_absent), plan_(plan), executor_(std::move(executor)),
          runs_here_(runs_here), promise_(std::move(promise)) {}

    /// Looks once more, and waits if need be.
    void begin() noexcept {
        try {
            Attempt attempt(context_.backend, std::as_const(key_), Counts::no);
            Looked<V> looked;
            std::optional<V> value;
            const auto use = [&]<class T>(T&& fresh) { value.emplace(std::forward<T>(fresh)); };
            look(context_.backend, std::as_const(key_), attempt, looked, use);
            if (value || (looked.found == Found::absent && may_be_absent_))
                promise_->complete(std::move(value), nullptr);
            else
                go_on(std::move(attempt), looked);
        } catch (...) {
            promise_->complete(std::nullopt, std::current_exception());
        }
    }

    /// The rest of it, for who has looked.
    void go_on(Attempt&& attempt, Looked<V>& looked) {
        const Hash h = attempt.hash();
        const bool has_stale = looked.has_stale(plan_);
        const Ttl patience = plan_.patience(has_stale);
        const bool leaves_at_once = has_stale && patience.nanoseconds() == 0;
        if (has_stale && (leaves_at_once || plan_.serves_on_error()) &&
            context_.control.rests(h, looked.reading))
            return serve(std::move(looked.stale));
        K spare_key(std::as_const(key_));  // not under the lock, as copies may be anything
        const auto make = [&] {
            return context_.control.make(std::move(spare_key), std::move(attempt), looked, plan_,
                                         loader_);
        };
        if (leaves_at_once) {
            if (const FlightPtr flight = context_.control.flights().start(key_, h, make)) {
                Context::count(context_.refreshes);
                fly(flight);
            }
            return serve(std::move(looked.stale));
        }
        const Boarding boarding = context_.control.flights().board(key_, h, make);
        const FlightPtr flight = boarding.flight;
        {
            const std::lock_guard lock(mutex_);
            boarding_ = boarding;
            stale_ = has_stale ? std::move(looked.stale) : std::nullopt;
            tags_hold_ = looked.reading.tags_hold;
        }
        if (patience != never) {
            if (began_ == no_time) began_ = context_.settings.clock.now();
            context_.alarms.get(context_.settings.clock)
                .set(deadline_after(began_, patience.nanoseconds()),
                     [weak = this->weak_from_this(), flight] {
                         if (const auto call = weak.lock()) call->time_is_over(*flight);
                     });
        }
        if (!context_.control.flights().wait(*flight, this->shared_from_this())) return landed();
        if (boarding.is_new) fly(flight);
    }

    void landed() noexcept override {
        auto [boarding, stale, tags_hold] = now(nullptr);
        if (!boarding.flight) return;
        Flight& flight = *boarding.flight;
        if (flight.error) {
            if (stale && plan_.serves_on_error() && !flight.was_abandoned &&
                still_stands(tags_hold, stale) && context_.control.may_serve(flight, key_, stale))
                return serve(std::move(stale));
            promise_->complete(std::nullopt, flight.error);
        } else if (Control::is_doubtful(boarding) || Control::is_overtaken(boarding) ||
                   !(flight.value || may_be_absent_)) {
            begin();
        } else {
            try {
                promise_->complete(flight.value, nullptr);
            } catch (...) {
                promise_->complete(std::nullopt, std::current_exception());
            }
        }
    }

private:
    static constexpr std::int64_t no_time = std::numeric_limits<std::int64_t>::min();

    struct Now {
        Boarding boarding;
        std::optional<V> stale;
        TagTime tags_hold;
    };
    /// What the call waits for, which it is to wait for no more: this flight, or one that has
    /// ended. No flight if that is another, as when an alarm went off and the call went on to the
    /// next: then the end of the one before is no news, and goes on nowhere a second time.
    Now now(const Flight* flight) {
        const std::lock_guard lock(mutex_);
        const Flight* const current = boarding_.flight.get();
        if (current == nullptr) return {};
        if (flight == nullptr ? !current->ended.load(std::memory_order_acquire) : current != flight)
            return {};
        return {std::exchange(boarding_, {}), std::exchange(stale_, std::nullopt), tags_hold_};
    }

    bool still_stands(TagTime tags_hold, std::optional<V>& stale) noexcept {
        try {
            return drey::still_stands(context_.backend, key_, tags_hold, stale);
        } catch (...) {
            return false;
        }
    }

    void fly(const FlightPtr& flight) {
        if (!runs_here_) return context_.control.launch(flight, executor_);
        if (flight->claim()) context_.control.run(*flight);
    }

    void serve(std::optional<V> stale) noexcept {
        if (promise_->complete(std::move(stale), nullptr)) Context::count(context_.stale_serves);
    }

    /// On the thread of the alarms, at any time.
    void time_is_over(Flight& flight) noexcept {
        auto [boarding, stale, tags_hold] = now(&flight);
        if (!boarding.flight || promise_->is_done()) return;
        // What was invalidated is not served: what remains is a miss, with more patience.
        if (stale &&
            (context_.control.flights().is_doomed(flight) || !still_stands(tags_hold, stale)))
            return begin();
        Context::count(context_.timeouts);
        if (stale) return serve(std::move(stale));
        promise_->complete(std::nullopt, std::make_exception_ptr(LoadTimeout()));
    }

    Context& context_;
    const K key_;
    const std::shared_ptr<OwnedLoader<K, V>> loader_;
    const bool may_be_absent_;
    const LoadPlan plan_;
    const Executor executor_;
    const bool runs_here_;
    const std::shared_ptr<detail::Promise<V>> promise_;
    std::int64_t began_ = no_time;  // to wait, if there is an end to that

    std::mutex mutex_;
    Boarding boarding_;
    std::optional<V> stale_;  // what may be served in place of what the flight brings
    TagTime tags_hold_ = any_tag_time;
};

}  // namespace drey
