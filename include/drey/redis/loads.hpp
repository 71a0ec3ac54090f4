#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "drey/codec/envelope_tags.hpp"
#include "drey/detail/tickets.hpp"
#include "drey/hash.hpp"
#include "drey/lookup.hpp"
#include "drey/options.hpp"
#include "drey/redis/client.hpp"
#include "drey/redis/entries.hpp"
#include "drey/redis/lifetime.hpp"
#include "drey/redis/options.hpp"
#include "drey/redis/patience.hpp"
#include "drey/redis/seen.hpp"
#include "drey/redis/tags.hpp"
#include "drey/types.hpp"

namespace drey::redis {

/// Loads over a shared server: one at a time for all processes, and none that outlives an
/// invalidation. The lease of Nishtala et al., "Scaling Memcache at Facebook" (NSDI 2013).
///
/// Who misses a key puts a lease where nothing is, for a while. Others who find it wait, and share
/// what comes. The fill is "if my lease is still there": whatever writes or removes the key takes
/// the lease away with it, so a fill that began before an invalidation cannot come after it. Each
/// attempt has a lease of its own; one a client would let an old attempt fill for a new one.
///
/// Where a value is, fresh or stale, or an absence, a lease would take it from those who use it
/// meanwhile, or if the load fails. So it stays, and the fill is "if what I saw is still there":
/// its stamp serves as the lease's would. That also holds for a stale value that this caller may
/// not use, as others may. The price: nobody waits, so each process may load it once. If the
/// value's time ends during the load the fill comes to nothing, as a value that ended and one that
/// was erased look alike; then the next who asks loads.
///
/// Either is the load's claim to the key. Within this process tickets do the same for those who
/// would join a load that was overtaken. That a load outlives no invalidation of its tags either
/// is told at `Tags`.
template <class V, class Codec>
class Loads {
    struct Tickets {
        std::mutex mutex;
        drey::Tickets out;

        void take_ticket(Ticket& ticket) {
            const std::lock_guard lock(mutex);
            out.add(ticket);
        }
        void return_ticket(Ticket& ticket) {
            const std::lock_guard lock(mutex);
            out.remove(ticket);
        }
    };

public:
    Loads(const RedisOptions& options, Client& client, Tags& tags, Entries<V, Codec>& entries)
        : lease_(options.lease), most_wait_(detail::limit_of(options.lease_wait)), client_(client),
          tags_(tags), entries_(entries) {
        std::random_device device;
        hash_salt_ = std::uint64_t{device()} << 32 | device();
    }

    /// One load's way from the look-up to the fill. It may go on after its call, on another thread:
    /// only what is done here is on the server's time.
    class Attempt {
    public:
        Attempt(Loads& loads, std::string name)
            : name_(std::move(name)), loads_(loads), patience_(loads.client_.patience()) {}

        Hash hash() const noexcept { return loads_.hash(name_); }

    private:
        friend class Loads;

        std::string name_;
        const Loads& loads_;
        Patience patience_;
        bool asks_ = true;  // false once the server has failed: it is not asked again in this call
        Found state_ = Found::miss;  // of the key when last looked at
        Seen seen_;                  // what was there
        bool leased_ = false;        // that is another's lease
    };

    /// The right to fill, for one load.
    class LoadTicket : public TicketOf<Tickets> {
    public:
        LoadTicket(Loads& loads, Hash h) : TicketOf<Tickets>(loads.tickets_, h) {}

        /// What is loaded will have tags; to be called before `prepare`.
        void expect_tags() noexcept { expects_tags_ = true; }

    private:
        friend class Loads;
        Seen claim_;                     // what must still be there for the fill; empty: none
        bool is_lease_ = false;          // and it is our lease
        std::optional<bool> was_there_;  // it, in the end, if the server said so
        bool expects_tags_ = false;
        std::optional<Tags::Mark> mark_;  // since when none of its tags may have been invalidated
    };

