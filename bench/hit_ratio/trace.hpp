#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "input.hpp"

/// Request streams: little-endian uint32 object ids (NAME.u32), or pairs of id and size in bytes
/// (NAME.u32s), one a request and without a header, either of them compressed with zstd (.zst).
namespace hit_ratio {

struct Trace {
    std::string name;
    std::vector<std::uint32_t> ids;
    std::vector<std::uint32_t> sizes;  // as long as ids, or empty
    std::size_t distinct = 0;

    bool sized() const noexcept { return !sizes.empty(); }
};

namespace detail {

inline std::uint32_t little_endian(const unsigned char* bytes) noexcept {
    return bytes[0] | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 |
           std::uint32_t{bytes[3]} << 24;
}

/// "corda" of "corda.u32.zst"; empty if the file is no trace.
inline std::string trace_name(const std::filesystem::path& file, bool& sized) {
    std::filesystem::path name = file.filename();
    if (name.extension() == ".zst") name = name.stem();
    sized = name.extension() == ".u32s";
    return sized || name.extension() == ".u32" ? name.stem().string() : std::string();
}

}  // namespace detail

/// Throws std::runtime_error that names the file if it cannot be read or is malformed.
inline Trace read_trace(const std::filesystem::path& file) {
    Trace trace;
    bool sized = false;
    trace.name = detail::trace_name(file, sized);
    if (trace.name.empty()) detail::fail(file, "is neither .u32 nor .u32s, with or without .zst");

    const std::size_t record = sized ? 8 : 4;
    std::size_t total = 0;
    unsigned char partial[8];  // a record that a piece's end has cut
    std::size_t held = 0;
    const auto request = [&](const unsigned char* bytes) {
        trace.ids.push_back(detail::little_endian(bytes));
        if (sized) trace.sizes.push_back(detail::little_endian(bytes + 4));
    };
    for_each_piece(file, [&](std::span<const char> piece) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(piece.data());
        std::size_t count = piece.size();
        total += count;
        while (count > 0) {
            if (held == 0 && count >= record) {
                request(bytes);
                bytes += record;
                count -= record;
                continue;
            }
            const std::size_t some = std::min(record - held, count);
            std::memcpy(partial + held, bytes, some);
            bytes += some;
            count -= some;
            held += some;
            if (held == record) {
                request(partial);
                held = 0;
            }
        }
    });
    if (held != 0) {
        detail::fail(file, "holds " + std::to_string(total) + " bytes, which is no multiple of " +
                               std::to_string(record) + ": truncated?");
    }
    if (trace.ids.empty()) detail::fail(file, "holds no requests");

    std::vector<std::uint32_t> sorted = trace.ids;
    std::sort(sorted.begin(), sorted.end());
    trace.distinct =
        static_cast<std::size_t>(std::unique(sorted.begin(), sorted.end()) - sorted.begin());
    return trace;
}

/// The traces in a folder, by name.
inline std::map<std::string, std::filesystem::path> find_traces(
    const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::directory_iterator files(folder, error);
    if (error) detail::fail(folder, "cannot be listed: " + error.message());
    std::map<std::string, std::filesystem::path> traces;
    for (const auto& file : files) {
        bool sized = false;
        const std::string name = detail::trace_name(file.path(), sized);
        if (!name.empty() && file.is_regular_file()) traces.emplace(name, file.path());
    }
    return traces;
}

}  // namespace hit_ratio
