#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "drey/codec/checksum.hpp"
#include "drey/codec/envelope_tags.hpp"
#include "drey/codec/little_endian.hpp"
#include "drey/detail/assert.hpp"

/// What surrounds every value in a store that others share: enough to know whether these bytes are
/// ours, whole, and written by a program that means by them what we do.
///
/// Little-endian on every machine:
///
///     bytes    field
///     0..3     "drey"
///     4        version of the envelope, 1
///     5        kind: 'v' a value, 'l' a lease, 'a' absent
///     6        codec
///     7        flags: 1 tags stand before the payload (envelope_tags.hpp), else 0
///     8..11    schema
///     12..15   CRC-32C of header and payload, these four taken for zero
///     16..23   stamp
///     24..31   fresh until, in milliseconds of Unix time
///     32..35   cost of the load, in microseconds
///     36..     payload, as the codec wrote it
///
/// A later version may change all but the first five bytes. Bytes of any later version, kind or
/// flag are not understood and so a miss, never a wrong value: programs of different versions can
/// share a store while one replaces the other.
namespace drey {

inline constexpr std::size_t envelope_header_size = 36;

/// What an envelope holds.
enum class EnvelopeKind : char {
    value = 'v',
    lease = 'l',   ///< nothing yet: somebody is loading
    absent = 'a',  ///< remembered: there is no such row
};

struct EnvelopeHeader {
    EnvelopeKind kind = EnvelopeKind::value;

    /// Who wrote the payload: `codec_id`. 0: there is none.
    std::uint8_t codec = 0;

    /// What the payload means; the application counts it up when that changes.
    std::uint32_t schema = 0;

    /// Different for each write, so that who compares headers compares writes; see `envelope_id`.
    std::uint64_t stamp = 0;

    /// Until when the value is fresh, in milliseconds of Unix time. 0: as long as it is there.
    std::int64_t fresh_until_ms = 0;

    /// How long it took to load the value, in microseconds. 0: unknown. See `to_load_cost_us`.
    std::uint32_t load_cost_us = 0;

    /// Whether tags stand before the payload.
    bool tagged = false;

    bool operator==(const EnvelopeHeader&) const = default;
};

/// Why bytes could not be opened.
enum class EnvelopeError {
    none,
    foreign,        ///< something else than drey wrote them
    truncated,      ///< they end within the header
    other_version,  ///< a drey of another version wrote them, and this one cannot read them
    corrupt,        ///< they are not what was written: changed, cut short or added to
};

constexpr std::string_view to_text(EnvelopeError error) noexcept {
    switch (error) {
        case EnvelopeError::none:
            return "none";
        case EnvelopeError::foreign:
            return "foreign";
        case EnvelopeError::truncated:
            return "truncated";
        case EnvelopeError::other_version:
            return "other version";
        case EnvelopeError::corrupt:
            return "corrupt";
    }
    return "unknown";
}

/// What `open_envelope` found. The rest means nothing if there is an error; payload and tags point
/// into the bytes that were opened.
struct [[nodiscard]] OpenedEnvelope {
    EnvelopeError error = EnvelopeError::none;
    EnvelopeHeader header = {};
    std::string_view payload = {};
    std::string_view tags = {};  ///< for `read_envelope_tags`