    /// Tells the loads of this process apart.
    Hash hash(std::string_view name) const noexcept { return detail::hash_bytes(name, hash_salt_); }

    /// What is in flight for this key in this process will not fill, nor be joined.
    void doom(std::string_view name) {
        const std::lock_guard lock(tickets_.mutex);
        tickets_.out.doom(hash(name));
    }
    void doom_all() {
        const std::lock_guard lock(tickets_.mutex);
        tickets_.out.doom_all();
    }

    /// Looks, and remembers for `prepare` what was there. Never throws for the server's failure:
    /// there is a loader.
    Look<V> look(Attempt& attempt) {
        attempt.patience_.resume();
        Look<V> look = look_at(attempt);
        attempt.patience_.pause();
        return look;
    }

    /// For a miss: takes the key's lease, or waits for who has it; then there may be a value or an
    /// absence, fresh, which is what the caller wants. If not, that is a miss: the caller is to
    /// load, and to `fill` or `give_up` after that. Always so for a refresh, which asks nothing if
    /// this attempt has looked and found what is to be refreshed.
    Look<V> prepare(LoadTicket& ticket, Attempt& attempt, LoadFor why) {
        attempt.patience_.resume();
        Look<V> found;
        if (why == LoadFor::miss) {
            found = obtain(ticket, attempt);
        } else {
            claim(ticket, attempt);
        }
        const bool loads = !found.is_hit() && found.state != Found::absent;
        if (loads && (ticket.expects_tags_ || tags_.in_use())) mark(ticket, attempt);
        attempt.patience_.pause();
        return found;
    }

    /// Stores what was loaded unless the key was written or removed meanwhile, here or elsewhere.
    bool fill(LoadTicket& ticket, Attempt& attempt, const V& value, const Terms& terms) {
        return fill_with(ticket, attempt, terms, [&](const Life& life, const auto& tags) {
            return entries_.sealed(attempt.name_, value, life, tags);
        });
    }

    /// The same for the news that there is no such row.
    bool fill_absent(LoadTicket& ticket, Attempt& attempt, const Terms& terms) {
        return fill_with(ticket, attempt, terms, [&](const Life&, const auto& tags) {
            return entries_.sealed_absence(attempt.name_, tags);
        });
    }

    /// Whether nobody, in whatever process, wrote or removed the key between our claim and the fill
    /// or the release of our lease, or invalidated a tag of what was to fill it, as far as is
    /// known: false without either. Nothing if the server could not say.
    static std::optional<bool> verdict(const LoadTicket& ticket) noexcept {
        return ticket.was_there_;
    }

    /// For who cannot share what another thread of this process has found or loaded.
    bool can_look_again(const Attempt& attempt) const noexcept { return attempt.asks_; }
    Look<V> look_again(Attempt& attempt) {
        attempt.patience_ = client_.patience();  // to wait for a loader was not the server's time
        return look(attempt);
    }

    /// There will be no fill: lets the others load.
    void give_up(LoadTicket& ticket, Attempt& attempt) noexcept {
        attempt.patience_.resume();
        release(ticket, attempt);
    }

private:
    static constexpr const char* operation = "get_or_load";
    static constexpr std::chrono::nanoseconds first_pause = std::chrono::milliseconds(1);
    static constexpr std::chrono::nanoseconds most_pause = std::chrono::milliseconds(32);

    bool leases() const noexcept { return lease_.nanoseconds() > 0; }

    /// What others may use meanwhile, and so no lease should take the place of.
    static bool is_of_use(Found state) noexcept {
        return state == Found::hit || state == Found::stale || state == Found::absent;
    }

    bool may_acquire(const Attempt& attempt) const noexcept {
        return leases() && attempt.asks_ && !attempt.leased_ && !is_of_use(attempt.state_);
    }

    Look<V> look_at(Attempt& attempt) {
        Look<V> look = entries_.look_at(operation, attempt.name_, attempt.patience_.deadline());
        if (look.state == Found::failed) failed(attempt, look.outcome);
        attempt.state_ = look.state;
        attempt.seen_ = look.seen;
        attempt.leased_ = look.leased;
        return look;
    }

