#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <ios>
#include <istream>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "drey/codec/checksum.hpp"
#include "drey/codec/little_endian.hpp"
#include "drey/error.hpp"
#include "drey/kept.hpp"

/// A cache as a file: bytes to entries and back, without knowing keys or values.
///
/// Little-endian on every machine:
///
///     header
///     0..7     "dreysnap"
///     8        version of the format, 1
///     9, 10    codec of the values, and of the keys
///     11       0
///     12..15   schema
///     16..23   when it was made, in nanoseconds of Unix time
///     24..27   checksum
///
///     each entry
///     0        'v' a value, 'a' an absence
///     1        hits that the policy is to be told
///     2..9     how long it is fresh from then on, in nanoseconds; 2^63 - 1: for ever
///     10..17   how long it may be used after that; 0 of an absence
///     18..25   how long its load took; 0: unknown, or an absence
///     26..33   length of the key
///     34..41   length of the value; 0 of an absence
///     42..49   length of the tags
///     50..     key and value, as the codecs wrote them, of each tag its length in 8 bytes and its
///              name, and a checksum of 4 bytes
///
///     end
///     0        'e'
///     1..8     how many entries there were
///     9..12    checksum
///
/// Each checksum is the CRC-32C of everything before it in the file but the other checksums: an
/// entry that is missing, twice or at another place is seen as surely as a changed one, and no
/// codec is given bytes that were not checked. The entries are in the order in which a policy
/// should see them inserted. Their number comes last since nobody knows it before: others write
/// meanwhile.
///
/// A later version may change all but the first nine bytes.
namespace drey::detail {

/// What is compared before entries are read.
struct SnapshotHeader {
    std::uint8_t value_codec = 0;
    std::uint8_t key_codec = 0;
    std::uint32_t schema = 0;
    std::int64_t unix_time = 0;
};

namespace snapshot_format {
inline constexpr std::string_view magic = "dreysnap";
inline constexpr char version = 1;
inline constexpr char value = 'v', absence = 'a', end = 'e';
inline constexpr std::size_t checksum_size = 4, tag_length_size = 8;

namespace header_at {
inline constexpr std::size_t version = 8, value_codec = 9, key_codec = 10, schema = 12,
                             unix_time = 16, size = 24;
}
namespace entry_at {
inline constexpr std::size_t hits = 1, fresh_left = 2, stale_left = 10, load_cost = 18,
                             key_size = 26, value_size = 34, tags_size = 42, size = 50;
}
namespace end_at {
inline constexpr std::size_t count = 1, size = 9;
}
}  // namespace snapshot_format

/// Writes a snapshot. Throws SnapshotError as soon as the stream takes no more.
class SnapshotWriter {
public:
    SnapshotWriter(std::ostream& out, const SnapshotHeader& header) : out_(out) {
        namespace at = snapshot_format::header_at;
        std::array<char, at::size> bytes{};
        std::copy(snapshot_format::magic.begin(), snapshot_format::magic.end(), bytes.begin());
        bytes[at::version] = snapshot_format::version;
        bytes[at::value_codec] = static_cast<char>(header.value_codec);
        bytes[at::key_codec] = static_cast<char>(header.key_codec);
        store_little(&bytes[at::schema], header.schema);
        store_little(&bytes[at::unix_time], static_cast<std::uint64_t>(header.unix_time));
        write({bytes.data(), bytes.size()});
        write_checksum();
    }

    void add(bool is_absence, const Kept& kept, std::string_view key, std::string_view value) {
        namespace at = snapshot_format::entry_at;
        std::array<char, at::size> bytes{};
        bytes[0] = is_absence ? snapshot_format::absence : snapshot_format::value;
        bytes[at::hits] = static_cast<char>(kept.hits);
        store_little(&bytes[at::fresh_left], static_cast<std::uint64_t>(kept.fresh_left));
        store_little(&bytes[at::stale_left], static_cast<std::uint64_t>(kept.stale_left));
        store_little(&bytes[at::load_cost], static_cast<std::uint64_t>(kept.load_cost));
        store_little(&bytes[at::key_size], std::uint64_t{key.size()});
        store_little(&bytes[at::value_size], std::uint64_t{value.size()});
        std::uint64_t tags_size = 0;
        for (const std::string& tag : kept.tags)
            tags_size += snapshot_format::tag_length_size + tag.size();
        store_little(&bytes[at::tags_size], tags_size);
        write({bytes.data(), bytes.size()});
        write(key);
        write(value);
        for (const std::string& tag : kept.tags) {
            std::array<char, snapshot_format::tag_length_size> length{};
            store_little(length.data(), std::uint64_t{tag.size()});
            write({length.data(), length.size()});
            write(tag);
        }
        write_checksum();
        ++count_;
    }

