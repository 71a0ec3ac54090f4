#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "drey/codec/envelope.hpp"
#include "drey/codec/sealed.hpp"
#include "drey/detail/tickets.hpp"
#include "drey/hash.hpp"
#include "drey/lookup.hpp"
#include "drey/options.hpp"
#include "drey/redis/client.hpp"
#include "drey/redis/keyspace.hpp"
#include "drey/redis/lifetime.hpp"
#include "drey/redis/scripts.hpp"
#include "drey/redis/seen.hpp"
#include "drey/stats.hpp"
#include "drey/types.hpp"

namespace drey::redis {

/// A cache's entries on Redis: what the facade's calls come to in commands. Thread-safe.
///
/// A key of the server holds one of our envelopes: a value, or the lease of a process that is
/// loading it. Each has a stamp of its own, so that "if it still is what I saw" can be said in 36
/// bytes. Whatever writes or removes the key thereby ends the lease, and a fill that finds its
/// lease gone is dropped: an invalidation, by whatever process, cannot lose to a load.
///
/// A write whose success is not known may have left the old value behind: the key counts as missing
/// until the server has confirmed its removal (`Unconfirmed`).
template <class K, class V, class Codec>
class Store {
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
        void doom(Hash h) {
            const std::lock_guard lock(mutex);
            out.doom(h);
        }
        void doom_all() {
            const std::lock_guard lock(mutex);
            out.doom_all();
        }
    };

public:
    /// `dial` is how tests put another transport in.
    explicit Store(RedisOptions options, Dial dial = {})
        : options_((detail::check(options), std::move(options))), keys_(options_.prefix),
          lifetime_(options_.ttl, options_.jitter, options_.seed),
          client_(options_, std::move(dial)) {
        std::random_device device;
        const auto word = [&] { return std::uint64_t{device()} << 32 | device(); };
        stamp_salt_ = word();
        hash_salt_ = word();
    }

    bool equal(const K& a, const K& b) const { return keys_.name(a) == keys_.name(b); }

    // ---- reading -------------------------------------------------------------------------------

    /// Calls `use(V&&)` if there is a value; whether there was.
    template <class Q, class Use>
    bool read(const Q& key, Use&& use) {
        const std::string name = keys_.name(key);
        Look look = look_at(name, client_.patience().deadline());
        count(look);
        if (look.state == Found::failed) client_.fail("get", name, look.outcome);
        if (!look.value) return false;
        use(std::move(*look.value));
        return true;
    }

    template <class Q>
    Lookup<V> find(const Q& key) {
        const std::string name = keys_.name(key);
        Look look = look_at(name, client_.patience().deadline());
        count(look);
        if (look.state == Found::failed) {
            client_.fail("find", name, look.outcome);
            return Lookup<V>::failed(look.outcome.error);
        }
        return look.value ? Lookup<V>::hit(*std::move(look.value)) : Lookup<V>::miss();
    }

    template <class Q>
    bool contains(const Q& key) {
        const std::string name = keys_.name(key);
        const Look look = look_at(name, client_.patience().deadline());
        if (look.state == Found::failed) client_.fail("contains", name, look.outcome);
        return look.value.has_value();
    }

    /// One round trip.
    template <class Keys>
    std::vector<std::optional<V>> get_many(const Keys& keys) {
        std::vector<std::string> names;
        std::vector<bool> suspect;
        for (const auto& key : keys) {
            names.push_back(keys_.name(key));
            suspect.push_back(client_.is_unconfirmed(names.back()));
        }
        std::vector<std::optional<V>> values(names.size());
        if (names.empty()) return values;

        std::vector<std::string_view> arguments{"MGET"};
        arguments.insert(arguments.end(), names.begin(), names.end());
        Reply reply;
        Outcome outcome = client_.ask(names.front(), Command(arguments), reply, Repeat::yes,
                                      client_.patience().deadline());
        if (outcome.ok() && (!reply.is_array() || reply.elements.size() != names.size()))
            outcome = {Errc::protocol, "an unexpected reply to MGET"};
        if (!outcome.ok()) {
            misses_.fetch_add(names.size(), std::memory_order_relaxed);
            client_.fail("get_many", {}, outcome);
            return values;
        }
        for (std::size_t i = 0; i < names.size(); ++i) {
            Look look = open(names[i], reply.elements[i], suspect[i]);
            count(look);
            values[i] = std::move(look.value);
        }
        return values;
    }

    // ---- writing -------------------------------------------------------------------------------

