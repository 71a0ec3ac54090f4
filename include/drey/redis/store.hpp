#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "drey/codec/envelope_tags.hpp"
#include "drey/lookup.hpp"
#include "drey/options.hpp"
#include "drey/redis/client.hpp"
#include "drey/redis/entries.hpp"
#include "drey/redis/keyspace.hpp"
#include "drey/redis/loads.hpp"
#include "drey/redis/sweep.hpp"
#include "drey/redis/tags.hpp"
#include "drey/stats.hpp"
#include "drey/terms.hpp"
#include "drey/types.hpp"

namespace drey::redis {

/// A cache over Redis: what the facade's calls come to in commands. Thread-safe.
///
/// A key of the server holds one of our envelopes: a value, the news that there is no such row, or
/// the lease of a process that is loading it. Each has a stamp of its own, so that "if it still is
/// what I saw" can be said in 36 bytes. How an invalidation wins over loads: `Loads`.
///
/// The server keeps a value as long as it may be used; until when it is fresh its envelope says. To
/// all but `find` and loads what is stale or absent is nothing at all.
///
/// What has tags is found only if none of them was invalidated: `Tags`.
///
/// A write whose success is not known may have left the old value behind: the key counts as missing
/// until the server has confirmed its removal (`Unconfirmed`).
template <class K, class V, class Codec>
class Store {
    using Look = redis::Look<V>;
    using Loads = redis::Loads<V, Codec>;

public:
    /// `dial` is how tests put another transport in.
    explicit Store(RedisOptions options, Dial dial = {})
        : options_((detail::check(options), std::move(options))), keys_(options_.prefix),
          client_(options_, std::move(dial)), tags_(keys_, client_),
          entries_(options_, client_, tags_), loads_(options_, client_, tags_, entries_) {}

    bool equal(const K& a, const K& b) const { return keys_.name(a) == keys_.name(b); }

    // ---- reading -------------------------------------------------------------------------------

    /// Calls `use(V&&)` if there is a value; whether there was.
    template <class Q, class Use>
    bool read(const Q& key, Use&& use) {
        const std::string name = keys_.name(key);
        Look look = entries_.look_at("get", name, client_.patience().deadline());
        count(look);
        if (look.state == Found::failed) client_.fail("get", name, look.outcome);
        if (!look.is_hit()) return false;
        use(std::move(*look.value));
        return true;
    }

    template <class Q>
    std::optional<V> get(const Q& key) {
        std::optional<V> found;
        read(key, [&](V&& value) { found.emplace(std::move(value)); });
        return found;
    }

    template <class Q>
    Lookup<V> find(const Q& key) {
        const std::string name = keys_.name(key);
        Look look = entries_.look_at("find", name, client_.patience().deadline());
        count_with_absences(look);
        switch (look.state) {
            case Found::hit:
                return Lookup<V>::hit(*std::move(look.value));
            case Found::stale:
                return Lookup<V>::stale(*std::move(look.value));
            case Found::absent:
                return Lookup<V>::absent();
            case Found::miss:
                return Lookup<V>::miss();
            case Found::failed:
                break;
        }
        client_.fail("find", name, look.outcome);
        return Lookup<V>::failed(look.outcome.error);
    }

    template <class Q>
    bool contains(const Q& key) {
        const std::string name = keys_.name(key);
        const Look look = entries_.look_at("contains", name, client_.patience().deadline());
        if (look.state == Found::failed) client_.fail("contains", name, look.outcome);
        return look.is_hit();
    }

    /// One round trip, and another if there are tags.
    template <class Keys, class AsKey>
    std::vector<std::optional<V>> get_many(const Keys& keys, AsKey&& as_key) {
        std::vector<std::string> names;
        std::vector<bool> suspect;
        for (const auto& key : keys) {
            names.push_back(keys_.name(as_key(key)));
            suspect.push_back(client_.is_unconfirmed(names.back()));
        }
        std::vector<std::optional<V>> values(names.size());
        if (names.empty()) return values;

        std::vector<std::string_view> arguments{"MGET"};
        arguments.insert(arguments.end(), names.begin(), names.end());
        Reply reply;
        const Patience patience = client_.patience();
        Outcome outcome =
            client_.ask(names.front(), Command(arguments), reply, Repeat::yes, patience.deadline());
        if (outcome.ok() && (!reply.is_array() || reply.elements.size() != names.size()))
            outcome = {Errc::protocol, "an unexpected reply to MGET"};
        if (!outcome.ok()) {
            misses_.fetch_add(names.size(), std::memory_order_relaxed);
            client_.fail("get_many", {}, outcome);
            return values;
        }
        std::vector<Look> looks;
        for (std::size_t i = 0; i < names.size(); ++i)
            looks.push_back(entries_.open("get_many", names[i], reply.elements[i], suspect[i]));
        entries_.check_tags(looks, patience.deadline());
        for (std::size_t i = 0; i < names.size(); ++i) {
            count(looks[i]);
            if (outcome.ok()) outcome = std::move(looks[i].outcome);
            values[i] = std::move(looks[i]).fresh();
        }
        if (!outcome.ok()) client_.fail("get_many", {}, outcome);
        return values;
    }