    /// Writes the end, without which nobody reads the rest, and flushes. Returns how many entries
    /// there are.
    std::uint64_t finish() {
        std::array<char, snapshot_format::end_at::size> bytes{snapshot_format::end};
        store_little(&bytes[snapshot_format::end_at::count], count_);
        write({bytes.data(), bytes.size()});
        write_checksum();
        attempt([&] { out_.flush(); });
        return count_;
    }

private:
    void write(std::string_view bytes) {
        crc_ = crc32c(bytes, crc_);
        write_unchecked(bytes);
    }

    void write_checksum() {
        std::array<char, snapshot_format::checksum_size> bytes{};
        store_little(bytes.data(), crc_);
        write_unchecked({bytes.data(), bytes.size()});
    }

    void write_unchecked(std::string_view bytes) {
        attempt([&] { out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size())); });
    }

    /// A stream may be told to throw by itself; this is one error all the same.
    template <class Operation>
    void attempt(Operation&& operation) {
        try {
            operation();
        } catch (const std::ios_base::failure&) {
            throw SnapshotError(SnapshotFault::unwritable);
        }
        if (!out_) throw SnapshotError(SnapshotFault::unwritable);
    }

    std::ostream& out_;
    std::uint32_t crc_ = 0;
    std::uint64_t count_ = 0;
};

/// Reads a snapshot, entry by entry. Any bytes at all may come: what is not a snapshot to the last
/// byte of the stream is a SnapshotError, and takes no more memory than the bytes that came.
class SnapshotReader {
public:
    /// Reads and checks the header.
    SnapshotReader(std::istream& in, const SnapshotHeader& expected) : in_(in) {
        if (!in_) throw SnapshotError(SnapshotFault::unreadable);
        namespace at = snapshot_format::header_at;
        std::array<char, at::size> bytes{};
        const std::size_t came = read_some(bytes.data(), snapshot_format::magic.size());
        if (!snapshot_format::magic.starts_with({bytes.data(), came}))
            throw SnapshotError(SnapshotFault::foreign);
        if (came != snapshot_format::magic.size()) throw SnapshotError(SnapshotFault::truncated);
        // Before anything else, which may be elsewhere in another version.
        read_all(&bytes[at::version], 1);
        if (bytes[at::version] != snapshot_format::version)
            throw SnapshotError(SnapshotFault::other_version);
        read_all(&bytes[at::value_codec], at::size - at::value_codec);
        crc_ = crc32c({bytes.data(), bytes.size()});
        check();
        if (static_cast<std::uint8_t>(bytes[at::value_codec]) != expected.value_codec ||
            static_cast<std::uint8_t>(bytes[at::key_codec]) != expected.key_codec)
            throw SnapshotError(SnapshotFault::other_codec);
        if (load_little<std::uint32_t>(&bytes[at::schema]) != expected.schema)
            throw SnapshotError(SnapshotFault::other_schema);
        unix_time_ = static_cast<std::int64_t>(load_little<std::uint64_t>(&bytes[at::unix_time]));
    }

    std::int64_t unix_time() const noexcept { return unix_time_; }

