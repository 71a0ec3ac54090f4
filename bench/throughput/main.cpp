#include <benchmark/benchmark.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "throughput/cases.hpp"

namespace {

using namespace throughput;

constexpr const char* usage =
    R"usage(usage: throughput [options]

Operations a second of drey and of other caches, each round over all cases in turn, each run with a
new cache. Medians over the rounds.

  --metrics        one line "name value" for each figure that the project promises, and only the
                   cases they need; the table goes to stderr
  --quick          fewer operations, rounds and cases, for a first look
  --filter REGEX   only cases whose name matches, such as hits/u64/2t/drey
  --rounds N       at least 1
  --cpu-time       time is what the busiest thread had of a processor, instead of until the last
                   finished: blind to waiting, but also to others who use the machine
  --list           the names of the cases
)usage";

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Options {
    bool metrics = false;
    bool quick = false;
    bool list = false;
    bool cpu_time = false;
    std::string filter = ".";
    std::optional<unsigned> rounds;

    unsigned round_count() const { return rounds.value_or(quick ? 3 : metrics ? 7 : 5); }

    std::size_t operations(const Case& of) const {
        const bool slow = std::string_view(of.types) == Texts::name;
        return std::size_t{1} << (quick ? 19 : slow ? 20 : 21);
    }
};