    // ---- writing -------------------------------------------------------------------------------

    bool put(K&& key, V&& value, const Terms& terms, WriteIf condition) {
        const Patience patience = client_.patience();
        const std::string name = keys_.name(key);
        const Life life = entries_.lifetime().of(terms);
        std::vector<EnvelopeTag> tags;
        const Outcome captured = capture(terms, patience, tags);
        if (!captured.ok()) return not_put(name, condition, captured);
        const std::string bytes = entries_.sealed(name, value, life, tags);
        if (condition == WriteIf::absent) return put_if_absent(name, bytes, life.kept, patience);

        loads_.doom(name);
        const Outcome outcome = entries_.set(name, bytes, life.kept, patience.deadline());
        return outcome.ok() ? inserted() : not_put(name, condition, outcome);
    }

    /// One round trip, and another for tags. How many were stored.
    template <class Pairs, class AsKey>
    std::size_t put_many(Pairs&& entries, const Terms& terms, AsKey&& as_key) {
        const Patience patience = client_.patience();
        std::vector<EnvelopeTag> tags;
        const Outcome captured = capture(terms, patience, tags);
        std::vector<std::string> names;
        std::vector<Command> commands;
        Outcome worst = captured;
        for (const auto& [key, value] : entries) {
            std::string name = keys_.name(as_key(key));
            const Life life = entries_.lifetime().of(terms);
            const std::string bytes = entries_.sealed(name, value, life, tags);
            loads_.doom(name);
            if (!captured.ok() || bytes.size() > most_argument_bytes) {
                client_.add_unconfirmed(name);
                if (captured.ok()) worst = Errc::too_large;
                continue;
            }
            commands.push_back(entries_.set_command(name, bytes, life.kept));
            names.push_back(std::move(name));
        }
        std::vector<Reply> replies(commands.size());
        Outcome outcome;
        if (!names.empty())
            outcome =
                client_.ask(names.front(), commands, replies, Repeat::no, patience.deadline());
        std::size_t stored = 0;
        for (std::size_t i = 0; i < names.size(); ++i) {
            Outcome own = outcome.ok() ? entries_.verdict_of_set(replies[i]) : outcome;
            if (own.ok()) {
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
    bool update(K&& key, F& f, const Terms& terms) {
        const std::string name = keys_.name(key);
        Patience patience = client_.patience();
        for (int round = 0; round < most_rounds; ++round) {
            pause_after(round);
            Look look = entries_.look_at("update", name, patience.deadline());
            if (round == 0) count(look);
            if (look.state == Found::failed) return not_updated(name, look.outcome);
            std::vector<EnvelopeTag> tags;
            const Outcome captured = capture(terms, patience, tags);
            if (!captured.ok()) return not_updated(name, captured);
            patience.pause();
            const Seen seen = look.seen;
            const std::vector<EnvelopeTag> seen_tags = std::move(look.tags);
            const std::optional<V> next = std::invoke(f, std::move(look).fresh());
            patience.resume();
            loads_.doom(name);
            bool replaced = false;
            const Life life = entries_.lifetime().of(terms);
            const std::string bytes =
                next ? entries_.sealed(name, *next, life, tags) : std::string();
            const Outcome outcome = entries_.replace(name, seen, bytes, life.kept,
                                                     patience.deadline(), replaced, seen_tags);
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
        loads_.doom(name);
        const Patience patience = client_.patience();
        Reply reply;
        const Outcome outcome =
            client_.ask(name, Command{"GETDEL", name}, reply, Repeat::no, patience.deadline());
        if (!outcome.ok()) {
            client_.add_unconfirmed(name);
            client_.fail("take", name, outcome);
            return std::nullopt;
        }
        Look look = entries_.open("take", name, reply, suspect);
        entries_.check_tags({&look, 1}, patience.deadline());
        count(look);
        if (look.state == Found::failed) client_.fail("take", name, look.outcome);
        if (look.is_hit()) removed(Removal::erased, 1);
        return std::move(look).fresh();
    }

    template <class Q>
    std::size_t erase(const Q& key) {
        const std::string name = keys_.name(key);
        loads_.doom(name);
        // The first says whether what goes is a fresh value: all that the header has to say, and
        // the tags, if there may be any.
        const Patience patience = client_.patience();
        const Command commands[] = {{"GETRANGE", name, "0", tags_.in_use() ? "4095" : "35"},
                                    {"UNLINK", name}};
        std::array<Reply, 2> replies;
        Outcome outcome = client_.ask(name, commands, replies, Repeat::yes, patience.deadline());
        if (outcome.ok()) outcome = Client::verdict(replies[1]);
        if (outcome.ok() && !replies[1].is_integer())
            outcome = {Errc::protocol, "an unexpected reply to UNLINK"};
        if (!outcome.ok()) {
            client_.add_unconfirmed(name);
            client_.fail("erase", name, outcome);
            return 0;
        }
        const bool was_value = replies[1].integer == 1 &&
                               entries_.begins_fresh_value(replies[0].text, patience.deadline());
        return removed(Removal::erased, was_value ? 1 : 0);
    }

    /// Returns how many keys that removed, those included that hold no fresh value.
    std::size_t erase_matching(std::string_view glob) {
        loads_.doom_all();
        std::size_t count = 0;
        const Outcome outcome = sweep_.erase(glob, count);
        return done_to("erase_matching", outcome, removed(Removal::erased, count));
    }

    std::size_t clear() {
        loads_.doom_all();
        std::size_t count = 0;
        const Outcome outcome = sweep_.clear(count);
        return done_to("clear", outcome, removed(Removal::cleared, count));
    }

    void invalidate_tag(std::string_view tag) {
        const Outcome outcome = tags_.invalidate(tag, client_.patience().deadline());
        if (!outcome.ok()) client_.fail("invalidate_tag", tags_.name(tag), outcome);
    }

    // ---- for loading ---------------------------------------------------------------------------

    class Attempt : public Loads::Attempt {
    public:
        template <class Q>
        Attempt(Store& store, const Q& key, Counts counts = Counts::yes)
            : Loads::Attempt(store.loads_, store.keys_.name(key)), counts_(counts) {}

    private:
        friend class Store;
        Counts counts_;
    };

    class LoadTicket : public Loads::LoadTicket {
    public:
        LoadTicket(Store& store, Hash h) : Loads::LoadTicket(store.loads_, h) {}
    };

    template <class Q, class Use>
    Found look(const Q&, Attempt& attempt, Use&& use) {
        const TagTime now = tags_.time();
        Look look = loads_.look(attempt);
        if (attempt.counts_ == Counts::yes) count_with_absences(look);
        if (look.value)
            use(*std::move(look.value),
                Reading{.state = look.state,
                        .left = look.left,
                        .load_cost = look.load_cost,
                        .tags_hold = look.tags.empty() ? any_tag_time : now});
        return look.state;
    }

    template <class Use>
    Found prepare(LoadTicket& ticket, const K&, Attempt& attempt, LoadFor why, Use&& use) {
        Look look = loads_.prepare(ticket, attempt, why);
        if (look.is_hit()) use(*std::move(look.value));
        return look.state;
    }

    bool fill(LoadTicket& ticket, K&&, V&& value, const Terms& terms, Attempt& attempt) {
        return loads_.fill(ticket, attempt, value, terms) && inserted();
    }
    bool fill_absent(LoadTicket& ticket, K&&, const Terms& terms, Attempt& attempt) {
        return loads_.fill_absent(ticket, attempt, terms) && inserted();
    }

    /// How often a tag was invalidated in this process. What happened in others the verdict says.
    TagTime tag_time() const noexcept { return tags_.time(); }

    static std::optional<bool> verdict(const LoadTicket& ticket) noexcept {
        return Loads::verdict(ticket);
    }
    bool can_look_again(const Attempt& attempt) const noexcept {
        return loads_.can_look_again(attempt);
    }
    template <class Use>
    bool look_again(Attempt& attempt, Use&& use) {
        Look look = loads_.look_again(attempt);
        if (look.is_hit()) use(*std::move(look.value));
        return look.is_hit();
    }

    void give_up(LoadTicket& ticket, Attempt& attempt) noexcept { loads_.give_up(ticket, attempt); }

    // ---- the rest ------------------------------------------------------------------------------

    /// How many keys there are below the prefix, those included that hold no fresh value. Linear in
    /// the database.
    std::size_t size() {
        std::size_t count = 0;
        const Outcome outcome = sweep_.count(count);
        return done_to("size", outcome, count);
    }

    Stats stats() const {
        Stats stats;
        stats.hits = hits_.load(std::memory_order_relaxed);
        stats.misses = misses_.load(std::memory_order_relaxed);
        stats.absent_hits = absent_hits_.load(std::memory_order_relaxed);
        stats.insertions = insertions_.load(std::memory_order_relaxed);
        for (std::size_t cause = 0; cause < removal_causes; ++cause)
            stats.removals[cause] = removals_[cause].load(std::memory_order_relaxed);
        client_.add_to(stats);
        return stats;
    }

    RedisStatus status() { return client_.status(); }

private:
    static constexpr int most_rounds = 256;

    /// The versions of the tags that a value is to have, of before it is stored.
    Outcome capture(const Terms& terms, const Patience& patience, std::vector<EnvelopeTag>& tags) {
        if (terms.tags.empty()) return {};
        return tags_.capture(terms.tags, entries_.lifetime().longest(terms), patience.deadline(),
                             tags);
    }

    /// The value that was there is not to be found any more, if it was to be overwritten.
    bool not_put(const std::string& name, WriteIf condition, const Outcome& outcome) {
        if (condition == WriteIf::always) {
            loads_.doom(name);
            client_.add_unconfirmed(name);
        }
        client_.fail(condition == WriteIf::always ? "put" : "put_if_absent", name, outcome);
        return false;
    }

    bool put_if_absent(const std::string& name, const std::string& bytes,
                       const std::optional<std::string>& ttl, const Patience& patience) {
        Seen seen;
        for (int round = 0; round < most_rounds; ++round) {
            pause_after(round);
            bool stored = false;
            const Outcome outcome =
                entries_.replace(name, seen, bytes, ttl, patience.deadline(), stored);
            if (outcome.ok() && stored) {
                loads_.doom(name);
                return inserted();
            }
            Look look;
            if (outcome.ok()) look = entries_.look_at("put_if_absent", name, patience.deadline());
            if (!outcome.ok() || look.state == Found::failed)
                return not_put(name, WriteIf::absent, outcome.ok() ? look.outcome : outcome);
            if (look.is_hit()) return false;
            seen = look.seen;  // a lease, stale, an absence, or nothing that could be read
        }
        client_.fail("put_if_absent", name, {Errc::contended});
        return false;
    }

    /// Lets others finish who write the same key, more each time, so that somebody gets through.
    void pause_after(int round) {
        if (round == 0) return;
        const auto most = std::chrono::microseconds(std::min(50 * round, 2000));
        std::this_thread::sleep_for(entries_.lifetime().jittered(most));
    }

    bool not_updated(const std::string& name, const Outcome& outcome) {
        client_.add_unconfirmed(name);
        client_.fail("update", name, outcome);
        return false;
    }

    /// How many keys something was done to, if not to all of them for this reason.
    std::size_t done_to(const char* operation, const Outcome& outcome, std::size_t count) {
        if (!outcome.ok()) client_.fail(operation, {}, outcome);
        return count;
    }

    void count(const Look& look) noexcept {
        (look.is_hit() ? hits_ : misses_).fetch_add(1, std::memory_order_relaxed);
    }
    /// For who can make something of the news that there is no such row.
    void count_with_absences(const Look& look) noexcept {
        if (look.state != Found::absent) return count(look);
        hits_.fetch_add(1, std::memory_order_relaxed);
        absent_hits_.fetch_add(1, std::memory_order_relaxed);
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
    Client client_;
    Tags tags_;
    Entries<V, Codec> entries_;
    Loads loads_;
    Sweep sweep_{keys_, client_};
    std::atomic<std::uint64_t> hits_{0};
    std::atomic<std::uint64_t> misses_{0};
    std::atomic<std::uint64_t> absent_hits_{0};
    std::atomic<std::uint64_t> insertions_{0};
    std::array<std::atomic<std::uint64_t>, removal_causes> removals_{};
};

}  // namespace drey::redis
