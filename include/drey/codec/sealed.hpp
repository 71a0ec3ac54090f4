#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "drey/codec/codec.hpp"
#include "drey/codec/envelope.hpp"
#include "drey/codec/envelope_tags.hpp"

/// Values in envelopes: what a shared backend writes to its store and reads from it.
namespace drey {

/// Why there is no value in some bytes. All of them are a miss; they are told apart for statistics.
enum class Undecodable {
    none,
    foreign,        ///< something else than drey wrote them
    truncated,      ///< they end within the header
    corrupt,        ///< they are not what was written
    other_version,  ///< a drey of another version wrote them, and this one cannot read them
    other_codec,    ///< another codec wrote the value
    other_schema,   ///< the value was written under another schema
    not_a_value,    ///< a lease, or the mark of an absent row
    payload,        ///< the codec did not accept its own bytes: a change without a new schema
};

constexpr std::string_view to_text(Undecodable why) noexcept {
    switch (why) {
        case Undecodable::none:
            return "none";
        case Undecodable::foreign:
            return "foreign";
        case Undecodable::truncated:
            return "truncated";
        case Undecodable::corrupt:
            return "corrupt";
        case Undecodable::other_version:
            return "other version";
        case Undecodable::other_codec:
            return "other codec";
        case Undecodable::other_schema:
            return "other schema";
        case Undecodable::not_a_value:
            return "not a value";
        case Undecodable::payload:
            return "payload";
    }
    return "unknown";
}

/// The same reason in the terms of who wants a value.
constexpr Undecodable to_undecodable(EnvelopeError error) noexcept {
    switch (error) {
        case EnvelopeError::none:
            return Undecodable::none;
        case EnvelopeError::foreign:
            return Undecodable::foreign;
        case EnvelopeError::truncated:
            return Undecodable::truncated;
        case EnvelopeError::other_version:
            return Undecodable::other_version;
        case EnvelopeError::corrupt:
            return Undecodable::corrupt;
    }
    return Undecodable::foreign;
}

/// Appends a value in its envelope. Throws what the codec throws, and std::bad_alloc; then `out` is
/// as it was.
template <class Codec, class V>
void seal_value(std::string& out, const V& value, std::uint32_t schema, std::uint64_t stamp,
                std::int64_t fresh_until_ms = 0, std::uint32_t load_cost_us = 0,
                std::string_view key = {}, std::span<const EnvelopeTag> tags = {}) {
    const std::size_t begin = begin_envelope(out);
    try {
        if (!tags.empty()) append_envelope_tags(out, tags);
        detail::encode_with<Codec>(value, out);
    } catch (...) {
        out.resize(begin);
        throw;
    }
    seal_envelope(out, begin,
                  {.kind = EnvelopeKind::value,
                   .codec = detail::codec_id<Codec>,
                   .schema = schema,
                   .stamp = stamp,
                   .fresh_until_ms = fresh_until_ms,
                   .load_cost_us = load_cost_us,
                   .tagged = !tags.empty()},
                  key);
}

/// Appends an envelope that says: somebody is loading the value. The stamp says who.
inline void seal_lease(std::string& out, std::uint32_t schema, std::uint64_t stamp,
                       std::string_view key = {}) {
    seal_envelope(out, begin_envelope(out),
                  {.kind = EnvelopeKind::lease, .schema = schema, .stamp = stamp}, key);
}

/// Appends an envelope that says: there is no such row.
inline void seal_absent(std::string& out, std::uint32_t schema, std::uint64_t stamp,
                        std::int64_t fresh_until_ms = 0, std::uint32_t load_cost_us = 0,
                        std::string_view key = {}, std::span<const EnvelopeTag> tags = {}) {
    const std::size_t begin = begin_envelope(out);
    if (!tags.empty()) append_envelope_tags(out, tags);
    seal_envelope(out, begin,
                  {.kind = EnvelopeKind::absent,
                   .schema = schema,
                   .stamp = stamp,
                   .fresh_until_ms = fresh_until_ms,
                   .load_cost_us = load_cost_us,
                   .tagged = !tags.empty()},
                  key);
}

/// The value in an envelope that is open, for who wants its header too; else nothing, and `why`.
/// Throws nothing but std::bad_alloc, and what a codec throws that is no std::exception.
template <class Codec, class V>
std::optional<V> open_value(const OpenedEnvelope& opened, std::uint32_t schema, Undecodable& why) {
    why = [&] {
        if (!opened) return to_undecodable(opened.error);
        if (opened.header.schema != schema) return Undecodable::other_schema;
        if (opened.header.kind != EnvelopeKind::value) return Undecodable::not_a_value;
        if (opened.header.codec != detail::codec_id<Codec>) return Undecodable::other_codec;
        return Undecodable::none;
    }();
    if (why != Undecodable::none) return std::nullopt;
    std::optional<V> value = detail::decode_with<Codec, V>(opened.payload);
    if (!value) why = Undecodable::payload;
    return value;
}

/// The value in these bytes; else nothing, and `why`.
template <class Codec, class V>
std::optional<V> open_value(std::string_view bytes, std::uint32_t schema, Undecodable& why) {
    return open_value<Codec, V>(open_envelope(bytes), schema, why);
}

}  // namespace drey
