#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/codec/codec.hpp"
#include "drey/codec/raw.hpp"
#include "drey/codec/snapshot_format.hpp"
#include "drey/kept.hpp"
#include "drey/options.hpp"

/// From a store to a file and back.
namespace drey::detail {

/// A codec for the values alone leaves the keys to Raw.
template <class Codec, class K>
using KeyCodecFor = std::conditional_t<CodecFor<Codec, K>, Codec, Raw>;

/// Codecs and stream work outside all locks, one entry at a time. What is written meanwhile may be
/// in the file or not.
template <class K, class V, class Codec, class KeyCodec, class Store>
std::size_t write_snapshot(Store& store, std::ostream& out, const SnapshotOptions& options) {
    SnapshotWriter writer(out, {.value_codec = codec_id<Codec>,
                                .key_codec = codec_id<KeyCodec>,
                                .schema = options.schema,
                                .unix_time = options.unix_clock.now()});
    std::string key_bytes, value_bytes;
    store.each_in_order([&](const K& key, const V* value, const Kept& kept) {
        key_bytes.clear();
        value_bytes.clear();
        encode_with<KeyCodec>(key, key_bytes);
        if (value != nullptr) encode_with<Codec>(*value, value_bytes);
        writer.add(value == nullptr, kept, key_bytes, value_bytes);
    });
    return static_cast<std::size_t>(writer.finish());
}

/// What is left after some time. False: nothing.
inline bool age(Kept& kept, std::int64_t by) noexcept {
    if (kept.fresh_left == no_deadline) return true;
    const std::int64_t fresh = std::min(by, kept.fresh_left);
    kept.fresh_left -= fresh;
    if (kept.stale_left != no_deadline) kept.stale_left -= std::min(by - fresh, kept.stale_left);
    return kept.fresh_left != 0 || kept.stale_left != 0;
}

/// From one Unix time to another; 0 if somebody has set the clock back.
inline std::int64_t time_between(std::int64_t then, std::int64_t now) noexcept {
    if (now <= then) return 0;
    const std::uint64_t passed = static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(then);
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    return static_cast<std::int64_t>(std::min<std::uint64_t>(passed, most));
}

/// Reads all there is before it stores the first entry.
template <class K, class V, class Codec, class KeyCodec, class Store>
std::size_t restore_snapshot(Store& store, std::istream& in, const SnapshotOptions& options) {
    struct Read {
        K key;
        std::optional<V> value;
        Kept kept;
    };
    const typename Store::Restoring since(store);
    SnapshotReader reader(in, {.value_codec = codec_id<Codec>,
                               .key_codec = codec_id<KeyCodec>,
                               .schema = options.schema});
    const std::int64_t passed =
        options.count_time_between ? time_between(reader.unix_time(), options.unix_clock.now()) : 0;
    std::vector<Read> entries;
    while (reader.next()) {
        std::optional<K> key = decode_with<KeyCodec, K>(reader.key());
        std::optional<V> value;
        if (!reader.is_absence()) value = decode_with<Codec, V>(reader.value());
        if (!key || value.has_value() == reader.is_absence())
            throw SnapshotError(SnapshotFault::undecodable);
        Kept kept = reader.kept();
        if (age(kept, passed)) entries.push_back({*std::move(key), std::move(value), kept});
    }
    std::size_t restored = 0;
    for (Read& entry : entries)
        if (store.restore(std::move(entry.key), std::move(entry.value), entry.kept, since))
            ++restored;
    return restored;
}

}  // namespace drey::detail
