#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "hit_ratio/arguments.hpp"
#include "hit_ratio/trace.hpp"
#include "policies/cells.hpp"
#include "policies/plot.hpp"
#include "policies/published.hpp"
#include "policies/summary.hpp"

namespace {

using namespace policies;
using hit_ratio::Arguments;
using hit_ratio::UsageError;

constexpr const char* usage =
    R"usage(usage: policies --traces FOLDER [options]

Which policy misses least: every policy on every trace of FOLDER at 0.1, 1, 3, 10 and 30 % of its
distinct objects. Compares misses with FIFO's: a policy's reduction in a cell is (fifo - misses) /
fifo, or -(misses - fifo) / misses where it is worse, and each cell counts the same. Cells under 100
entries, and generated traces, are summed up apart. Tables in Markdown.

  --traces FOLDER     NAME.u32, NAME.u32s, plain or .zst
  --generated LIST    the traces that are generated; zipf09,zipf_scan,zipf_shift,loop,two_pools
                      unless given
  --policy NAME       only this one, and what it is compared with; may be repeated
  --trace NAME        only this one; may be repeated
  --bytes             instead, traces with sizes, at parts of the bytes of all objects: miss ratios
  --published FILE    beside them, rows of "trace,policy,cache_size_objects,requests,misses", or
                      with --bytes of "...,cache_size_bytes,...,missed_bytes"; may be repeated
                      Where caches that ours follow are among them, in how far they differ
  --plot FILE         draw the policies' means as .svg or .png, with gnuplot
  --curves LIST       the traces whose miss-ratio curves are drawn beside them; up to 4
  --seeds N           mean over N seeds of the policies with randomness; 1 unless given
  --cells             a row for each cell, too
  --csv               only cells, as trace,policy,capacity,requests,misses,missed_bytes
  --metrics           lines "policies.POLICY.MEASURE value", those of the policy that caches have
                      by default under that name too; the tables go to stderr
  --threads N         as many as there are cores unless given
)usage";

struct Options {
    std::filesystem::path traces;
    std::vector<std::string> generated{"zipf09", "zipf_scan", "zipf_shift", "loop", "two_pools"};
    std::vector<std::string> policies;
    std::vector<std::string> only_traces;
    std::vector<std::filesystem::path> published;
    std::filesystem::path plot;
    std::vector<std::string> curves;
    bool bytes = false;
    bool cells = false;
    bool csv = false;
    bool metrics = false;
    unsigned seeds = 1;
    unsigned threads = std::max(1u, std::thread::hardware_concurrency());
};

