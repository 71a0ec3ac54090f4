#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "arguments.hpp"
#include "expected.hpp"
#include "progress.hpp"
#include "replay.hpp"
#include "sizes.hpp"
#include "trace.hpp"

/// A folder of traces against the policies and whole caches, and against known miss counts.
namespace hit_ratio {

inline constexpr double random_band = 0.015;
inline constexpr int random_seeds = 5;

struct TraceOptions {
    std::filesystem::path traces;
    std::vector<std::filesystem::path> expected;
    std::vector<std::filesystem::path> random_bands;
    std::vector<std::string> policies;
    std::vector<std::string> only_traces;
    std::vector<Size> sizes{{0.1, true}, {1, true}, {3, true}, {10, true}, {30, true}};
    bool bare = true;
    bool cache = true;
    bool csv = false;
    unsigned threads = std::max(1u, std::thread::hardware_concurrency());

    bool wants_policy(std::string_view name) const { return wants(policies, name); }
    bool wants_trace(std::string_view name) const { return wants(only_traces, name); }

private:
    static bool wants(const std::vector<std::string>& these, std::string_view name) {
        return these.empty() || std::find(these.begin(), these.end(), name) != these.end();
    }
};

inline TraceOptions parse_trace_options(std::span<char*> all) {
    TraceOptions options;
    for (Arguments arguments(all); arguments.next();) {
        const std::string_view option = arguments.option();
        if (option == "--traces") {
            options.traces = arguments.value();
        } else if (option == "--expected") {
            options.expected.emplace_back(arguments.value());
        } else if (option == "--random-band") {
            options.random_bands.emplace_back(arguments.value());
        } else if (option == "--policy") {
            options.policies.emplace_back(arguments.value());
            if (!find_policy(options.policies.back())) {
                std::string known;
                for (const auto& policy : policies) known += " " + std::string(policy.name);
                throw UsageError("no policy " + options.policies.back() + "; there are" + known);
            }
        } else if (option == "--trace") {
            options.only_traces.emplace_back(arguments.value());
        } else if (option == "--sizes") {
            options.sizes = parse_sizes(arguments.value());
        } else if (option == "--only") {
            const std::string_view which = arguments.value();
            if (which != "bare" && which != "cache") throw UsageError("--only takes bare or cache");
            options.bare = which == "bare";
            options.cache = which == "cache";
        } else if (option == "--threads") {
            options.threads = arguments.number<unsigned>();
        } else if (option == "--csv") {
            options.csv = true;
        } else {
            arguments.unknown();
        }
    }
    return options;
}

/// What became of one trace, printed in the traces' order whatever thread was first.
struct Report {
    std::string text;
    std::string error;
    std::size_t compared = 0;
    std::size_t exact = 0;
    std::size_t in_band_of = 0;
    std::size_t in_band = 0;
};

__attribute__((format(printf, 2, 3))) inline void print(Report& report, const char* format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    report.text += line;
}

/// Reads each trace once and calls `work` on it, several traces at a time.
inline std::vector<Report> for_each_trace(const std::vector<std::filesystem::path>& files,
                                          unsigned threads,
                                          const std::function<void(const Trace&, Report&)>& work) {
    std::vector<std::size_t> order(files.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto bytes = [&](std::size_t i) {
        std::error_code ignored;
        return std::filesystem::file_size(files[i], ignored);
    };
    // The longest first, so that no thread is left with it at the end.
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return bytes(a) > bytes(b); });

    std::vector<Report> reports(files.size());
    std::atomic<std::size_t> next = 0;
    const auto worker = [&] {
        for (std::size_t i; (i = next++) < order.size();) {
            Report& report = reports[order[i]];
            try {
                work(read_trace(files[order[i]]), report);
            } catch (const std::exception& error) {
                report.error = error.what();
            }
        }
    };
    {
        std::vector<std::jthread> others;
        for (unsigned i = 1; i < threads; ++i) others.emplace_back(worker);
        worker();
    }
    return reports;
}