Options parse_options(int count, char** arguments) {
    Options options;
    for (int i = 1; i < count; ++i) {
        const std::string_view option = arguments[i];
        const auto value = [&]() -> std::string_view {
            if (++i == count) throw UsageError(std::string(option) + " needs a value");
            return arguments[i];
        };
        if (option == "--metrics") {
            options.metrics = true;
        } else if (option == "--quick") {
            options.quick = true;
        } else if (option == "--list") {
            options.list = true;
        } else if (option == "--cpu-time") {
            options.cpu_time = true;
        } else if (option == "--filter") {
            options.filter = value();
        } else if (option == "--rounds") {
            const std::string_view text = value();
            unsigned rounds = 0;
            const auto [end, error] =
                std::from_chars(text.data(), text.data() + text.size(), rounds);
            if (error != std::errc() || end != text.data() + text.size() || rounds == 0)
                throw UsageError("--rounds takes a positive number");
            options.rounds = rounds;
        } else if (option == "--help") {
            std::fputs(usage, stdout);
            std::exit(0);
        } else {
            throw UsageError("unknown option " + std::string(option));
        }
    }
    return options;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// What was measured of a case, one figure a round.
struct Series {
    std::vector<double> rates;  // operations a second
    double hit_ratio = 0;
    bool reads = false;
};

class Results {
public:
    Series& operator[](const Case& of) { return series_[of.name()]; }

    const Series* find(Workload workload, const char* types, unsigned threads,
                       const std::string& contender) const {
        const auto found = series_.find(Case{workload, types, threads, contender, {}}.name());
        return found == series_.end() || found->second.rates.empty() ? nullptr : &found->second;
    }

private:
    std::map<std::string, Series> series_;
};

// ---- the figures that the project promises -----------------------------------------------------

/// A case of u64 that a metric speaks of.
struct Term {
    Workload workload;
    unsigned threads;
    std::string contender;
};

constexpr const char* best_peer = "(best peer)";
const std::vector<std::string> bounded_peers = {"rocksdb clock", "rocksdb lru", "mutex lru",
                                                "tbb lru"};

struct Metric {
    std::string name;
    Term of;
    Term to;
};

std::vector<Metric> make_metrics() {
    const std::string self = default_policy;
    const auto hits = Workload::hits;
    std::vector<Metric> metrics = {
        {"hits.1t.vs_absl", {hits, 1, self}, {hits, 1, "absl map"}},
        {"hits.1t.vs_hcc", {hits, 1, self}, {hits, 1, "rocksdb clock"}},
        {"hits.1t.vs_mutex", {hits, 1, self}, {hits, 1, "mutex lru"}},
        {"hits.1t.lru_vs_default", {hits, 1, "lru"}, {hits, 1, self}},
        {"hits.2t.scaling", {hits, 2, self}, {hits, 1, self}},
        {"hits.2t.vs_mutex", {hits, 2, self}, {hits, 2, "mutex lru"}},
        {"hits.2t.vs_absl", {hits, 2, self}, {hits, 2, "absl map"}},
        {"hotkey.2t.scaling", {Workload::hotkey, 2, self}, {Workload::hotkey, 1, self}},
    };
    for (const auto workload : {Workload::readthrough, Workload::churn}) {
        const std::string prefix = std::string(name(workload)) + '.';
        for (const unsigned threads : {1u, 2u, 8u})
            metrics.push_back({prefix + std::to_string(threads) + "t.vs_best_peer",
                               {workload, threads, self},
                               {workload, threads, best_peer}});
        for (const unsigned threads : {1u, 2u})
            metrics.push_back({prefix + std::to_string(threads) + "t.vs_absl",
                               {workload, threads, self},
                               {workload, threads, "absl map"}});
    }
    for (const auto workload : {hits, Workload::readthrough, Workload::churn})
        metrics.push_back(
            {std::string(name(workload)) + ".8t.vs_2t", {workload, 8, self}, {workload, 2, self}});
    return metrics;
}

bool names(const Term& term, const Case& which) {
    if (term.workload != which.workload || term.threads != which.threads ||
        std::string_view(which.types) != Numbers::name)
        return false;
    if (term.contender != best_peer) return term.contender == which.contender;
    return std::find(bounded_peers.begin(), bounded_peers.end(), which.contender) !=
           bounded_peers.end();
}

const Series* find(const Results& results, const Term& term) {
    if (term.contender != best_peer)
        return results.find(term.workload, Numbers::name, term.threads, term.contender);
    const Series* best = nullptr;
    for (const std::string& peer : bounded_peers) {
        const Series* const found = results.find(term.workload, Numbers::name, term.threads, peer);
        if (found && (!best || median(found->rates) > median(best->rates))) best = found;
    }
    return best;
}

/// The median of the rounds' ratios, so that drift between rounds cancels.
void print_metrics(const std::vector<Metric>& metrics, const Results& results) {
    for (const Metric& metric : metrics) {
        const Series* const of = find(results, metric.of);
        const Series* const to = find(results, metric.to);
        if (!of || !to) {
            std::fprintf(stderr, "throughput: %s is left out: its cases did not run\n",
                         metric.name.c_str());
            continue;
        }
        std::vector<double> ratios;
        for (std::size_t i = 0; i < of->rates.size(); ++i)
            ratios.push_back(of->rates[i] / to->rates[i]);
        std::printf("%s %.3f\n", metric.name.c_str(), median(ratios));
    }
}

// ---- the table ---------------------------------------------------------------------------------

void print_table(std::FILE* out, const std::vector<Case>& cases, const Results& results) {
    std::set<std::string> printed;
    std::string heading;
    for (const Case& first : cases) {
        const std::string group = std::string(name(first.workload)) + ", " + first.types;
        if (!printed.insert(group + first.contender).second) continue;
        std::string cells;
        bool ran = false;
        const Series* of_hits = nullptr;
        for (const unsigned threads : thread_counts) {
            const Series* const series =
                results.find(first.workload, first.types, threads, first.contender);
            char cell[32] = "        -";
            if (series) std::snprintf(cell, sizeof cell, "%9.2f", median(series->rates) / 1e6);
            cells += cell;
            ran |= series != nullptr;
            if (series && !of_hits && series->reads) of_hits = series;
        }
        if (!ran) continue;  // filtered out
        if (heading != group) {
            heading = group;
            std::fprintf(out, "\n%-24s", group.c_str());
            for (const unsigned threads : thread_counts) std::fprintf(out, "%6u thr", threads);
            std::fputs("   hit ratio\n", out);
        }
        std::fprintf(out, "  %-22s%s", first.contender.c_str(), cells.c_str());
        if (of_hits) std::fprintf(out, "%12.4f", of_hits->hit_ratio);
        std::fputs("\n", out);
    }
}

// ---- running -----------------------------------------------------------------------------------

/// The rounds have a table of their own.
class Silent : public benchmark::BenchmarkReporter {
public:
    bool ReportContext(const Context&) override { return true; }
    void ReportRuns(const std::vector<Run>& runs) override {
        for (const Run& run : runs)
            if (run.error_occurred)
                throw std::runtime_error(run.benchmark_name() + ": " + run.error_message);
    }
};

void enrol(const Case& which, const Options& options, Results& results) {
    const auto run = [&](benchmark::State& state) {
        for ([[maybe_unused]] auto _ : state) {
            try {
                const Outcome outcome = which.run(options.operations(which));
                const double seconds = options.cpu_time ? outcome.time.cpu : outcome.time.wall;
                state.SetIterationTime(seconds);
                Series& series = results[which];
                series.rates.push_back(static_cast<double>(outcome.operations) / seconds);
                series.reads = outcome.reads != 0;
                if (series.reads)
                    series.hit_ratio =
                        static_cast<double>(outcome.hits) / static_cast<double>(outcome.reads);
            } catch (const std::exception& error) {
                state.SkipWithError(error.what());
                return;
            }
        }
    };
    benchmark::RegisterBenchmark(which.name().c_str(), run)->Iterations(1)->UseManualTime();
}

bool is_wanted(const Case& which, const Options& options, const std::vector<Metric>& metrics) {
    if (options.metrics)
        return std::any_of(metrics.begin(), metrics.end(), [&](const Metric& metric) {
            return names(metric.of, which) || names(metric.to, which);
        });
    static const std::set<std::string> sketch = {default_policy, "lru", "absl map", "rocksdb clock",
                                                 "mutex lru"};
    return !options.quick ||
           (which.threads <= 2 && std::string_view(which.types) == Numbers::name &&
            sketch.contains(which.contender));
}

int run(const Options& options) {
    const std::vector<Metric> metrics = make_metrics();
    std::vector<Case> cases = all_cases();
    // The contenders of a workload one after the other, so that drift hits them alike.
    std::sort(cases.begin(), cases.end(), [](const Case& a, const Case& b) {
        const auto place = [](const Case& of) {
            return std::tuple(std::string_view(of.types) != Numbers::name, of.workload, of.threads,
                              of.contender != default_policy, of.contender);
        };
        return place(a) < place(b);
    });
    std::erase_if(cases, [&](const Case& which) { return !is_wanted(which, options, metrics); });

    Results results;
    for (const Case& which : cases) enrol(which, options, results);
    if (options.list) {
        for (const Case& which : cases) std::puts(which.name().c_str());
        return 0;
    }
    Silent silent;
    for (unsigned round = 1; round <= options.round_count(); ++round) {
        std::fprintf(stderr, "round %u of %u\n", round, options.round_count());
        if (benchmark::RunSpecifiedBenchmarks(&silent, options.filter) == 0)
            throw std::runtime_error("no case matches " + options.filter);
    }

    std::FILE* const out = options.metrics ? stderr : stdout;
    std::fprintf(out,
                 "\nMillion operations a second, all threads together: median of %u rounds.\n"
                 "Keys Zipf(0.99) over %zu; capacity for all in hits and hotkey, else for %zu.\n",
                 options.round_count(), key_count, bounded_capacity);
    print_table(out, cases, results);
    if (options.metrics) print_metrics(metrics, results);
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        return run(parse_options(count, arguments));
    } catch (const UsageError& error) {
        std::fprintf(stderr, "throughput: %s\n\n%s", error.what(), usage);
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "throughput: %s\n", error.what());
        return 1;
    }
}