    bool put(K&& key, V&& value, std::optional<Ttl> ttl, WriteIf condition) {
        const std::string name = keys_.name(key);
        const std::string bytes = sealed(value);
        if (condition == WriteIf::absent) return put_if_absent(name, bytes, lifetime_.of(ttl));

        doom(name);
        const Outcome outcome = set(name, bytes, lifetime_.of(ttl), client_.patience().deadline());
        if (outcome.ok()) return inserted();
        client_.add_unconfirmed(name);
        client_.fail("put", name, outcome);
        return false;
    }

    /// One round trip. How many were stored.
    template <class Entries>
    std::size_t put_many(Entries&& entries, std::optional<Ttl> ttl) {
        std::vector<std::string> names;
        std::vector<Command> commands;
        for (auto&& [key, value] : entries) {
            const std::string& name = names.emplace_back(keys_.name(key));
            commands.push_back(set_command(name, sealed(value), lifetime_.of(ttl)));
            doom(name);
        }
        if (names.empty()) return 0;
        std::vector<Reply> replies(commands.size());
        const Outcome outcome = client_.ask(names.front(), commands, replies, Repeat::yes,
                                            client_.patience().deadline());
        std::size_t stored = 0;
        Outcome worst = outcome;
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (Outcome own = outcome.ok() ? Client::verdict(replies[i]) : outcome; own.ok()) {
                ++stored;
            } else {
                client_.add_unconfirmed(names[i]);
                worst = std::move(own);
            }
        }
        insertions_.fetch_add(stored, std::memory_order_relaxed);
        if (!worst.ok()) client_.fail("put_many", {}, worst);
        return stored;
    }

    /// Compare-and-set in a loop, all within one time limit; `f` does not count.
    template <class F>
    bool update(K&& key, F& f, std::optional<Ttl> ttl) {
        const std::string name = keys_.name(key);
        Patience patience = client_.patience();
        for (int round = 0; round < most_rounds; ++round) {
            Look look = look_at(name, patience.deadline());
            if (round == 0) count(look);
            if (look.state == Found::failed) return not_updated(name, look.outcome);
            patience.pause();
            const std::optional<V> next = std::invoke(f, std::move(look.value));
            patience.resume();
            doom(name);
            bool replaced = false;
            const std::string bytes = next ? sealed(*next) : std::string();
            const Outcome outcome =
                replace(name, look.seen, bytes, lifetime_.of(ttl), patience.deadline(), replaced);
            if (!outcome.ok()) return not_updated(name, outcome);
            if (replaced) return next ? inserted() : false;
        }
        client_.fail("update", name, {Errc::contended});
        return false;
    }

    // ---- removing ------------------------------------------------------------------------------

    template <class Q>
    std::optional<V> take(const Q& key) {
        const std::string name = keys_.name(key);
        const bool suspect = client_.is_unconfirmed(name);
        doom(name);
        Reply reply;
        const Outcome outcome = client_.ask(name, Command{"GETDEL", name}, reply, Repeat::no,
                                            client_.patience().deadline());
        if (!outcome.ok()) {
            client_.add_unconfirmed(name);
            client_.fail("take", name, outcome);
            return std::nullopt;
        }
        Look look = open(name, reply, suspect);
        count(look);
        if (look.value) removed(Removal::erased, 1);
        return std::move(look.value);
    }

    template <class Q>
    std::size_t erase(const Q& key) {
        const std::string name = keys_.name(key);
        doom(name);
        // The first says whether what goes is a value: it may be a lease.
        const Command commands[] = {{"GETRANGE", name, "0", "5"}, {"UNLINK", name}};
        std::array<Reply, 2> replies;
        Outcome outcome =
            client_.ask(name, commands, replies, Repeat::yes, client_.patience().deadline());
        if (outcome.ok()) outcome = Client::verdict(replies[1]);
        if (!outcome.ok()) {
            client_.add_unconfirmed(name);
            client_.fail("erase", name, outcome);
            return 0;
        }
        const bool was_value = replies[1].integer == 1 && replies[0].text == value_mark;
        return removed(Removal::erased, was_value ? 1 : 0);
    }

    /// Returns how many keys that removed, leases included.
    std::size_t erase_matching(std::string_view glob) {
        return erase_pattern("erase_matching", glob, Removal::erased);
    }

    std::size_t clear() { return erase_pattern("clear", "*", Removal::cleared); }

    // ---- for loading ---------------------------------------------------------------------------

    /// One call's way from the look-up that misses to the fill.
    class Attempt {
    public:
        template <class Q>
        Attempt(Store& store, const Q& key)
            : name_(store.keys_.name(key)), patience_(store.client_.patience()), store_(store) {}

        Hash hash() const noexcept { return store_.hash(name_); }

    private:
        friend class Store;

        const std::string name_;
        Patience patience_;
        const Store& store_;
        bool asks_ = true;  // false once the server has failed: it is not asked again in this call
        Seen seen_;         // at the key when last looked at
        bool leased_ = false;  // that is another's lease
    };

    /// The right to fill, for one load.
    class LoadTicket : public TicketOf<Tickets> {
    public:
        LoadTicket(Store& store, Hash h) : TicketOf<Tickets>(store.tickets_, h) {}

    private:
        friend class Store;
        Seen lease_;  // ours; empty: none
    };

    /// As `read` for `get`, remembering what was there. Never throws for the server's failure:
    /// there is a loader.
    template <class Q, class Use>
    bool read(const Q&, Attempt& attempt, Use&& use) {
        Look look = look_at(attempt.name_, attempt.patience_.deadline());
        count(look);
        return note(look, attempt, use);
    }

    /// Takes the key's lease, or waits for who has it. Calls `use(V&&)` and returns true if a value
    /// is there by then; else the caller is to load, and to `fill` or `give_up` after that.
    template <class Use>
    bool prepare(LoadTicket& ticket, const K&, Attempt& attempt, Use&& use) {
        if (obtain(ticket, attempt, use)) return true;
        attempt.patience_.pause();
        return false;
    }

    /// Stores what was loaded unless the key was written or removed meanwhile, here or elsewhere.
    bool fill(LoadTicket& ticket, K&&, V&& value, std::optional<Ttl> ttl, Attempt& attempt) {
        attempt.patience_.resume();
        if (ticket.doomed()) return release(ticket, attempt), false;
        if (!attempt.asks_ || (leases() && ticket.lease_.empty())) return false;
        std::string bytes;
        try {
            bytes = sealed(value);
        } catch (const std::bad_alloc&) {
            throw;
        } catch (const std::exception& refusal) {
            // The caller has its value all the same; a `put` would have thrown.
            client_.report(loading, attempt.name_, {Errc::unencodable, refusal.what()});
            return release(ticket, attempt), false;
        }
        bool stored = false;
        Outcome outcome;
        if (leases()) {
            outcome = replace(attempt.name_, std::exchange(ticket.lease_, {}), bytes,
                              lifetime_.of(ttl), attempt.patience_.deadline(), stored);
        } else {
            outcome = set(attempt.name_, bytes, lifetime_.of(ttl), attempt.patience_.deadline());
            stored = outcome.ok();
            if (!stored) client_.add_unconfirmed(attempt.name_);
        }
        if (!outcome.ok()) client_.report(loading, attempt.name_, outcome);
        return stored && inserted();
    }

    /// There will be no fill.
    void give_up(LoadTicket& ticket, Attempt& attempt) noexcept {
        attempt.patience_.resume();
        try {
            release(ticket, attempt);
        } catch (const std::bad_alloc&) {  // then the lease ends by itself
        }
    }

    // ---- the rest ------------------------------------------------------------------------------

    /// How many keys there are below the prefix, leases included. Linear in the database.
    std::size_t size() {
        std::unordered_set<std::uint64_t> seen;  // SCAN may say a name twice
        const Outcome outcome =
            client_.scan(keys_.pattern("*"), [&](std::span<const std::string_view> names) {
                for (const auto name : names) seen.insert(hash(name));
                return Outcome();
            });
        if (!outcome.ok()) client_.fail("size", {}, outcome);
        return seen.size();
    }

    Stats stats() const {
        Stats stats;
        stats.hits = hits_.load(std::memory_order_relaxed);
        stats.misses = misses_.load(std::memory_order_relaxed);
        stats.insertions = insertions_.load(std::memory_order_relaxed);
        for (std::size_t cause = 0; cause < removal_causes; ++cause)
            stats.removals[cause] = removals_[cause].load(std::memory_order_relaxed);
        client_.add_to(stats);
        return stats;
    }

    RedisStatus status() { return client_.status(); }

