#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "drey/hash.hpp"

/// The keys of a log, as hashes: of lines, of a column of CSV, or of binary records.
namespace hit_ratio {

enum class Format {
    lines,  ///< a key a line
    csv,    ///< a key in a column of each line
    u32,    ///< little-endian numbers of 4 bytes
    u32s,   ///< the same, each followed by a size of 4 bytes, which is ignored
};

struct LogFormat {
    Format format = Format::lines;
    char delimiter = ',';          ///< ' ' for any number of blanks
    std::size_t column = 1;        ///< counted from 1
    std::string column_name = {};  ///< unless empty: which one that is, the first line says
    bool header = false;           ///< the first line is none of the requests
};

/// What is wrong with a whole log, after its name.
struct LogError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Lines without a key, of which the first is shown.
struct BadLines {
    std::uint64_t count = 0;
    std::uint64_t first = 0;  ///< its number, counted from 1
    std::string why;
};

/// The field of a line of CSV, without its quotes; nothing if there is none.
class CsvFields {
public:
    CsvFields(std::string_view line, char delimiter) : rest_(line), delimiter_(delimiter) {
        if (delimiter_ == ' ') skip_blanks();
    }

    /// The next field. Good until the next call.
    std::optional<std::string_view> next() {
        if (done_) return std::nullopt;
        if (delimiter_ != ' ' && rest_.starts_with('"')) return quoted();
        std::size_t end = delimiter_ == ' ' ? rest_.find_first_of(" \t") : rest_.find(delimiter_);
        if (delimiter_ == ' ' && rest_.empty()) return std::nullopt;
        const std::string_view field = rest_.substr(0, end);
        go_on_after(field.size());
        return field;
    }

    /// A quote was opened and not closed.
    bool is_broken() const noexcept { return broken_; }

private:
    std::optional<std::string_view> quoted() {
        unquoted_.clear();
        std::size_t from = 1;
        for (;;) {
            const std::size_t quote = rest_.find('"', from);
            if (quote == rest_.npos) {
                broken_ = done_ = true;
                return std::nullopt;
            }
            unquoted_.append(rest_, from, quote - from);
            from = quote + 1;
            if (from >= rest_.size() || rest_[from] != '"') break;
            unquoted_ += '"';  // two of them are one
            ++from;
        }
        if (from < rest_.size() && rest_[from] != delimiter_) {
            broken_ = done_ = true;
            return std::nullopt;
        }
        go_on_after(from);
        return unquoted_;
    }

    void go_on_after(std::size_t end) {
        done_ = end >= rest_.size();
        rest_.remove_prefix(std::min(rest_.size(), end + 1));
        if (delimiter_ == ' ') skip_blanks();
    }
    void skip_blanks() {
        rest_.remove_prefix(std::min(rest_.size(), rest_.find_first_not_of(" \t")));
    }

    std::string_view rest_;
    const char delimiter_;
    std::string unquoted_;
    bool done_ = false, broken_ = false;
};

/// Takes a log in pieces of any length, and calls `take(hash)` for each request. Throws LogError.
template <class Take>
class LogReader {
public:
    /// A longer line is no key.
    static constexpr std::size_t longest_line = 1 << 16;

    LogReader(LogFormat format, Take take) : format_(std::move(format)), take_(std::move(take)) {}

    void read(std::span<const char> piece) {
        is_text() ? read_lines({piece.data(), piece.size()}) : read_records(piece);
    }

    /// After the last piece. Throws LogError if the file ends too early.
    void finish() {
        if (is_text()) {
            if (!held_.empty() || too_long_) end_line({});
        } else if (!held_.empty()) {
            throw LogError("is truncated: its length is no multiple of " +
                           std::to_string(record()));
        }
    }

    std::uint64_t requests() const noexcept { return requests_; }
    const BadLines& bad_lines() const noexcept { return bad_; }

private:
    static constexpr std::uint64_t salt = drey::detail::pi_0;  // so that runs repeat

    bool is_text() const noexcept {
        return format_.format == Format::lines || format_.format == Format::csv;
    }
    std::size_t record() const noexcept { return format_.format == Format::u32s ? 8 : 4; }

    void read_lines(std::string_view piece) {
        while (!piece.empty()) {
            const std::size_t end = piece.find('\n');
            if (end == piece.npos) {
                hold(piece);
                return;
            }
            end_line(piece.substr(0, end));
            piece.remove_prefix(end + 1);
        }
    }

    void hold(std::string_view part) {
        too_long_ |= held_.size() + part.size() > longest_line;
        if (!too_long_) held_ += part;
    }

    void end_line(std::string_view rest) {
        ++line_;
        if (!held_.empty() || too_long_) {
            hold(rest);
            rest = held_;
        }
        if (too_long_ || rest.size() > longest_line) {
            bad("it is longer than 65,536 bytes");
        } else {
            if (rest.ends_with('\r')) rest.remove_suffix(1);
            line(rest);
        }
        held_.clear();
        too_long_ = false;
    }

    void line(std::string_view text) {
        // Who writes UTF-8 for spreadsheets may mark the file by these.
        if (line_ == 1 && text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
        if (line_ == 1 && (format_.header || !format_.column_name.empty())) return header(text);
        if (format_.format == Format::lines)
            return text.empty() ? bad("it is empty") : request_of(text);
        CsvFields fields(text, format_.delimiter);
        for (std::size_t at = 1;; ++at) {
            const auto field = fields.next();
            if (!field)
                return bad(fields.is_broken()
                               ? "its quotes do not match"
                               : "it has no column " + std::to_string(format_.column));
            if (at == format_.column)
                return field->empty() ? bad("its key is empty") : request_of(*field);
        }
    }

    void header(std::string_view text) {
        if (format_.column_name.empty()) return;
        CsvFields fields(text, format_.delimiter);
        for (std::size_t at = 1;; ++at) {
            const auto field = fields.next();
            if (!field)
                throw LogError("has no column \"" + format_.column_name + "\" in its first line");
            if (*field == format_.column_name) {
                format_.column = at;
                return;
            }
        }
    }

    void read_records(std::span<const char> piece) {
        while (!piece.empty()) {
            if (held_.empty() && piece.size() >= record()) {
                number(piece.data());
                piece = piece.subspan(record());
                continue;
            }
            const std::size_t some = std::min(record() - held_.size(), piece.size());
            held_.append(piece.data(), some);
            piece = piece.subspan(some);
            if (held_.size() == record()) {
                number(held_.data());
                held_.clear();
            }
        }
    }

    void number(const char* bytes) {
        std::uint32_t id = 0;
        for (int i = 3; i >= 0; --i) id = id << 8 | static_cast<unsigned char>(bytes[i]);
        ++requests_;
        take_(drey::detail::mix(id, salt));
    }
    void request_of(std::string_view key) {
        ++requests_;
        take_(drey::detail::hash_bytes(key, salt));
    }
    void bad(std::string why) {
        if (bad_.count++ == 0) bad_ = {1, line_, std::move(why)};
    }

    LogFormat format_;
    Take take_;
    std::string held_;  // of a line or record that a piece's end has cut
    bool too_long_ = false;
    std::uint64_t line_ = 0;
    std::uint64_t requests_ = 0;
    BadLines bad_;
};

}  // namespace hit_ratio