bool contains(const std::vector<std::string>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

Options parse(std::span<char*> given) {
    Options options;
    for (Arguments arguments(given); arguments.next();) {
        const std::string_view option = arguments.option();
        if (option == "--traces") {
            options.traces = arguments.value();
        } else if (option == "--generated") {
            options.generated.clear();
            for (const auto name : hit_ratio::detail::split(arguments.value()))
                options.generated.emplace_back(name);
        } else if (option == "--policy") {
            const std::string_view name = arguments.value();
            const auto found = std::find_if(all.begin(), all.end(), [&](const Policy& p) {
                return p.name == name || (p.is_default && name == "default");
            });
            if (found == all.end()) throw UsageError("no policy " + std::string(name));
            options.policies.emplace_back(found->name);
        } else if (option == "--trace") {
            options.only_traces.emplace_back(arguments.value());
        } else if (option == "--published") {
            options.published.emplace_back(arguments.value());
        } else if (option == "--plot") {
            options.plot = arguments.value();
            hit_ratio::check_plot(options.plot);
        } else if (option == "--curves") {
            for (const auto name : hit_ratio::detail::split(arguments.value()))
                options.curves.emplace_back(name);
        } else if (option == "--bytes") {
            options.bytes = true;
        } else if (option == "--cells") {
            options.cells = true;
        } else if (option == "--csv") {
            options.csv = true;
        } else if (option == "--metrics") {
            options.metrics = true;
        } else if (option == "--seeds") {
            options.seeds = arguments.number<unsigned>();
        } else if (option == "--threads") {
            options.threads = arguments.number<unsigned>();
        } else {
            arguments.unknown();
        }
    }
    if (options.traces.empty()) throw UsageError("--traces is needed");
    if (options.bytes && !options.plot.empty()) throw UsageError("--plot is not of bytes");
    if (options.curves.size() > 4) throw UsageError("--curves takes up to 4 traces");
    return options;
}

struct Study {
    const Options& options;
    std::vector<Cell> cells;
    std::vector<std::size_t> shown;  // policies
    std::vector<Summary> summaries;  // of those shown
    PublishedCells published;

    bool is_generated(const Cell& cell) const {
        return contains(options.generated, cell.trace->name);
    }
};

void print_cells(const Study& study, std::FILE* out) {
    std::fputs("| trace | size | entries |", out);
    for (const std::size_t p : study.shown)
        std::fprintf(out, " %.*s |", static_cast<int>(all[p].name.size()), all[p].name.data());
    std::fputs("\n| --- | ---: | ---: |", out);
    for (std::size_t i = 0; i < study.shown.size(); ++i) std::fputs(" ---: |", out);
    std::fputs("\n", out);
    for (const Cell& cell : study.cells) {
        std::fprintf(out, "| %s |", name_of(cell).c_str());
        for (const std::size_t p : study.shown) {
            const double misses = cell.missed[p].requests;
            if (p == fifo) {
                std::fprintf(out, " %.0f |", misses);
            } else {
                std::fprintf(out, " %+.3f |", reduction(misses, cell.missed[fifo].requests));
            }
        }
        std::fputs("\n", out);
    }
    std::fputs("\n", out);
}

void print_summaries(const Study& study, std::FILE* out) {
    std::map<std::string, Summary> published;
    std::map<std::string, std::size_t> seen_in;
    Summary best;
    for (const Cell& cell : study.cells) {
        const auto found = study.published.find(&cell);
        if (found == study.published.end()) continue;
        std::optional<double> least;
        for (const auto& [name, missed] : found->second) {
            published[name].add(cell, study.is_generated(cell), missed.requests);
            ++seen_in[name];
            if (name != "Belady" && (!least || missed.requests < *least)) least = missed.requests;
        }
        if (least) best.add(cell, study.is_generated(cell), *least);
    }

    Summary::print_heading(out);
    for (std::size_t i = 0; i < study.shown.size(); ++i) {
        const Policy& policy = all[study.shown[i]];
        study.summaries[i].print(out, policy.name);
        if (study.options.metrics) study.summaries[i].print_metrics(policy.name);
        if (study.options.metrics && policy.is_default) study.summaries[i].print_metrics("default");
    }
    for (const auto& [name, summary] : published)
        if (seen_in[name] == study.published.size()) summary.print(out, name + " (published)");
    if (!study.published.empty()) best.print(out, "best of those published in each cell");
}

void print_bytes(const Study& study, std::FILE* out) {
    std::map<std::string, std::array<double, 3>> means;
    std::vector<std::string> names;
    std::fputs(
        "| trace | size | bytes | policy | object miss ratio | byte miss ratio |\n"
        "| --- | ---: | ---: | --- | ---: | ---: |\n",
        out);
    for (const Cell& cell : study.cells) {
        double bytes = 0;
        for (const std::uint32_t size : cell.trace->sizes) bytes += size;
        const auto requests = static_cast<double>(cell.trace->ids.size());
        const auto row = [&](const std::string& name, const Cell::Missed& missed) {
            const double of_objects = missed.requests / requests, of_bytes = missed.weight / bytes;
            if (study.options.cells)
                std::fprintf(out, "| %s | %s | %.4f | %.4f |\n", name_of(cell).c_str(),
                             name.c_str(), of_objects, of_bytes);
            auto& mean = means[name];
            if (mean[2] == 0) names.push_back(name);
            mean[0] += of_objects;
            mean[1] += of_bytes;
            mean[2] += 1;
        };
        for (const std::size_t p : study.shown) row(std::string(all[p].name), cell.missed[p]);
        if (const auto found = study.published.find(&cell); found != study.published.end())
            for (const auto& [name, missed] : found->second) row(name + " (published)", missed);
    }
    for (const std::string& name : names) {
        const auto& [objects, bytes, count] = means[name];
        if (count != static_cast<double>(study.cells.size())) continue;
        std::fprintf(out, "| mean | | | %s | %.4f | %.4f |\n", name.c_str(), objects / count,
                     bytes / count);
        if (!study.options.metrics) continue;
        for (const Policy& policy : all) {
            if (policy.name != name) continue;
            const auto print_as = [&, objects = objects, bytes = bytes,
                                   count = count](const char* as) {
                std::printf("policies.%s.object_miss_ratio %.5f\n", as, objects / count);
                std::printf("policies.%s.byte_miss_ratio %.5f\n", as, bytes / count);
            };
            print_as(name.c_str());
            if (policy.is_default) print_as("default");
        }
    }
}

void print_csv(const Study& study) {
    std::puts("trace,policy,capacity,requests,misses,missed_bytes");
    for (const Cell& cell : study.cells)
        for (const std::size_t p : study.shown)
            std::printf("%s,%.*s,%llu,%zu,%.0f,%.0f\n", cell.trace->name.c_str(),
                        static_cast<int>(all[p].name.size()), all[p].name.data(),
                        static_cast<unsigned long long>(cell.capacity), cell.trace->ids.size(),
                        cell.missed[p].requests, cell.missed[p].weight);
}

/// Runs the wanted policies in all cells, and shows how far it is.
template <class Wanted>
void run_cells(std::vector<Cell>& cells, const Options& options, Wanted&& wanted) {
    const bool progress = isatty(STDERR_FILENO) != 0;
    policies::run(cells, options.seeds, options.threads, wanted,
                  [&](std::size_t done, std::size_t of) {
                      if (progress) std::fprintf(stderr, "\r%zu of %zu ", done + 1, of);
                  });
    if (progress) std::fputs("\r\x1b[K", stderr);
}

void draw(const Study& study, const std::deque<Trace>& traces) {
    std::vector<Cell> curves;
    for (const std::string& name : study.options.curves) {
        const auto trace = std::find_if(traces.begin(), traces.end(),
                                        [&](const Trace& t) { return t.name == name; });
        if (trace == traces.end()) throw std::runtime_error("there is no trace " + name);
        for (const double fraction : curve_fractions)
            curves.push_back(cell_of(*trace, fraction, false, trace->distinct));
    }
    run_cells(curves, study.options, has_curve);
    std::vector<Bar> bars;
    for (std::size_t i = 0; i < study.shown.size(); ++i)
        bars.push_back({all[study.shown[i]].name, study.summaries[i].saved()});
    plot(study.options.plot, curves, bars);
}

int run(const Options& options) {
    std::deque<Trace> traces;
    for (const auto& [name, file] : hit_ratio::find_traces(options.traces)) {
        if (!options.only_traces.empty() && !contains(options.only_traces, name)) continue;
        Trace trace = hit_ratio::read_trace(file);
        if (!options.bytes || trace.sized()) traces.push_back(std::move(trace));
    }
    if (traces.empty()) throw std::runtime_error(options.traces.string() + ": has no such traces");

    Study study{options, {}, {}, {}, {}};
    for (const Trace& trace : traces)
        for (Cell& cell : cells_of(trace, options.bytes)) study.cells.push_back(cell);
    for (std::size_t p = 0; p < all.size(); ++p)
        if (options.policies.empty() || contains(options.policies, all[p].name))
            study.shown.push_back(p);
    const auto wanted = [&](std::size_t p) {
        return p <= s3_fifo ||
               std::find(study.shown.begin(), study.shown.end(), p) != study.shown.end();
    };
    run_cells(study.cells, options, wanted);
    for (const std::size_t p : study.shown) {
        Summary summary;
        for (const Cell& cell : study.cells)
            summary.add(cell, study.is_generated(cell), cell.missed[p].requests);
        study.summaries.push_back(summary);
    }
    for (const auto& file : options.published)
        add_published(study.published, study.cells, options.bytes, file);

    std::FILE* const out = options.metrics ? stderr : stdout;
    if (options.csv) {
        print_csv(study);
    } else if (options.bytes) {
        print_bytes(study, out);
    } else {
        if (options.cells) print_cells(study, out);
        print_summaries(study, out);
        print_models(study.cells, study.shown, study.published, options.metrics, out);
    }
    if (!options.plot.empty()) draw(study, traces);
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        const std::span<char*> given(arguments, static_cast<std::size_t>(count));
        if (count == 2 && std::string_view(given[1]) == "--help") {
            std::fputs(usage, stdout);
            return 0;
        }
        return run(parse(given.subspan(1)));
    } catch (const UsageError& error) {
        std::fprintf(stderr, "policies: %s\n\n%s", error.what(), usage);
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "policies: %s\n", error.what());
        return 1;
    }
}
