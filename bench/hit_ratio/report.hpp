#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "curves.hpp"
#include "log_keys.hpp"

/// The curves of a log as a table, as CSV and as JSON.
namespace hit_ratio {

struct LogReport {
    std::string file;
    std::uint64_t requests = 0;
    double distinct = 0;  // estimated unless the rate is 1
    double rate = 1;
    std::size_t sampled = 0;  // requests
    BadLines bad_lines;
    std::vector<Curve> curves;
};

inline void write_table(std::FILE* out, const LogReport& report) {
    const bool whole = report.rate == 1;
    std::fprintf(out, "%s: %llu requests, %s%.0f keys\n", report.file.c_str(),
                 static_cast<unsigned long long>(report.requests), whole ? "" : "about ",
                 report.distinct);
    if (!whole)
        std::fprintf(out,
                     "from a sample: %zu requests, of one key in %.1f; the truth is within the "
                     "error about 9 times in 10,\nbut for LFU and MRU, which may miss hot keys "
                     "all the time, whether in the sample or not\n",
                     report.sampled, 1 / report.rate);
    std::fprintf(out, "%12s", "capacity");
    for (const Curve& curve : report.curves)
        std::fprintf(out, "  %*.*s", whole ? 8 : 15, static_cast<int>(curve.policy.size()),
                     curve.policy.data());
    std::fputs("\n", out);
    for (std::size_t i = 0; i < report.curves.front().points.size(); ++i) {
        std::fprintf(out, "%12.0f", report.curves.front().points[i].capacity);
        for (const Curve& curve : report.curves) {
            const drey::Estimate& ratio = curve.points[i].miss_ratio;
            if (whole) {
                std::fprintf(out, "  %8.4f", ratio.value);
            } else {
                // Two columns wider than it looks: ± is two bytes.
                std::fprintf(out, "  %6.4f ± %.4f", ratio.value, ratio.error);
            }
        }
        std::fputs("\n", out);
    }
}

inline void write_csv(std::FILE* out, const LogReport& report) {
    std::fputs("policy,capacity,requests,misses,miss_ratio,error\n", out);
    for (const Curve& curve : report.curves)
        for (const Point& point : curve.points)
            std::fprintf(out, "%.*s,%.0f,%llu,%.0f,%.6f,%.6f\n",
                         static_cast<int>(curve.policy.size()), curve.policy.data(), point.capacity,
                         static_cast<unsigned long long>(report.requests),
                         point.miss_ratio.value * static_cast<double>(report.requests),
                         point.miss_ratio.value, point.miss_ratio.error);
}

/// A string of JSON. What is not UTF-8 in it stays what it is.
inline std::string json(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') result += '\\';
        if (static_cast<unsigned char>(c) < 0x20) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
            result += escaped;
        } else {
            result += c;
        }
    }
    return result + '"';
}

inline void write_json(std::FILE* out, const LogReport& report) {
    std::fprintf(out,
                 "{\"file\": %s, \"requests\": %llu, \"keys\": %.0f, \"rate\": %.9g, "
                 "\"sampled_requests\": %zu, \"bad_lines\": %llu,\n \"curves\": [",
                 json(report.file).c_str(), static_cast<unsigned long long>(report.requests),
                 report.distinct, report.rate, report.sampled,
                 static_cast<unsigned long long>(report.bad_lines.count));
    const char* separator = "\n";
    for (const Curve& curve : report.curves) {
        std::fprintf(out, "%s  {\"policy\": %s, \"points\": [", separator,
                     json(curve.policy).c_str());
        const char* comma = "\n";
        for (const Point& point : curve.points) {
            std::fprintf(out, "%s    {\"capacity\": %.0f, \"miss_ratio\": %.6f, \"error\": %.6f}",
                         comma, point.capacity, point.miss_ratio.value, point.miss_ratio.error);
            comma = ",\n";
        }
        std::fputs("]}", out);
        separator = ",\n";
    }
    std::fputs("]}\n", out);
}

/// Calls `write(out)` with the file, or with standard output for "-".
template <class Write>
void write_to(const std::filesystem::path& file, Write&& write) {
    if (file == "-") return write(stdout);
    struct Close {
        void operator()(std::FILE* open) const noexcept { std::fclose(open); }
    };
    std::unique_ptr<std::FILE, Close> out(std::fopen(file.c_str(), "w"));
    if (!out) throw std::runtime_error(file.string() + ": cannot be written");
    write(out.get());
    const bool good = std::fflush(out.get()) == 0 && !std::ferror(out.get());
    if (!good) throw std::runtime_error(file.string() + ": could not be written to its end");
}

}  // namespace hit_ratio