    void failed(Attempt& attempt, const Outcome& outcome) {
        client_.report(operation, attempt.name_, outcome);
        attempt.asks_ = false;
    }

    /// Where a lease may be that nobody will use: it should not hold the next load up.
    void left_behind(Attempt& attempt, const Outcome& outcome) {
        if (may_have_been_executed(outcome)) client_.add_unconfirmed(attempt.name_);
    }

    static bool may_have_been_executed(const Outcome& outcome) noexcept {
        return outcome.error == Errc::timed_out || outcome.error == Errc::disconnected ||
               outcome.error == Errc::tls || outcome.error == Errc::protocol;
    }

    template <class Seal>
    bool fill_with(LoadTicket& ticket, Attempt& attempt, const Terms& terms, Seal&& seal) {
        attempt.patience_.resume();
        try {
            if (try_fill(ticket, attempt, terms, seal)) return true;
        } catch (...) {
            release(ticket, attempt);
            throw;
        }
        release(ticket, attempt);
        return false;
    }

    template <class Seal>
    bool try_fill(LoadTicket& ticket, Attempt& attempt, const Terms& terms, Seal& seal) {
        if (!attempt.asks_ || ticket.doomed()) return false;
        if (leases() && ticket.claim_.empty()) return false;
        const Life life = entries_.lifetime().of(terms);
        std::vector<EnvelopeTag> tags;
        if (!terms.tags.empty() && !capture_tags(ticket, attempt, terms, tags)) return false;
        std::string bytes;
        try {
            bytes = seal(life, tags);
        } catch (const std::bad_alloc&) {
            throw;
        } catch (const std::exception& refusal) {
            // The caller has its value all the same; a `put` would have thrown.
            client_.report(operation, attempt.name_, {Errc::unencodable, refusal.what()});
            return false;
        }
        const TimePoint deadline = attempt.patience_.deadline();
        bool stored = false;
        Outcome outcome;
        if (!ticket.claim_.empty()) {
            outcome =
                entries_.replace(attempt.name_, ticket.claim_, bytes, life.kept, deadline, stored);
            if (outcome.ok()) {
                ticket.was_there_ = stored;
                ticket.is_lease_ = false;
            }
        } else {
            ticket.was_there_ = false;
            outcome = entries_.set(attempt.name_, bytes, life.kept, deadline);
            stored = outcome.ok();
            if (!stored) client_.add_unconfirmed(attempt.name_);
        }
        if (outcome.ok()) return stored;
        client_.report(operation, attempt.name_, outcome);
        if (may_have_been_executed(outcome) || outcome.error == Errc::breaker_open ||
            outcome.error == Errc::unreachable)
            attempt.asks_ = false;
        return false;
    }

    /// From now on no tag that the load's result will have may be invalidated.
    void mark(LoadTicket& ticket, Attempt& attempt) {
        if (!attempt.asks_) return;
        const Outcome outcome = tags_.mark(attempt.patience_.deadline(), ticket.mark_);
        if (!outcome.ok()) failed(attempt, outcome);
    }

    /// The versions of the result's tags; false if one may have been invalidated since the load
    /// began.
    bool capture_tags(LoadTicket& ticket, Attempt& attempt, const Terms& terms,
                      std::vector<EnvelopeTag>& tags) {
        tags_.note_use();
        bool held = false;
        Outcome outcome;
        if (ticket.mark_)
            outcome =
                tags_.capture_since(*ticket.mark_, terms.tags, entries_.lifetime().longest(terms),
                                    attempt.patience_.deadline(), tags, held);
        if (!outcome.ok()) {
            failed(attempt, outcome);
        } else if (!held) {
            ticket.was_there_ = false;
        }
        return held;
    }

