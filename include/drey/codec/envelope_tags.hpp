#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "drey/codec/little_endian.hpp"

/// The tags of what is in an envelope, which stand before its payload if the header says so:
///
///     bytes    field
///     0..3     how many bytes of tags follow, n
///     4..4+n   of each tag its version (8 bytes), the length of its name (4), and its name
///
/// What a version is the store knows that keeps them.
namespace drey {

/// A tag, and the version that it had when the value was made.
struct EnvelopeTag {
    std::string name;
    std::uint64_t version = 0;

    bool operator==(const EnvelopeTag&) const = default;
};

namespace detail {

inline constexpr std::size_t tag_version_size = 8, tag_length_size = 4;

template <class Number>
void append_little(std::string& out, Number number) {
    char bytes[sizeof number];
    store_little(bytes, number);
    out.append(bytes, sizeof bytes);
}

/// Calls `f(name, version)` for each tag that these bytes hold; whether that was all they held.
template <class F>
bool each_tag(std::string_view bytes, F&& f) {
    while (!bytes.empty()) {
        if (bytes.size() < tag_version_size + tag_length_size) return false;
        const auto version = load_little<std::uint64_t>(bytes.data());
        const auto length = load_little<std::uint32_t>(bytes.data() + tag_version_size);
        bytes.remove_prefix(tag_version_size + tag_length_size);
        if (bytes.size() < length) return false;
        f(bytes.substr(0, length), version);
        bytes.remove_prefix(length);
    }
    return true;
}

/// Takes the tags off the front of `bytes`, where they begin; false if they are not whole.
inline bool take_tags(std::string_view& bytes, std::string_view& tags) noexcept {
    if (bytes.size() < tag_length_size) return false;
    const auto size = load_little<std::uint32_t>(bytes.data());
    const std::string_view rest = bytes.substr(tag_length_size);
    if (rest.size() < size) return false;
    const std::string_view whole = rest.substr(0, size);
    if (!each_tag(whole, [](std::string_view, std::uint64_t) {})) return false;
    tags = whole;
    bytes = rest.substr(size);
    return true;
}

}  // namespace detail

/// Appends them as they stand before a payload.
inline void append_envelope_tags(std::string& out, std::span<const EnvelopeTag> tags) {
    std::size_t size = 0;
    for (const EnvelopeTag& tag : tags)
        size += detail::tag_version_size + detail::tag_length_size + tag.name.size();
    detail::append_little(out, static_cast<std::uint32_t>(size));
    for (const EnvelopeTag& tag : tags) {
        detail::append_little(out, tag.version);
        detail::append_little(out, static_cast<std::uint32_t>(tag.name.size()));
        out.append(tag.name);
    }
}

/// The tags in `OpenedEnvelope::tags`.
inline std::vector<EnvelopeTag> read_envelope_tags(std::string_view bytes) {
    std::vector<EnvelopeTag> tags;
    detail::each_tag(bytes, [&](std::string_view name, std::uint64_t version) {
        tags.push_back({std::string(name), version});
    });
    return tags;
}

}  // namespace drey