inline void print_table(const TraceOptions& options, const Trace& trace, Progress& progress,
                        Report& report) {
    if (!options.csv) {
        print(report, "%s: %zu requests, %zu objects\n%12s", trace.name.c_str(), trace.ids.size(),
              trace.distinct, "capacity");
        for (const auto& policy : policies) {
            if (!options.wants_policy(policy.name)) continue;
            print(report, "  %17.*s", static_cast<int>(policy.name.size()), policy.name.data());
        }
        print(report, "\n");
    }
    for (const Size& size : options.sizes) {
        const Cell cell{.capacity = size.of(static_cast<double>(trace.distinct))};
        if (!options.csv) print(report, "%12llu", static_cast<unsigned long long>(cell.capacity));
        for (const auto& policy : policies) {
            if (!options.wants_policy(policy.name)) continue;
            const drey::Replay result =
                options.bare ? policy.replay_policy(trace, cell) : policy.replay_cache(trace, cell);
            const auto misses = static_cast<unsigned long long>(result.misses);
            if (options.csv) {
                print(report, "%s,%.*s,%llu,%zu,%llu,%.6f\n", trace.name.c_str(),
                      static_cast<int>(policy.name.size()), policy.name.data(),
                      static_cast<unsigned long long>(cell.capacity), trace.ids.size(), misses,
                      result.miss_ratio());
            } else {
                print(report, "  %8llu %8.4f", misses, result.miss_ratio());
            }
        }
        if (!options.csv) print(report, "\n");
        progress.step(trace.name);
    }
    if (!options.csv) print(report, "\n");
}

/// One way to run the row; prints a line if it differs.
inline bool matches(const ExpectedRow& row, const char* what, const drey::Replay& result,
                    Report& report) {
    const bool bytes_match = !row.sized() || result.missed_weight == *row.missed_bytes;
    if (result.misses == row.misses && bytes_match) return true;
    print(report, "%s: %s %s at %llu, %s: expected %llu misses, got %llu", row.where.c_str(),
          row.trace.c_str(), row.policy.c_str(), static_cast<unsigned long long>(row.capacity),
          what, static_cast<unsigned long long>(row.misses),
          static_cast<unsigned long long>(result.misses));
    if (row.sized()) {
        print(report, "; expected %llu missed bytes, got %llu",
              static_cast<unsigned long long>(*row.missed_bytes),
              static_cast<unsigned long long>(result.missed_weight));
    }
    print(report, "\n");
    return false;
}

inline bool in_band(const ExpectedRow& row, const char* what, Run run, const Trace& trace,
                    Report& report) {
    double misses = 0;
    for (int seed = 1; seed <= random_seeds; ++seed) {
        const Cell cell{.capacity = row.capacity, .seed = static_cast<std::uint64_t>(seed)};
        misses += static_cast<double>(run(trace, cell).misses) / random_seeds;
    }
    const auto expected = static_cast<double>(row.misses);
    if (std::abs(misses - expected) <= random_band * expected) return true;
    print(report,
          "%s: %s Random at %llu, %s: expected %.0f misses within %.1f %%, got %.0f (%+.2f %%)\n",
          row.where.c_str(), row.trace.c_str(), static_cast<unsigned long long>(row.capacity), what,
          expected, 100 * random_band, misses, 100 * (misses - expected) / expected);
    return false;
}

inline void compare(const TraceOptions& options, const Trace& trace,
                    const std::vector<ExpectedRow>& rows, Progress& progress, Report& report) {
    for (const ExpectedRow& row : rows) {
        const bool random = row.policy == random_row;
        ++(random ? report.in_band_of : report.compared);
        bool good =
            row.requests == trace.ids.size() && row.capacity > 0 && (!row.sized() || trace.sized());
        if (!good) {
            print(report, "%s: the row is of %llu requests%s, %s has %zu%s\n", row.where.c_str(),
                  static_cast<unsigned long long>(row.requests), row.sized() ? " with sizes" : "",
                  row.trace.c_str(), trace.ids.size(), trace.sized() ? " with sizes" : "");
        } else if (random) {
            const PolicyUnderTest& policy = *find_policy("Random");
            if (options.bare) good &= in_band(row, "bare policy", policy.bare, trace, report);
            if (options.cache) good &= in_band(row, "cache", policy.cached, trace, report);
        } else {
            const PolicyUnderTest& policy = *find_row(row.policy);
            const Cell cell{.capacity = row.capacity, .weighed = row.sized()};
            if (options.bare)
                good &= matches(row, "bare policy", policy.replay_policy(trace, cell), report);
            if (options.cache)
                good &= matches(row, "cache", policy.replay_cache(trace, cell), report);
        }
        if (good) ++(random ? report.in_band : report.exact);
        progress.step(trace.name);
    }
}