    /// Of a load that stores nothing nobody knows which tags it would have had: whether none at all
    /// was invalidated since it began.
    bool tags_stand(const LoadTicket& ticket, Attempt& attempt) {
        if (!ticket.mark_) return true;
        std::optional<Tags::Mark> now;
        const Outcome outcome = tags_.mark(attempt.patience_.deadline(), now);
        if (!outcome.ok()) failed(attempt, outcome);
        return now == ticket.mark_;
    }

    /// What another load has stored since we looked, if that is fresh; else a miss: with a claim in
    /// the ticket, or without if there are no leases, the server fails or the holder takes too
    /// long.
    Look<V> obtain(LoadTicket& ticket, Attempt& attempt) {
        using Clock = std::chrono::steady_clock;
        const TimePoint give_up_at = Clock::now() + most_wait_;
        auto pause = first_pause;
        while (attempt.asks_) {
            if (may_acquire(attempt)) {
                acquire(ticket, attempt);
                if (!attempt.asks_ || ticket.is_lease_) break;
            } else if (attempt.leased_) {
                const TimePoint now = Clock::now();
                if (now >= give_up_at) break;  // the holder fills, if anyone
                attempt.patience_.pause();
                std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(
                    entries_.lifetime().jittered(pause), give_up_at - now));
                attempt.patience_.resume();
                pause = std::min(2 * pause, most_pause);
            }
            Look<V> look = look_at(attempt);
            if (look.state == Found::hit || look.state == Found::absent) return look;
            if (look.state == Found::stale) {
                ticket.claim_ = attempt.seen_;
                break;
            }
            if (!leases()) break;
        }
        return {};
    }

    /// For a refresh: claims what is there, or puts a lease if after all there is nothing.
    void claim(LoadTicket& ticket, Attempt& attempt) {
        if (!is_of_use(attempt.state_) && attempt.asks_) look_at(attempt);
        if (is_of_use(attempt.state_)) {
            ticket.claim_ = attempt.seen_;
        } else if (may_acquire(attempt)) {
            acquire(ticket, attempt);
        }
    }

    /// Tries to put our lease where nothing is, or where what is there is no value.
    void acquire(LoadTicket& ticket, Attempt& attempt) {
        const std::string lease = entries_.lease(attempt.name_);
        bool acquired = false;
        const Outcome outcome =
            entries_.replace(attempt.name_, attempt.seen_, lease, Lifetime::milliseconds(lease_),
                             attempt.patience_.deadline(), acquired);
        if (!outcome.ok()) {
            failed(attempt, outcome);
            left_behind(attempt, outcome);
        }
        if (!acquired) return;
        ticket.claim_ = Seen(lease);
        ticket.is_lease_ = true;
    }

    /// There was no fill. Removes our lease if it is there, so that the others need not wait for it
    /// to end. Does not throw: at worst the lease ends by itself.
    void release(LoadTicket& ticket, Attempt& attempt) noexcept {
        if (!std::exchange(ticket.is_lease_, false)) {
            // What became of a claim that is no lease was not asked: nothing is known for sure.
            if (attempt.asks_ && !ticket.was_there_) ticket.was_there_ = false;
            return;
        }
        try {
            if (!attempt.asks_) return client_.add_unconfirmed(attempt.name_);
            bool removed = false;
            const Outcome outcome = entries_.replace(attempt.name_, ticket.claim_, {}, std::nullopt,
                                                     attempt.patience_.deadline(), removed);
            if (outcome.ok()) {
                ticket.was_there_ =
                    removed && ticket.was_there_.value_or(true) && tags_stand(ticket, attempt);
            } else {
                failed(attempt, outcome);
                client_.add_unconfirmed(attempt.name_);
            }
        } catch (const std::exception&) {
        }
    }

    const Ttl lease_;
    const std::chrono::nanoseconds most_wait_;
    Client& client_;
    Tags& tags_;
    Entries<V, Codec>& entries_;
    Tickets tickets_;
    std::uint64_t hash_salt_ = 0;
};

}  // namespace drey::redis