    explicit operator bool() const noexcept { return error == EnvelopeError::none; }
};

namespace detail {

inline constexpr std::string_view envelope_magic = "drey";
inline constexpr char envelope_version = 1;
inline constexpr char envelope_is_tagged = 1;  // a flag

/// Where each field begins.
namespace envelope_at {
inline constexpr std::size_t version = 4, kind = 5, codec = 6, flags = 7, schema = 8, checksum = 12,
                             stamp = 16, fresh_until = 24, load_cost = 32;
}

inline std::uint32_t envelope_checksum(std::string_view bytes, std::string_view key) noexcept {
    constexpr std::string_view zero("\0\0\0\0", 4);
    const std::uint32_t head =
        crc32c(zero, crc32c(bytes.substr(0, envelope_at::checksum), crc32c(key)));
    return crc32c(bytes.substr(envelope_at::checksum + zero.size()), head);
}

constexpr bool is_envelope_kind(char kind) noexcept {
    switch (static_cast<EnvelopeKind>(kind)) {
        case EnvelopeKind::value:
        case EnvelopeKind::lease:
        case EnvelopeKind::absent:
            return true;
    }
    return false;
}

/// The fields of a header at `from`, if it is one that this version understands.
inline std::optional<EnvelopeHeader> envelope_header_at(const char* from) noexcept {
    namespace at = envelope_at;
    const char flags = from[at::flags];
    if (!is_envelope_kind(from[at::kind]) || (flags & ~envelope_is_tagged) != 0)
        return std::nullopt;
    return EnvelopeHeader{
        .kind = static_cast<EnvelopeKind>(from[at::kind]),
        .codec = static_cast<std::uint8_t>(from[at::codec]),
        .schema = load_little<std::uint32_t>(from + at::schema),
        .stamp = load_little<std::uint64_t>(from + at::stamp),
        .fresh_until_ms =
            static_cast<std::int64_t>(load_little<std::uint64_t>(from + at::fresh_until)),
        .load_cost_us = load_little<std::uint32_t>(from + at::load_cost),
        .tagged = flags == envelope_is_tagged,
    };
}

}  // namespace detail

/// Appends room for a header and returns where it begins. Append the payload, before it the tags if
/// the header is to say that there are any, then seal. `out` may already hold something else, such
/// as the beginning of a command.
inline std::size_t begin_envelope(std::string& out) {
    const std::size_t begin = out.size();
    out.append(envelope_header_size, '\0');
    return begin;
}

/// Fills in the header that `begin_envelope` made room for; all that follows it in `out` is the
/// payload. Linear in the payload. `key` is whose value this is: the checksum covers it, so that
/// what comes back for another key, by whatever mistake on the way, is not taken for this one's.
inline void seal_envelope(std::string& out, std::size_t begin, const EnvelopeHeader& header,
                          std::string_view key = {}) noexcept {
    if (out.size() < envelope_header_size || begin > out.size() - envelope_header_size)
        detail::broken("seal_envelope: there is no room for a header; begin_envelope makes it");
    namespace at = detail::envelope_at;
    char* const to = out.data() + begin;
    std::memcpy(to, detail::envelope_magic.data(), detail::envelope_magic.size());
    to[at::version] = detail::envelope_version;
    to[at::kind] = static_cast<char>(header.kind);
    to[at::codec] = static_cast<char>(header.codec);
    to[at::flags] = header.tagged ? detail::envelope_is_tagged : '\0';
    detail::store_little(to + at::schema, header.schema);
    detail::store_little(to + at::stamp, header.stamp);
    detail::store_little(to + at::fresh_until, static_cast<std::uint64_t>(header.fresh_until_ms));
    detail::store_little(to + at::load_cost, header.load_cost_us);
    detail::store_little(to + at::checksum,
                         detail::envelope_checksum({to, out.size() - begin}, key));
}

/// Reads any bytes at all, which should be what was sealed for this key. Linear in the payload,
/// whose checksum it computes.
inline OpenedEnvelope open_envelope(std::string_view bytes, std::string_view key = {}) noexcept {
    namespace at = detail::envelope_at;
    const char* const from = bytes.data();
    if (!bytes.starts_with(detail::envelope_magic)) return {EnvelopeError::foreign};
    if (bytes.size() <= at::version) return {EnvelopeError::truncated};
    // Before size and checksum, which may be elsewhere in another version.
    if (from[at::version] != detail::envelope_version) return {EnvelopeError::other_version};
    if (bytes.size() < envelope_header_size) return {EnvelopeError::truncated};
    if (detail::load_little<std::uint32_t>(from + at::checksum) !=
        detail::envelope_checksum(bytes, key))
        return {EnvelopeError::corrupt};
    // After the checksum: these were written on purpose, by somebody who knows more than we do.
    const auto header = detail::envelope_header_at(from);
    if (!header) return {EnvelopeError::other_version};
    OpenedEnvelope opened{.header = *header, .payload = bytes.substr(envelope_header_size)};
    if (header->tagged && !detail::take_tags(opened.payload, opened.tags))
        return {EnvelopeError::corrupt};
    return opened;
}

/// The header of an envelope that begins with these bytes, unchecked, since the checksum takes the
/// payload too: for statistics about what is gone. Nothing if it is not one of ours.
inline std::optional<EnvelopeHeader> peek_envelope(std::string_view bytes) noexcept {
    if (bytes.size() < envelope_header_size || !bytes.starts_with(detail::envelope_magic) ||
        bytes[detail::envelope_at::version] != detail::envelope_version)
        return std::nullopt;
    return detail::envelope_header_at(bytes.data());
}

/// The tags of an envelope that begins with these bytes, unchecked too; nothing if it has none, or
/// if they do not end within these bytes.
inline std::string_view peek_envelope_tags(std::string_view bytes) noexcept {
    const auto header = peek_envelope(bytes);
    std::string_view tags;
    if (header && header->tagged) {
        bytes.remove_prefix(envelope_header_size);
        detail::take_tags(bytes, tags);
    }
    return tags;
}

/// What a compare-and-set need compare: the header, at most the first 36 bytes. Its stamp differs
/// from write to write, and its checksum from payload to payload.
constexpr std::string_view envelope_id(std::string_view bytes) noexcept {
    return bytes.substr(0, envelope_header_size);
}

/// A load's duration as the header keeps it: at least 1, as 0 means unknown, and at most what fits,
/// an hour and eleven minutes.
constexpr std::uint32_t to_load_cost_us(std::chrono::nanoseconds took) noexcept {
    constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(took.count() / 1000, 1, most));
}

}  // namespace drey
