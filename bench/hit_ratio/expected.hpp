#pragma once

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// Miss counts to compare with: CSV files with a header that names the columns, in any order.
///
///     trace,policy,cache_size_objects,requests,misses
///     trace,policy,cache_size_bytes,requests,misses,missed_bytes
namespace hit_ratio {

struct ExpectedRow {
    std::string trace;
    std::string policy;
    std::uint64_t capacity = 0;
    std::uint64_t requests = 0;
    std::uint64_t misses = 0;
    std::optional<std::uint64_t> missed_bytes;  // present: the capacity is in bytes
    std::string where;                          // file and line

    bool sized() const noexcept { return missed_bytes.has_value(); }
};

namespace detail {

inline std::vector<std::string_view> split(std::string_view line) {
    std::vector<std::string_view> fields;
    for (;;) {
        const std::size_t comma = line.find(',');
        fields.push_back(line.substr(0, comma));
        if (comma == line.npos) return fields;
        line.remove_prefix(comma + 1);
    }
}

}  // namespace detail

/// Throws std::runtime_error that names the file and the line if it cannot be read or understood.
inline std::vector<ExpectedRow> read_expected(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::size_t line_number = 0;
    const auto where = [&] { return file.string() + ":" + std::to_string(line_number); };
    const auto fail = [&](const std::string& what) {
        throw std::runtime_error(where() + ": " + what);
    };
    std::string line;
    const auto next_line = [&] {
        if (!std::getline(in, line)) return false;
        ++line_number;
        if (!line.empty() && line.back() == '\r') line.pop_back();
        return true;
    };

    if (!next_line()) throw std::runtime_error(file.string() + ": cannot be read, or is empty");
    std::map<std::string, std::size_t, std::less<>> columns;
    for (const std::string_view name : detail::split(line)) columns.emplace(name, columns.size());
    const bool sized = columns.contains("cache_size_bytes");
    const std::string capacity = sized ? "cache_size_bytes" : "cache_size_objects";
    for (const std::string& needed : {std::string("trace"), std::string("policy"), capacity,
                                      std::string("requests"), std::string("misses")}) {
        if (!columns.contains(needed)) fail("the header has no column " + needed);
    }
    if (sized && !columns.contains("missed_bytes")) fail("the header has no column missed_bytes");

    std::vector<ExpectedRow> rows;
    while (next_line()) {
        if (line.empty()) continue;
        const auto fields = detail::split(line);
        if (fields.size() != columns.size()) {
            fail(std::to_string(fields.size()) + " fields where the header has " +
                 std::to_string(columns.size()));
        }
        const auto text = [&](std::string_view name) { return fields[columns.find(name)->second]; };
        const auto number = [&](std::string_view name) {
            const std::string_view field = text(name);
            std::uint64_t value = 0;
            const auto [end, error] =
                std::from_chars(field.data(), field.data() + field.size(), value);
            if (error != std::errc() || end != field.data() + field.size()) {
                fail("\"" + std::string(field) + "\" is not a number (" + std::string(name) + ")");
            }
            return value;
        };
        ExpectedRow row{std::string(text("trace")),
                        std::string(text("policy")),
                        number(capacity),
                        number("requests"),
                        number("misses"),
                        std::nullopt,
                        where()};
        if (sized) row.missed_bytes = number("missed_bytes");
        if (row.trace.empty() || row.policy.empty()) fail("no trace or no policy");
        rows.push_back(std::move(row));
    }
    if (in.bad()) throw std::runtime_error(file.string() + ": cannot be read");
    return rows;
}

}  // namespace hit_ratio
