#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace example {

/// The file is not a trace; the message says why.
class BadTrace : public std::runtime_error {
public:
    BadTrace(const std::filesystem::path& file, const std::string& why)
        : std::runtime_error("trace " + file.string() + ": " + why) {}
};

/// The first `most` ids of a trace of 32-bit little-endian numbers without a header.
inline std::vector<std::uint32_t> read_binary_trace(const std::filesystem::path& file,
                                                    std::size_t most) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw BadTrace(file, "cannot be opened");
    const auto bytes = std::filesystem::file_size(file);
    if (bytes % 4 != 0)
        throw BadTrace(file, "is truncated: its " + std::to_string(bytes) +
                                 " bytes are not a whole number of 32-bit ids");
    const auto count = static_cast<std::size_t>(std::min<std::uintmax_t>(bytes / 4, most));
    std::vector<char> raw(count * 4);
    if (!in.read(raw.data(), static_cast<std::streamsize>(raw.size())))
        throw BadTrace(file, "cannot be read");
    std::vector<std::uint32_t> ids(count);
    for (std::size_t i = 0; i < raw.size(); ++i)
        ids[i / 4] |= std::uint32_t{static_cast<unsigned char>(raw[i])} << (8 * (i % 4));
    return ids;
}

/// The first `most` ids of a trace of decimal numbers, one a line, each taken modulo `below`.
inline std::vector<std::uint32_t> read_text_trace(const std::filesystem::path& file,
                                                  std::size_t most, std::uint32_t below) {
    std::ifstream in(file);
    if (!in) throw BadTrace(file, "cannot be opened");
    std::vector<std::uint32_t> ids;
    std::string line;
    for (std::size_t number = 1; ids.size() < most && std::getline(in, line); ++number) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        std::uint64_t id = 0;
        const char* const end = line.data() + line.size();
        const auto [stop, error] = std::from_chars(line.data(), end, id);
        if (error != std::errc{} || stop != end)
            throw BadTrace(file,
                           "line " + std::to_string(number) + " is not a user id" +
                               " (a trace is a text file of one number a line, or named .u32)");
        ids.push_back(static_cast<std::uint32_t>(id % below));
    }
    if (in.bad()) throw BadTrace(file, "cannot be read");
    return ids;
}

/// The first `most` user ids of a trace file, each below `rows`: larger ones wrap around. `.u32`
/// files are binary, all others text. Throws BadTrace.
inline std::vector<std::uint32_t> read_trace(const std::filesystem::path& file, std::size_t most,
                                             std::uint32_t rows) {
    if (!std::filesystem::exists(file)) throw BadTrace(file, "there is no such file");
    if (std::filesystem::is_directory(file)) throw BadTrace(file, "is a directory");
    if (file.extension() == ".zst" || file.extension() == ".gz")
        throw BadTrace(file, "is compressed; unpack it first");
    auto ids = file.extension() == ".u32" ? read_binary_trace(file, most)
                                          : read_text_trace(file, most, rows);
    if (ids.empty()) throw BadTrace(file, "is empty");
    for (auto& id : ids) id %= rows;
    return ids;
}

}  // namespace example
