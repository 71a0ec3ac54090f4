#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "drey/clock.hpp"
#include "drey/error.hpp"
#include "drey/loading/context.hpp"
#include "drey/loading/erased.hpp"
#include "drey/loading/flight_control.hpp"
#include "drey/loading/looked.hpp"
#include "drey/loading/plan.hpp"
#include "drey/loading/workers.hpp"
#include "drey/lookup.hpp"
#include "drey/terms.hpp"
#include "drey/types.hpp"

namespace drey {

/// One call that did not find what it wanted, on the thread of its caller. The picture at the top
/// of loading.hpp is its way.
template <class K, class V, class Backend>
class LoadCall {
    using Context = LoadContext<K, V, Backend>;
    using Control = FlightControl<K, V, Backend>;
    using Flight = typename Control::Flight;
    using FlightPtr = typename Control::FlightPtr;
    using Flights = typename Control::Flights;
    using Boarding = typename Flights::Boarding;
    using Attempt = typename Backend::Attempt;
    using Looked = drey::Looked<V>;
    static constexpr bool shares_value = Control::shares_value;

public:
    LoadCall(Context& context, K&& key, Attempt&& attempt, LoaderRef<K, V>& loader,
             const LoadOptions& options, const UseRef<V>& use)
        : context_(context), key_(std::move(key)), attempt_(std::move(attempt)), loader_(loader),
          use_(use), plan_(options, context.settings.options),
          executor_(options.executor ? options.executor : context.settings.options.executor),
          may_leave_(loader.can_be_owned && (context.settings.may_start_threads || executor_)) {}

    bool may_leave() const noexcept { return may_leave_; }

    /// Whether there is a value, which was used.
    bool resolve(Looked& looked) {
        for (;;) {
            const Answer answer = try_once(looked);
            if (answer != Answer::again) return answer == Answer::value;
            looked = Looked();
            attempt_.emplace(context_.backend, std::as_const(*key_), Counts::no);
            look(context_.backend, std::as_const(*key_), *attempt_, looked, use_);
            if (looked.found == Found::hit) return true;
            if (looked.found == Found::absent && loader_.may_be_absent) return false;
        }
    }

    void refresh(const Looked& looked) {
        if (may_leave_) return start(looked);
        const Hash h = attempt_->hash();
        const FlightPtr flight =
            context_.control.flights().start(*key_, h, [&] { return make_own(looked); });
        std::exception_ptr error;
        if (flight) context_.control.fly(*flight, load_of(*flight), use_, error);
    }

    /// Starts a load in the background, unless there is one. Only if it may leave.
    void start(const Looked& looked) {
        const Hash h = attempt_->hash();
        const auto mark = Flights::mark_of(h, looked.reading);
        if (context_.control.flights().contains(*key_, h, mark)) return;
        own();
        const FlightPtr flight = context_.control.flights().start(
            *key_, h, [&] { return make_owning(looked); }, mark);
        if (flight == nullptr) return;
        if (flight->replaces) Context::count(context_.refreshes);
        context_.control.launch(flight, executor_);
    }

private:
    enum class Answer { value, absent, again };

    Answer try_once(Looked& looked) {
        const Hash h = attempt_->hash();
        const bool has_stale = looked.has_stale(plan_);
        const Ttl patience = plan_.patience(has_stale);
        const bool leaves_at_once = may_leave_ && has_stale && patience.nanoseconds() == 0;
        if (has_stale && (leaves_at_once || plan_.serves_on_error()) &&
            context_.control.rests(h, looked.reading))
            return serve_stale(looked);
        if (leaves_at_once) {
            start(looked);
            return serve_stale(looked);
        }
        const Deadline deadline = deadline_of(patience);
        const bool must_end = deadline == no_deadline || InBackground::here();
        const bool stays = must_end || !may_leave_;
        if (!stays) own();
        const Boarding boarding = context_.control.flights().board(
            *key_, h, [&] { return stays ? make_own(looked) : make_owning(looked); });
        Flight& flight = *boarding.flight;
        if (boarding.is_new) {
            if (stays) return lead(flight, looked, has_stale);
            context_.control.launch(boarding.flight, executor_);
        } else if (must_end && flight.claim()) {
            context_.control.run(flight);  // rather than wait for an executor
        }
        const bool landed =
            context_.control.flights().await(flight, context_.settings.clock, deadline);
        if (landed) return share(flight, boarding, looked, has_stale);
        // What was invalidated meanwhile is not served: the call goes on as if it had found
        // nothing.
        if (has_stale && (context_.control.flights().is_doomed(flight) || !still_stands(looked)))
            return Answer::again;
        Context::count(context_.timeouts);
        if (has_stale) return serve_stale(looked);
        throw LoadTimeout();
    }

    /// Runs the loader here.
    Answer lead(Flight& flight, Looked& looked, bool has_stale) {
        std::exception_ptr own_error;
        const bool has_passengers = context_.control.fly(flight, load_of(flight), use_, own_error);
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
            if (Control::is_doubtful(boarding) && context_.backend.can_look_again(*attempt_))
                return context_.backend.look_again(*attempt_, use_) ? Answer::value : Answer::again;
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
            context_.control.may_serve(flight, *key_, looked.stale) &&
            serve_stale(looked) == Answer::value)
            return Answer::value;
        std::rethrow_exception(flight.error);
    }

    bool still_stands(Looked& looked) {
        return key_ && drey::still_stands(context_.backend, std::as_const(*key_),
                                          looked.reading.tags_hold, looked.stale);
    }

    Answer serve_stale(Looked& looked) {
        if constexpr (shares_value) {
            use_(*std::move(looked.stale));
        } else {
            if (!key_) return Answer::again;
            Attempt once_more(context_.backend, std::as_const(*key_), Counts::no);
            const Found found =
                context_.backend.look(std::as_const(*key_), once_more,
                                      [&](const V& value, const Reading&) { use_(value); });
            if (found != Found::hit && found != Found::stale) return Answer::again;
        }
        Context::count(context_.stale_serves);
        return Answer::value;
    }

    auto load_of(Flight& flight) {
        // A loader that was moved out of the call is where it was moved to.
        return [&] { return owned_ ? owned_->load(flight.key) : loader_.load(flight.key); };
    }

    /// How long to wait for loads, all in all.
    Deadline deadline_of(Ttl patience) {
        if (patience == never) return no_deadline;
        if (!began_) began_ = context_.settings.clock.now();
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
        return context_.control.make(*std::move(key_), *std::move(attempt_), looked, plan_);
    }
    FlightPtr make_owning(const Looked& looked) {
        if constexpr (std::is_copy_constructible_v<K>) {
            return context_.control.make(*std::move(spare_key_), *std::move(attempt_), looked,
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

    Context& context_;
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

}  // namespace drey