private:
    static constexpr int most_rounds = 32;
    static constexpr std::chrono::nanoseconds first_pause = std::chrono::milliseconds(1);
    static constexpr std::chrono::nanoseconds most_pause = std::chrono::milliseconds(32);
    static constexpr std::int64_t most_wait = 3'600'000'000'000;  // an hour in nanoseconds
    static constexpr std::string_view value_mark{"drey\1v", 6};
    static constexpr const char* loading = "get_or_load";

    /// What a look at a key saw.
    struct Look {
        Found state = Found::miss;
        std::optional<V> value;
        Seen seen;
        bool leased = false;  // somebody is loading it
        Outcome outcome;      // of a look that failed
    };

    bool leases() const noexcept { return options_.lease.nanoseconds() > 0; }

    Look look_at(const std::string& name, TimePoint deadline) {
        const bool suspect = client_.is_unconfirmed(name);
        Look look;
        Reply reply;
        look.outcome = client_.ask(name, Command{"GET", name}, reply, Repeat::yes, deadline);
        if (!look.outcome.ok()) {
            look.state = Found::failed;
            return look;
        }
        return open(name, reply, suspect);
    }

    /// What a reply says of the key. `suspect`: when it was asked for, its removal was unconfirmed;
    /// asked afterwards, it might have been confirmed after the server had read the old value.
    Look open(const std::string& name, const Reply& reply, bool suspect) {
        Look look;
        if (reply.is_nil()) return look;
        if (!reply.is_text()) {
            look.state = Found::failed;
            look.outcome = {Errc::protocol, "an unexpected reply to GET"};
            return look;
        }
        const OpenedEnvelope envelope = open_envelope(reply.text);
        look.seen = Seen(reply.text);
        if (suspect) return look;
        if (envelope && envelope.header.kind == EnvelopeKind::lease) {
            look.leased = true;
            return look;
        }
        Undecodable why = Undecodable::none;
        look.value = open_value<Codec, V>(envelope, options_.schema, why);
        if (look.value) {
            look.state = Found::hit;
        } else {
            client_.report("get", name, {Errc::undecodable, std::string(to_text(why))});
        }
        return look;
    }

    template <class Use>
    bool note(Look& look, Attempt& attempt, Use& use) {
        if (look.state == Found::failed) {
            client_.report(loading, attempt.name_, look.outcome);
            attempt.asks_ = false;
        }
        if (look.value) {
            use(std::move(*look.value));
            return true;
        }
        attempt.seen_ = look.seen;
        attempt.leased_ = look.leased;
        return false;
    }

    /// Our lease, or a value from who has it: true. False to load without, if the server fails or
    /// the holder takes too long.
    template <class Use>
    bool obtain(LoadTicket& ticket, Attempt& attempt, Use& use) {
        using Clock = std::chrono::steady_clock;
        const TimePoint give_up_at =
            Clock::now() +
            std::chrono::nanoseconds(std::min(options_.lease_wait.nanoseconds(), most_wait));
        auto pause = first_pause;
        while (attempt.asks_) {
            if (leases() && !attempt.leased_) {
                acquire(ticket, attempt);
                if (!ticket.lease_.empty()) return false;
            } else if (attempt.leased_) {
                const TimePoint now = Clock::now();
                if (now >= give_up_at) return false;  // the holder fills, if anyone
                attempt.patience_.pause();
                std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(
                    lifetime_.jittered(pause), give_up_at - now));
                attempt.patience_.resume();
                pause = std::min(2 * pause, most_pause);
            }
            if (!attempt.asks_) break;
            // What another load has stored since we looked, in this process or elsewhere.
            Look look = look_at(attempt.name_, attempt.patience_.deadline());
            if (note(look, attempt, use)) return true;
            if (!leases()) break;
        }
        return false;
    }

    /// Tries to put our lease where nothing is, or where what is there is no value.
    void acquire(LoadTicket& ticket, Attempt& attempt) {
        std::string lease;
        seal_lease(lease, options_.schema, stamp());
        const auto term = Lifetime::milliseconds(options_.lease);
        bool acquired = false;
        const Outcome outcome = replace(attempt.name_, attempt.seen_, lease, term,
                                        attempt.patience_.deadline(), acquired);
        if (!outcome.ok()) {
            client_.report(loading, attempt.name_, outcome);
            attempt.asks_ = false;
        }
        if (acquired) ticket.lease_ = Seen(lease);
    }

    /// Removes our lease, so that the others need not wait for it to end.
    void release(LoadTicket& ticket, Attempt& attempt) {
        if (ticket.lease_.empty() || !attempt.asks_) return;
        bool removed = false;
        const Outcome outcome = replace(attempt.name_, std::exchange(ticket.lease_, {}), {},
                                        std::nullopt, attempt.patience_.deadline(), removed);
        if (!outcome.ok()) client_.report(loading, attempt.name_, outcome);
    }

    bool put_if_absent(const std::string& name, const std::string& bytes,
                       const std::optional<std::string>& ttl) {
        Patience patience = client_.patience();
        Seen seen;
        for (int round = 0; round < most_rounds; ++round) {
            bool stored = false;
            const Outcome outcome = replace(name, seen, bytes, ttl, patience.deadline(), stored);
            if (outcome.ok() && stored) {
                doom(name);
                return inserted();
            }
            Look look;
            if (outcome.ok()) look = look_at(name, patience.deadline());
            if (!outcome.ok() || look.state == Found::failed) {
                client_.fail("put_if_absent", name, outcome.ok() ? look.outcome : outcome);
                return false;
            }
            if (look.value) return false;
            seen = look.seen;  // a lease, or nothing that could be read
        }
        client_.fail("put_if_absent", name, {Errc::contended});
        return false;
    }

    bool not_updated(const std::string& name, const Outcome& outcome) {
        client_.add_unconfirmed(name);
        client_.fail("update", name, outcome);
        return false;
    }

    static Command set_command(const std::string& name, const std::string& bytes,
                               const std::optional<std::string>& ttl) {
        if (Lifetime::is_over(ttl)) return Command{"UNLINK", name};
        if (ttl) return Command{"SET", name, bytes, "PX", *ttl};
        return Command{"SET", name, bytes};
    }

    Outcome set(const std::string& name, const std::string& bytes,
                const std::optional<std::string>& ttl, TimePoint deadline) {
        if (bytes.size() > most_argument_bytes) return Errc::too_large;
        Reply reply;
        return client_.ask(name, set_command(name, bytes, ttl), reply, Repeat::yes, deadline);
    }

    /// Writes `bytes` (none: removes the key) if what is there is still what was seen.
    Outcome replace(const std::string& name, const Seen& seen, std::string_view bytes,
                    const std::optional<std::string>& ttl, TimePoint deadline, bool& replaced) {
        if (bytes.size() > most_argument_bytes) return Errc::too_large;
        if (Lifetime::is_over(ttl)) bytes = {};
        Reply reply;
        Outcome outcome = client_.ask(name,
                                      Command{"EVAL", scripts::replace, "1", name, seen.id(), bytes,
                                              ttl ? *ttl : std::string()},
                                      reply, Repeat::no, deadline);
        replaced = outcome.ok() && reply.is_integer() && reply.integer == 1;
        return outcome;
    }

    std::size_t erase_pattern(const char* operation, std::string_view glob, Removal cause) {
        tickets_.doom_all();
        std::size_t count = 0;
        const Outcome outcome =
            client_.scan(keys_.pattern(glob), [&](std::span<const std::string_view> names) {
                std::vector<std::string_view> arguments{"UNLINK"};
                arguments.insert(arguments.end(), names.begin(), names.end());
                Reply reply;
                Outcome unlinked = client_.ask(names.front(), Command(arguments), reply,
                                               Repeat::yes, client_.patience().deadline());
                if (unlinked.ok()) {
                    count += static_cast<std::size_t>(std::max(reply.integer, 0LL));
                } else {
                    for (const auto name : names) client_.add_unconfirmed(name);
                }
                return unlinked;
            });
        removed(cause, count);
        if (!outcome.ok()) client_.fail(operation, {}, outcome);
        return count;
    }

    std::string sealed(const V& value) {
        std::string bytes;
        seal_value<Codec>(bytes, value, options_.schema, stamp());
        return bytes;
    }

    /// No two are alike: in one cache they are the outputs of a permutation, and caches start at
    /// random places.
    std::uint64_t stamp() noexcept {
        return detail::scrambled(stamp_salt_ + stamps_.fetch_add(1, std::memory_order_relaxed));
    }

    /// Tells loads of this process apart.
    Hash hash(std::string_view name) const noexcept { return detail::hash_bytes(name, hash_salt_); }
    void doom(const std::string& name) { tickets_.doom(hash(name)); }

    void count(const Look& look) noexcept {
        (look.value ? hits_ : misses_).fetch_add(1, std::memory_order_relaxed);
    }
    bool inserted() noexcept {
        insertions_.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    std::size_t removed(Removal cause, std::size_t count) noexcept {
        removals_[static_cast<std::size_t>(cause)].fetch_add(count, std::memory_order_relaxed);
        return count;
    }

    const RedisOptions options_;
    const Keyspace keys_;
    Lifetime lifetime_;
    Client client_;
    Tickets tickets_;
    std::uint64_t stamp_salt_ = 0;
    std::uint64_t hash_salt_ = 0;

    std::atomic<std::uint64_t> stamps_{0};
    std::atomic<std::uint64_t> hits_{0};
    std::atomic<std::uint64_t> misses_{0};
    std::atomic<std::uint64_t> insertions_{0};
    std::array<std::atomic<std::uint64_t>, removal_causes> removals_{};
};

}  // namespace drey::redis