    /// Goes to the next entry. False at the end, and then all was as it was written.
    bool next() {
        namespace at = snapshot_format::entry_at;
        std::array<char, at::size> bytes{};
        read_all(bytes.data(), 1);
        if (bytes[0] == snapshot_format::end) return read_end();
        if (bytes[0] != snapshot_format::value && bytes[0] != snapshot_format::absence)
            throw SnapshotError(SnapshotFault::corrupt);
        read_all(&bytes[1], at::size - 1);
        crc_ = crc32c({bytes.data(), bytes.size()}, crc_);
        read_text(key_, load_little<std::uint64_t>(&bytes[at::key_size]));
        read_text(value_, load_little<std::uint64_t>(&bytes[at::value_size]));
        read_text(tags_, load_little<std::uint64_t>(&bytes[at::tags_size]));
        check();
        is_absence_ = bytes[0] == snapshot_format::absence;
        kept_ = {.fresh_left = time(&bytes[at::fresh_left]),
                 .stale_left = time(&bytes[at::stale_left]),
                 .load_cost = time(&bytes[at::load_cost]),
                 .hits = static_cast<std::uint8_t>(bytes[at::hits]),
                 .tags = tags()};
        if (is_absence_ && (kept_.stale_left != 0 || kept_.load_cost != 0 || !value_.empty()))
            throw SnapshotError(SnapshotFault::corrupt);
        ++count_;
        return true;
    }

    /// Of the entry. What they refer to is there until `next`.
    bool is_absence() const noexcept { return is_absence_; }
    const Kept& kept() const noexcept { return kept_; }
    std::string_view key() const noexcept { return key_; }
    std::string_view value() const noexcept { return value_; }

private:
    bool read_end() {
        std::array<char, snapshot_format::end_at::size> bytes{snapshot_format::end};
        read_all(&bytes[1], snapshot_format::end_at::size - 1);
        crc_ = crc32c({bytes.data(), bytes.size()}, crc_);
        check();
        if (load_little<std::uint64_t>(&bytes[snapshot_format::end_at::count]) != count_)
            throw SnapshotError(SnapshotFault::corrupt);
        char more = 0;
        if (read_some(&more, 1) != 0) throw SnapshotError(SnapshotFault::trailing);
        return false;
    }

    static std::int64_t time(const char* from) {
        const auto nanoseconds = static_cast<std::int64_t>(load_little<std::uint64_t>(from));
        if (nanoseconds < 0) throw SnapshotError(SnapshotFault::corrupt);
        return nanoseconds;
    }

    std::vector<std::string> tags() const {
        std::vector<std::string> tags;
        for (std::string_view left = tags_; !left.empty();) {
            if (left.size() < snapshot_format::tag_length_size)
                throw SnapshotError(SnapshotFault::corrupt);
            const auto length = load_little<std::uint64_t>(left.data());
            left.remove_prefix(snapshot_format::tag_length_size);
            if (left.size() < length) throw SnapshotError(SnapshotFault::corrupt);
            tags.emplace_back(left.substr(0, static_cast<std::size_t>(length)));
            left.remove_prefix(static_cast<std::size_t>(length));
        }
        return tags;
    }

    void check() {
        std::array<char, snapshot_format::checksum_size> bytes{};
        read_all(bytes.data(), bytes.size());
        if (load_little<std::uint32_t>(bytes.data()) != crc_)
            throw SnapshotError(SnapshotFault::corrupt);
    }

    /// A length may be a lie: makes room for no more than has come, twice.
    void read_text(std::string& text, std::uint64_t size) {
        text.clear();
        while (text.size() < size) {
            constexpr std::size_t step = 4096;
            const std::size_t had = text.size();
            const std::uint64_t want = std::min<std::uint64_t>(size - had, std::max(step, had));
            text.resize(had + static_cast<std::size_t>(want));
            read_all(text.data() + had, static_cast<std::size_t>(want));
        }
        crc_ = crc32c(text, crc_);
    }

    void read_all(char* to, std::size_t size) {
        if (read_some(to, size) != size) throw SnapshotError(SnapshotFault::truncated);
    }

    /// Returns how many bytes came before the stream ended.
    std::size_t read_some(char* to, std::size_t size) {
        try {
            in_.read(to, static_cast<std::streamsize>(size));
        } catch (const std::ios_base::failure&) {  // its state says why
        }
        if (in_.bad()) throw SnapshotError(SnapshotFault::unreadable);
        return static_cast<std::size_t>(in_.gcount());
    }

    std::istream& in_;
    std::uint32_t crc_ = 0;
    std::uint64_t count_ = 0;
    std::int64_t unix_time_ = 0;
    bool is_absence_ = false;
    Kept kept_;
    std::string key_, value_, tags_;
};

}  // namespace drey::detail
