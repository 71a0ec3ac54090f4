#pragma once

#include <zstd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

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

[[noreturn]] inline void fail(const std::filesystem::path& file, std::string_view what) {
    throw std::runtime_error(file.string() + ": " + std::string(what));
}

/// Calls `take(bytes, count)` for each piece of the file's content, decompressed.
template <class Take>
void for_each_piece(const std::filesystem::path& file, Take&& take) {
    std::ifstream in(file, std::ios::binary);
    if (!in) fail(file, "cannot be opened");
    const bool compressed = file.extension() == ".zst";
    std::vector<char> input(compressed ? ZSTD_DStreamInSize() : 1 << 17);
    std::vector<char> output(ZSTD_DStreamOutSize());
    const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(),
                                                                            &ZSTD_freeDStream);
    if (!stream) throw std::bad_alloc();
    std::size_t still_expected = 0;  // what zstd says of an unfinished frame
    while (in) {
        in.read(input.data(), static_cast<std::streamsize>(input.size()));
        const auto count = static_cast<std::size_t>(in.gcount());
        if (!compressed) {
            take(input.data(), count);
            continue;
        }
        ZSTD_inBuffer from{input.data(), count, 0};
        bool output_was_full = false;
        while (from.pos < from.size || output_was_full) {
            ZSTD_outBuffer to{output.data(), output.size(), 0};
            still_expected = ZSTD_decompressStream(stream.get(), &to, &from);
            if (ZSTD_isError(still_expected)) {
                fail(file, std::string("is not valid zstd: ") + ZSTD_getErrorName(still_expected));
            }
            take(output.data(), to.pos);
            output_was_full = to.pos == to.size && still_expected != 0;
        }
    }
    if (in.bad()) fail(file, "cannot be read");
    if (still_expected != 0) fail(file, "ends in the middle of a zstd frame");
}

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
    detail::for_each_piece(file, [&](const char* piece, std::size_t count) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(piece);
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
