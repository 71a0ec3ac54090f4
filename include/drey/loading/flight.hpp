#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/loading/erased.hpp"
#include "drey/loading/looked.hpp"
#include "drey/loading/plan.hpp"
#include "drey/lookup.hpp"
#include "drey/types.hpp"

namespace drey {

/// How far a flight is; what a passenger may make of it depends on when it boarded.
enum class Stage {
    boarding,  // the loader has not begun: what it brings is newer than the question
    loading,   // it has: good for the passenger unless the fill finds the key overtaken
    landing    // the fill is on its way, and says nothing of what comes after it
};

/// Somebody who does not wait on a thread for a flight to end.
class Waiter {
public:
    virtual ~Waiter() = default;

    /// Called once, outside locks, on the thread that ended the flight.
    virtual void landed() noexcept = 0;
};

/// One load of one key: what is to be loaded, who leads it, and what came of it.
///
/// It is led by the first thread that claims it: the one that called, or, if it has a loader of its
/// own, whichever runs the task that it was handed to an executor in, or a passenger that will not
/// wait for that.
template <class K, class V, class Backend>
class Flight {
public:
    static constexpr bool shares_value = std::is_copy_constructible_v<V>;

    using Attempt = typename Backend::Attempt;

    /// Takes the ticket: from now on an invalidation of the key dooms the flight.
    Flight(Backend& backend, K&& k, Attempt&& a, const Looked<V>& looked, const LoadPlan& how)
        : hash(a.hash()), why(looked.why()), replaces(looked.is_there()),
          tag_time(tag_time_of(backend)), plan(how), attempt(std::move(a)), key(std::move(k)),
          ticket(std::in_place, backend, hash) {}
    Flight(const Flight&) = delete;
    Flight& operator=(const Flight&) = delete;

    const Hash hash;
    const LoadFor why;
    const bool replaces;     // there was something when it was begun
    const TagTime tag_time;  // when it was made
    const LoadPlan plan;
    Attempt attempt;                            // its leader's
    std::shared_ptr<OwnedLoader<K, V>> loader;  // if the flight may outlive its call

    /// Who leads; nobody as long as it is not claimed.
    const std::atomic<std::thread::id>& leader() const noexcept { return leader_; }

    /// Makes the calling thread the leader, if there is none. Release: who then waits for the
    /// flight sees who leads it. Acquire: who loses sees what the winner did before, as the
    /// destructor must that finds nothing to abandon. The flight itself came to both through a
    /// lock.
    bool claim() noexcept {
        std::thread::id nobody;
        return leader_.compare_exchange_strong(nobody, std::this_thread::get_id(),
                                               std::memory_order_acq_rel);
    }

    // Guarded by the lock of `Flights`.
    K key;
    bool has_key = true;  // until it had to be moved into the cache
    bool has_passengers = false;
    std::uint64_t hinted_at = 0;  // see Flights
    Stage stage = Stage::boarding;
    std::optional<typename Backend::LoadTicket> ticket;  // until the flight has ended
    std::condition_variable landing;
    std::vector<std::shared_ptr<Waiter>> waiters;

    // Written by the leader before `ended`, with release; read by others after, with acquire.
    std::optional<V> value;
    bool is_shared = shares_value;  // whether passengers may use `value`; if not, they ask again
    bool has_value = false;         // there is a row, whether its value is here or in the cache
    bool has_loaded = false;        // the value is the loader's, not what a last look found
    bool may_be_tagged = true;      // what it brought
    bool was_doomed = false;        // what was stale before it is not to be served after it
    bool was_abandoned = false;     // nobody ran the loader
    std::optional<bool> untouched;  // whether others left the key alone, if that is known
    std::exception_ptr error;
    std::atomic<bool> ended{false};

private:
    std::atomic<std::thread::id> leader_{};
};

}  // namespace drey