/// The rows to compare, by trace; says what is left out and why.
inline std::map<std::string, std::vector<ExpectedRow>> comparable_rows(
    const TraceOptions& options) {
    std::map<std::string, std::vector<ExpectedRow>> rows;
    std::size_t too_small = 0;
    const auto take = [&](ExpectedRow& row) { rows[row.trace].push_back(std::move(row)); };
    for (const auto& file : options.expected) {
        for (ExpectedRow& row : read_expected(file)) {
            if (!options.wants_trace(row.trace)) continue;
            if (row.policy == random_row) {
                if (!row.sized() && options.wants_policy("Random")) take(row);
                continue;
            }
            const PolicyUnderTest* policy = find_row(row.policy);
            if (!policy || !options.wants_policy(policy->name)) continue;
            if (!row.sized() && row.capacity < policy->least_capacity) {
                ++too_small;
            } else {
                take(row);
            }
        }
    }
    for (const auto& file : options.random_bands) {
        for (ExpectedRow& row : read_expected(file)) {
            const bool wanted = options.wants_trace(row.trace) && options.wants_policy("Random");
            if (row.policy == random_row && !row.sized() && wanted) take(row);
        }
    }
    if (too_small > 0) {
        std::printf(
            "%zu rows of S3-FIFO at less than 20 objects skipped: the reference caches nothing "
            "there\n",
            too_small);
    }
    return rows;
}

inline int run(const TraceOptions& options) {
    const auto available = find_traces(options.traces);
    const bool comparing = !options.expected.empty() || !options.random_bands.empty();
    std::vector<std::filesystem::path> files;
    std::map<std::string, std::vector<ExpectedRow>> rows;
    std::size_t steps = 0;
    for (const std::string& name : options.only_traces) {
        if (!available.contains(name)) {
            throw std::runtime_error(options.traces.string() + ": has no trace " + name);
        }
    }
    if (comparing) {
        rows = comparable_rows(options);
        for (const auto& [name, of_trace] : rows) {
            if (const auto found = available.find(name); found != available.end()) {
                files.push_back(found->second);
                steps += of_trace.size();
            } else {
                std::printf("no trace %s in %s: %zu rows not compared\n", name.c_str(),
                            options.traces.string().c_str(), of_trace.size());
            }
        }
    } else {
        for (const auto& [name, file] : available) {
            if (options.wants_trace(name)) files.push_back(file);
        }
        if (files.empty()) throw std::runtime_error(options.traces.string() + ": has no traces");
        steps = files.size() * options.sizes.size();
        if (options.csv) std::puts("trace,policy,cache_size_objects,requests,misses,miss_ratio");
    }

    std::vector<Report> reports;
    {
        Progress progress(steps);
        reports = for_each_trace(files, options.threads, [&](const Trace& trace, Report& report) {
            if (comparing) {
                compare(options, trace, rows.at(trace.name), progress, report);
            } else {
                print_table(options, trace, progress, report);
            }
        });
    }

    Report total;
    bool failed = false;
    for (const Report& report : reports) {
        std::fputs(report.text.c_str(), stdout);
        std::fflush(stdout);
        if (!report.error.empty()) {
            std::fprintf(stderr, "hit_ratio: %s\n", report.error.c_str());
            failed = true;
        }
        total.compared += report.compared;
        total.exact += report.exact;
        total.in_band_of += report.in_band_of;
        total.in_band += report.in_band;
    }
    if (!comparing) return failed ? 1 : 0;
    if (total.in_band_of > 0) {
        std::printf("%zu of %zu rows of Random within %.1f %%\n", total.in_band, total.in_band_of,
                    100 * random_band);
    }
    std::printf("%zu of %zu rows exact\n", total.exact, total.compared);
    const bool all_good = total.exact == total.compared && total.in_band == total.in_band_of;
    return !failed && all_good && total.compared + total.in_band_of > 0 ? 0 : 1;
}

}  // namespace hit_ratio
