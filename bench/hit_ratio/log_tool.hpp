#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "arguments.hpp"
#include "curves.hpp"
#include "input.hpp"
#include "key_sample.hpp"
#include "log_keys.hpp"
#include "plot.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "sizes.hpp"

/// Miss-ratio curves of somebody's own log.
namespace hit_ratio {

struct LogOptions {
    std::filesystem::path file;
    std::optional<Format> format;
    LogFormat how;
    std::vector<const CurvePolicy*> policies;
    std::vector<Size> sizes{{0.1, true}, {0.3, true}, {1, true},  {3, true},
                            {10, true},  {30, true},  {100, true}};
    double rate = 1;
    std::size_t most = std::size_t{1} << 23;
    bool exact = false;
    std::filesystem::path csv, json, plot;
    std::string title;
    unsigned threads = std::max(1u, std::thread::hardware_concurrency());
};

inline Format parse_format(std::string_view name) {
    if (name == "lines") return Format::lines;
    if (name == "csv") return Format::csv;
    if (name == "u32") return Format::u32;
    if (name == "u32s") return Format::u32s;
    throw UsageError("--format takes lines, csv, u32 or u32s");
}

/// What the file's name says that it is.
inline Format format_of(std::filesystem::path file) {
    if (file.extension() == ".zst" || file.extension() == ".gz") file = file.stem();
    if (file.extension() == ".u32") return Format::u32;
    if (file.extension() == ".u32s") return Format::u32s;
    return file.extension() == ".csv" ? Format::csv : Format::lines;
}

inline const CurvePolicy* find_curve_policy(std::string_view name) {
    std::string known;
    for (const CurvePolicy& policy : curve_policies) {
        if (policy.name == name) return &policy;
        known += " " + std::string(policy.name);
    }
    throw UsageError("no policy " + std::string(name) + "; there are" + known);
}

inline LogOptions parse_log_options(std::span<char*> all) {
    LogOptions options;
    for (Arguments arguments(all); arguments.next();) {
        const std::string_view option = arguments.option();
        if (option == "--format") {
            options.format = parse_format(arguments.value());
        } else if (option == "--column") {
            const std::string_view column = arguments.value();
            if (column.empty()) throw UsageError("--column needs a number or a name");
            if (column.find_first_not_of("0123456789") == column.npos) {
                options.how.column = parse_number<std::size_t>(column);
            } else {
                options.how.column_name = column;
            }
            if (!options.format) options.format = Format::csv;
        } else if (option == "--delimiter") {
            const std::string_view delimiter = arguments.value();
            if (delimiter == "tab") {
                options.how.delimiter = '\t';
            } else if (delimiter == "blanks") {
                options.how.delimiter = ' ';
            } else if (delimiter.size() == 1) {
                options.how.delimiter = delimiter.front();
            } else {
                throw UsageError("--delimiter takes a character, tab or blanks");
            }
            if (!options.format) options.format = Format::csv;
        } else if (option == "--header") {
            options.how.header = true;
        } else if (option == "--policy") {
            options.policies.push_back(find_curve_policy(arguments.value()));
        } else if (option == "--sizes") {
            options.sizes = parse_sizes(arguments.value());
        } else if (option == "--rate") {
            options.rate = arguments.number<double>();
            if (options.rate > 1) throw UsageError("--rate takes a number up to 1");
        } else if (option == "--most") {
            options.most = std::max<std::size_t>(1000, arguments.number<std::size_t>());
        } else if (option == "--exact") {
            options.exact = true;
        } else if (option == "--csv") {
            options.csv = arguments.value();
        } else if (option == "--json") {
            options.json = arguments.value();
        } else if (option == "--plot") {
            options.plot = arguments.value();
        } else if (option == "--title") {
            options.title = arguments.value();
        } else if (option == "--threads") {
            options.threads = arguments.number<unsigned>();
        } else if (option.starts_with("--")) {
            arguments.unknown();
        } else if (!options.file.empty()) {
            throw UsageError("one file at a time");
        } else {
            options.file = option;
        }
    }
    if (options.file.empty()) throw UsageError("which file? (\"-\" is standard input)");
    options.how.format = options.format.value_or(format_of(options.file));
    if (options.exact) options.most = ~std::size_t{0};
    if (options.policies.empty())
        for (const CurvePolicy& policy : curve_policies) options.policies.push_back(&policy);
    return options;
}

/// Reads the log, once, into `sample`; what was wrong with its lines.
inline BadLines read_log(const LogOptions& options, KeySample& sample) {
    std::error_code unknown;
    const auto size = std::filesystem::file_size(options.file, unknown);
    Progress progress(unknown ? 0 : size);
    const std::string name = name_of(options.file);
    LogReader reader(options.how, [&](drey::Hash key) { sample.add(key); });
    std::uint64_t position = 0;
    const auto named = [&](auto&& read) {
        try {
            read();
        } catch (const LogError& error) {
            throw std::runtime_error(name + " " + error.what());
        }
    };
    for_each_piece(
        options.file, [&](std::span<const char> piece) { named([&] { reader.read(piece); }); },
        [&](std::uint64_t at) {
            progress.advance(at - position, "reading", "bytes");
            position = at;
        });
    named([&] { reader.finish(); });
    const BadLines& bad = reader.bad_lines();
    if (reader.requests() == 0)
        throw std::runtime_error(name + " holds no requests" +
                                 (bad.count == 0 ? ""
                                                 : ": none of its lines has a key; line " +
                                                       std::to_string(bad.first) + ": " + bad.why));
    return bad;
}

inline int run(const LogOptions& options) {
    if (!options.plot.empty()) check_plot(options.plot);
    KeySample sample(options.most, options.rate);
    LogReport report;
    report.file = name_of(options.file);
    report.bad_lines = read_log(options, sample);
    if (report.bad_lines.count > 0)
        std::fprintf(stderr, "hit_ratio: %llu lines left out; the first is line %llu: %s\n",
                     static_cast<unsigned long long>(report.bad_lines.count),
                     static_cast<unsigned long long>(report.bad_lines.first),
                     report.bad_lines.why.c_str());
    if (sample.keys().empty())
        throw std::runtime_error(
            report.file + ": no key is in the sample; take --exact, or a higher --rate or --most");

    report.requests = sample.requests();
    report.rate = sample.rate();
    report.sampled = sample.keys().size();
    report.distinct = sample.distinct();
    std::vector<double> capacities;
    std::size_t too_small = 0;
    for (const Size& size : options.sizes) {
        const auto capacity = static_cast<double>(size.of(report.distinct));
        // A cache of a few keys says nothing of a large one.
        if (!sample.is_whole() && capacity * report.rate < 10) {
            ++too_small;
        } else if (std::find(capacities.begin(), capacities.end(), capacity) == capacities.end()) {
            capacities.push_back(capacity);
        }
    }
    std::sort(capacities.begin(), capacities.end());
    if (too_small > 0)
        std::fprintf(stderr,
                     "hit_ratio: %zu sizes left out, which are too small for this sample (--exact, "
                     "or --most with more)\n",
                     too_small);
    if (capacities.empty()) throw std::runtime_error("no sizes are left");
    {
        Progress progress(options.policies.size() * sample.keys().size());
        report.curves =
            curves_of(sample, options.policies, capacities, options.threads,
                      [&](std::size_t done) { progress.advance(done, "replaying", "requests"); });
    }
    if (options.csv != "-" && options.json != "-") write_table(stdout, report);
    if (!options.csv.empty())
        write_to(options.csv, [&](std::FILE* out) { write_csv(out, report); });
    if (!options.json.empty())
        write_to(options.json, [&](std::FILE* out) { write_json(out, report); });
    if (!options.plot.empty())
        plot(options.plot, options.title.empty() ? report.file : options.title, report.curves);
    return 0;
}

}  // namespace hit_ratio
