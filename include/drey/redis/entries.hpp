#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "drey/clock.hpp"
#include "drey/codec/envelope.hpp"
#include "drey/codec/sealed.hpp"
#include "drey/hash.hpp"
#include "drey/lookup.hpp"
#include "drey/options.hpp"
#include "drey/redis/client.hpp"
#include "drey/redis/command.hpp"
#include "drey/redis/lifetime.hpp"
#include "drey/redis/options.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/reply.hpp"
#include "drey/redis/scripts.hpp"
#include "drey/redis/seen.hpp"

namespace drey::redis {

/// What a look at a key saw.
template <class V>
struct Look {
    Found state = Found::miss;
    std::optional<V> value;                 // of a hit, or stale
    std::int64_t left = no_deadline;        // nanoseconds until it is stale, if that is known
    std::chrono::nanoseconds load_cost{0};  // 0: unknown
    Seen seen;                              // what is there
    bool leased = false;                    // that is the lease of somebody who loads it
    Outcome outcome;                        // of a look that failed

    bool is_hit() const noexcept { return state == Found::hit; }

    /// The value for who wants none but fresh ones.
    std::optional<V> fresh() && { return is_hit() ? std::move(value) : std::nullopt; }
};

/// What can be done to one key of the server, and what is found there: one of our envelopes, that
/// is a value, an absence or a lease, or something that cannot be read. Thread-safe.
template <class V, class Codec>
class Entries {
public:
    Entries(const RedisOptions& options, Client& client)
        : schema_(options.schema), client_(client),
          lifetime_(options.ttl, options.jitter, options.seed, options.unix_clock) {
        std::random_device device;
        first_stamp_ = std::uint64_t{device()} << 32 | device();
    }

    // ---- looking -------------------------------------------------------------------------------

    Look<V> look_at(const char* operation, const std::string& name, TimePoint deadline) {
        const bool suspect = client_.is_unconfirmed(name);
        Look<V> look;
        Reply reply;
        look.outcome = client_.ask(name, Command{"GET", name}, reply, Repeat::yes, deadline);
        if (look.outcome.ok()) return open(operation, name, reply, suspect);
        look.state = Found::failed;
        return look;
    }

    /// What a reply says of the key. `suspect`: when it was asked for, its removal was unconfirmed;
    /// asked afterwards, it might have been confirmed after the server had read the old value.
    Look<V> open(const char* operation, const std::string& name, const Reply& reply, bool suspect) {
        Look<V> look;
        if (reply.is_nil()) return look;
        if (!reply.is_text()) {
            look.state = Found::failed;
            look.outcome = {Errc::protocol, "an unexpected reply to GET"};
            return look;
        }
        look.seen = Seen(reply.text);
        if (suspect) return look;
        const OpenedEnvelope envelope = open_envelope(reply.text, name);
        if (envelope && envelope.header.kind == EnvelopeKind::lease) {
            look.leased = true;
            return look;
        }
        look.left = lifetime_.left(envelope.header.fresh_until_ms);
        if (is_absence(envelope)) {
            if (look.left > 0) look.state = Found::absent;
            return look;
        }
        look.load_cost = std::chrono::microseconds(envelope.header.load_cost_us);
        Undecodable why = Undecodable::none;
        look.value = open_value<Codec, V>(envelope, schema_, why);
        if (look.value) {
            look.state = look.left > 0 ? Found::hit : Found::stale;
        } else {
            client_.report(operation, name, {Errc::undecodable, std::string(to_text(why))});
        }
        return look;
    }

    /// Whether the header that these bytes begin with is that of a fresh value, for who removed it
    /// without having asked for all of it.
    bool begins_fresh_value(std::string_view bytes) const noexcept {
        const auto header = peek_envelope(bytes);
        return header && header->kind == EnvelopeKind::value &&
               lifetime_.left(header->fresh_until_ms) > 0;
    }

    // ---- writing -------------------------------------------------------------------------------

    /// The value as it is stored. Throws what the codec throws.
    std::string sealed(const std::string& name, const V& value, const Life& life) {
        std::string bytes;
        seal_value<Codec>(bytes, value, schema_, stamp(), life.fresh_until_ms, life.load_cost_us,
                          name);
        return bytes;
    }

    /// "There is no such row", as it is stored; never stale, so its end is the server's business.
    std::string sealed_absence(const std::string& name) {
        std::string bytes;
        seal_absent(bytes, schema_, stamp(), 0, 0, name);
        return bytes;
    }

    std::string lease(const std::string& name) {
        std::string bytes;
        seal_lease(bytes, schema_, stamp(), name);
        return bytes;
    }

    Lifetime& lifetime() noexcept { return lifetime_; }

    static Command set_command(const std::string& name, const std::string& bytes,
                               const std::optional<std::string>& ttl) {
        if (Lifetime::is_over(ttl)) return Command{"UNLINK", name};
        if (ttl) return Command{"SET", name, bytes, "PX", *ttl};
        return Command{"SET", name, bytes};
    }

    /// Is not repeated: if it was executed, and only its reply lost, others may have overwritten it
    /// by now.
    Outcome set(const std::string& name, const std::string& bytes,
                const std::optional<std::string>& ttl, TimePoint deadline) {
        if (bytes.size() > most_argument_bytes) return Errc::too_large;
        Reply reply;
        Outcome outcome =
            client_.ask(name, set_command(name, bytes, ttl), reply, Repeat::no, deadline);
        return outcome.ok() ? verdict_of_set(reply) : outcome;
    }

    /// Writes `bytes` (none: removes the key) if what is there is still what was seen.
    Outcome replace(const std::string& name, const Seen& seen, std::string_view bytes,
                    const std::optional<std::string>& ttl, TimePoint deadline, bool& replaced) {
        replaced = false;
        if (bytes.size() > most_argument_bytes) return Errc::too_large;
        if (Lifetime::is_over(ttl)) bytes = {};
        const Command command{"EVAL", scripts::replace,          "1", name, seen.id(),
                              bytes,  ttl ? *ttl : std::string()};
        Reply reply;
        Outcome outcome = client_.ask(name, command, reply, Repeat::no, deadline);
        if (outcome.ok() && !reply.is_integer())
            outcome = {Errc::protocol, "an unexpected reply to EVAL"};
        replaced = outcome.ok() && reply.integer == 1;
        return outcome;
    }

    /// What a reply says of a `set_command`.
    static Outcome verdict_of_set(const Reply& reply) {
        if (reply.is_status() || reply.is_integer()) return {};
        if (reply.is_error()) return Client::verdict(reply);
        return {Errc::protocol, "an unexpected reply to SET"};
    }

private:
    /// Under another schema rows may mean something else, and so may their absence.
    bool is_absence(const OpenedEnvelope& envelope) const noexcept {
        return envelope && envelope.header.kind == EnvelopeKind::absent &&
               envelope.header.schema == schema_;
    }

    /// No two are alike: in one cache they are the outputs of a permutation, and caches start at
    /// random places; so does each child that inherits a cache by fork.
    std::uint64_t stamp() noexcept {
        const auto process = static_cast<std::uint64_t>(::getpid());
        const std::uint64_t first = detail::scrambled(first_stamp_ ^ process);
        return detail::scrambled(first + stamps_.fetch_add(1, std::memory_order_relaxed));
    }

    const std::uint32_t schema_;
    Client& client_;
    Lifetime lifetime_;
    std::uint64_t first_stamp_ = 0;
    std::atomic<std::uint64_t> stamps_{0};
};

}  // namespace drey::redis
