#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/codec/envelope.hpp"
#include "drey/codec/envelope_tags.hpp"
#include "drey/codec/sealed.hpp"
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
#include "drey/redis/stamps.hpp"
#include "drey/redis/tags.hpp"

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
    std::vector<EnvelopeTag> tags;          // of a value or an absence, and the versions it needs
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
    Entries(const RedisOptions& options, Client& client, Tags& tags)
        : schema_(options.schema), client_(client), tags_(tags),
          lifetime_(options.ttl, options.jitter, options.seed, options.unix_clock) {}

    // ---- looking -------------------------------------------------------------------------------

    Look<V> look_at(const char* operation, const std::string& name, TimePoint deadline) {
        const bool suspect = client_.is_unconfirmed(name);
        Look<V> look;
        Reply reply;
        look.outcome = client_.ask(name, Command{"GET", name}, reply, Repeat::yes, deadline);
        if (look.outcome.ok()) {
            look = open(operation, name, reply, suspect);
            check_tags({&look, 1}, deadline);
        } else {
            look.state = Found::failed;
        }
        return look;
    }

    /// What a reply says of the key, until `check_tags`. `suspect`: when it was asked for, its
    /// removal was unconfirmed; asked afterwards, it might have been confirmed after the server had
    /// read the old value.
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
        if (envelope && envelope.header.tagged) {
            tags_.note_use();
            look.tags = read_envelope_tags(envelope.tags);
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

    /// Of what has tags that were invalidated, or are lost, makes misses that have seen it. One
    /// round trip for all of them, none if there are no tags.
    void check_tags(std::span<Look<V>> looks, TimePoint deadline) {
        Tags::Versions tags;
        for (const Look<V>& look : looks)
            for (const EnvelopeTag& tag : look.tags) tags.try_emplace(tag.name);
        if (tags.empty()) return;
        const Outcome outcome = tags_.look_up(tags, deadline);
        for (Look<V>& look : looks) {
            if (look.tags.empty() || has_versions(tags, look.tags)) continue;
            Look<V> gone;
            gone.seen = look.seen;
            gone.outcome = outcome;
            if (!outcome.ok()) gone.state = Found::failed;
            look = std::move(gone);
        }
    }

    /// Whether these bytes are the beginning of a fresh value, for who removed it without having
    /// asked for all of it. Tags that do not end within them, or cannot be asked for, are taken to
    /// hold.
    bool begins_fresh_value(std::string_view bytes, TimePoint deadline) {
        const auto header = peek_envelope(bytes);
        if (!header || header->kind != EnvelopeKind::value ||
            lifetime_.left(header->fresh_until_ms) <= 0)
            return false;
        if (!header->tagged) return true;
        tags_.note_use();
        Look<V> look;
        look.state = Found::hit;
        look.tags = read_envelope_tags(peek_envelope_tags(bytes));
        check_tags({&look, 1}, deadline);
        return look.state != Found::miss;
    }

    // ---- writing -------------------------------------------------------------------------------

    /// The value as it is stored. Throws what the codec throws.
    std::string sealed(const std::string& name, const V& value, const Life& life,
                       std::span<const EnvelopeTag> tags = {}) {
        std::string bytes;
        seal_value<Codec>(bytes, value, schema_, stamps_.next(), life.fresh_until_ms,
                          life.load_cost_us, name, tags);
        return bytes;
    }

    /// "There is no such row", as it is stored; never stale, so its end is the server's business.
    std::string sealed_absence(const std::string& name, std::span<const EnvelopeTag> tags = {}) {
        std::string bytes;
        seal_absent(bytes, schema_, stamps_.next(), 0, 0, name, tags);
        return bytes;
    }

    std::string lease(const std::string& name) {
        std::string bytes;
        seal_lease(bytes, schema_, stamps_.next(), name);
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

    /// Writes `bytes` (none: removes the key) if what is there is still what was seen, and these
    /// tags of it, if it has any, were not invalidated.
    Outcome replace(const std::string& name, const Seen& seen, std::string_view bytes,
                    const std::optional<std::string>& ttl, TimePoint deadline, bool& replaced,
                    std::span<const EnvelopeTag> tags = {}) {
        replaced = false;
        if (bytes.size() > most_argument_bytes) return Errc::too_large;
        if (Lifetime::is_over(ttl)) bytes = {};
        std::vector<std::string> names, versions;
        for (const EnvelopeTag& tag : tags) {
            names.push_back(tags_.name(tag.name));
            versions.push_back(Tags::text(tag.version));
            if (client_.is_unconfirmed(names.back())) return {};
        }
        const std::string keys = std::to_string(1 + tags.size());
        std::vector<std::string_view> arguments{
            "EVAL", tags.empty() ? scripts::replace : scripts::replace_tagged, keys, name};
        arguments.insert(arguments.end(), names.begin(), names.end());
        const std::string milliseconds = ttl.value_or("");
        arguments.insert(arguments.end(), {seen.id(), bytes, milliseconds});
        arguments.insert(arguments.end(), versions.begin(), versions.end());
        const Command command(arguments);
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

    /// After a look-up that failed none has any.
    static bool has_versions(const Tags::Versions& now, const std::vector<EnvelopeTag>& tags) {
        for (const EnvelopeTag& tag : tags)
            if (now.at(tag.name) != tag.version) return false;
        return true;
    }

    const std::uint32_t schema_;
    Client& client_;
    Tags& tags_;
    Lifetime lifetime_;
    Stamps stamps_;
};

}  // namespace drey::redis
