#include <unistd.h>

#include <algorithm>
#include <charconv>
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

#include "hit_ratio/expected.hpp"
#include "hit_ratio/trace.hpp"
#include "policies/cells.hpp"

namespace {

using namespace policies;

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
  --seeds N           mean over N seeds of the policies with randomness; 1 unless given
  --cells             a row for each cell, too
  --csv               only cells, as trace,policy,capacity,requests,misses,missed_bytes
  --metrics           lines "policies.POLICY.MEASURE value", those of the policy that caches have
                      by default under that name too; the tables go to stderr
  --threads N         as many as there are cores unless given
)usage";

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Options {
    std::filesystem::path traces;
    std::vector<std::string> generated{"zipf09", "zipf_scan", "zipf_shift", "loop", "two_pools"};
    std::vector<std::string> policies;
    std::vector<std::string> only_traces;
    std::vector<std::filesystem::path> published;
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

unsigned parse_count(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value == 0)
        throw UsageError("\"" + std::string(text) + "\" is not a positive number");
    return value;
}

Options parse(std::span<char*> arguments) {
    Options options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view option = arguments[i];
        const auto value = [&]() -> std::string_view {
            if (++i == arguments.size()) throw UsageError(std::string(option) + " needs a value");
            return arguments[i];
        };
        if (option == "--traces") {
            options.traces = value();
        } else if (option == "--generated") {
            options.generated.clear();
            for (const auto name : hit_ratio::detail::split(value()))
                options.generated.emplace_back(name);
        } else if (option == "--policy") {
            const std::string_view name = value();
            const auto found = std::find_if(all.begin(), all.end(), [&](const Policy& p) {
                return p.name == name || (p.is_default && name == "default");
            });
            if (found == all.end()) throw UsageError("no policy " + std::string(name));
            options.policies.emplace_back(found->name);
        } else if (option == "--trace") {
            options.only_traces.emplace_back(value());
        } else if (option == "--published") {
            options.published.emplace_back(value());
        } else if (option == "--bytes") {
            options.bytes = true;
        } else if (option == "--cells") {
            options.cells = true;
        } else if (option == "--csv") {
            options.csv = true;
        } else if (option == "--metrics") {
            options.metrics = true;
        } else if (option == "--seeds") {
            options.seeds = parse_count(value());
        } else if (option == "--threads") {
            options.threads = parse_count(value());
        } else {
            throw UsageError("unknown option " + std::string(option));
        }
    }
    if (options.traces.empty()) throw UsageError("--traces is needed");
    return options;
}

/// Published misses by policy, of one cell.
using Published = std::map<std::string, Cell::Missed>;

struct Study {
    const Options& options;
    std::vector<Cell> cells;
    std::vector<std::size_t> shown;  // policies
    std::map<const Cell*, Published> published;

    bool is_generated(const Cell& cell) const {
        return contains(options.generated, cell.trace->name);
    }
};

double reduction(double misses, double fifo_misses) {
    return misses <= fifo_misses ? (fifo_misses - misses) / fifo_misses
                                 : -(misses - fifo_misses) / misses;
}

/// How much a policy, or what was published of one, saves.
class Summary {
public:
    void add(const Cell& cell, bool generated, double misses) {
        const double fifo_misses = cell.missed[fifo].requests;
        const double saved = reduction(misses, fifo_misses);
        if (generated) {
            generated_.add(saved);
        } else if (cell.capacity < 100) {
            small_.add(saved);
        } else {
            real_.add(saved);
            if (misses > 1.02 * fifo_misses) ++worse_than_fifo_;
            const double better =
                std::min(cell.missed[lru].requests, cell.missed[s3_fifo].requests);
            if (misses / better - 1 > worst_) {
                worst_ = misses / better - 1;
                worst_cell_ = cell.trace->name + " " + std::to_string(cell.capacity);
            }
        }
    }

    void print(std::FILE* out, std::string_view name) const {
        std::fprintf(out, "| %.*s | %+.4f | %+.4f | %+.4f | %u | %+.1f %% (%s) |\n",
                     static_cast<int>(name.size()), name.data(), real_.mean(), small_.mean(),
                     generated_.mean(), worse_than_fifo_, 100 * worst_, worst_cell_.c_str());
    }

    void print_metrics(std::string_view name) const {
        const auto line = [&](const char* measure, double value) {
            std::printf("policies.%.*s.%s %.5f\n", static_cast<int>(name.size()), name.data(),
                        measure, value);
        };
        line("mean_reduction", real_.mean());
        line("small_mean_reduction", small_.mean());
        line("generated_mean_reduction", generated_.mean());
        line("cells_worse_than_fifo", worse_than_fifo_);
        line("worst_loss", worst_);
    }

    static void print_heading(std::FILE* out) {
        std::fputs(
            "| policy | misses saved | of them under 100 entries | generated traces | cells > 2 % "
            "worse than FIFO | worst loss against the better of LRU and S3-FIFO |\n"
            "| --- | ---: | ---: | ---: | ---: | --- |\n",
            out);
    }

private:
    struct Mean {
        double sum = 0;
        unsigned count = 0;
        void add(double x) {
            sum += x;
            ++count;
        }
        double mean() const { return count ? sum / count : 0; }
    };
    Mean real_, small_, generated_;
    unsigned worse_than_fifo_ = 0;
    double worst_ = -1;
    std::string worst_cell_ = "-";
};

std::string capacity_of(const Cell& cell) {
    char text[64];
    std::snprintf(text, sizeof text, "%s | %g %% | %llu", cell.trace->name.c_str(),
                  100 * cell.fraction, static_cast<unsigned long long>(cell.capacity));
    return text;
}

void print_cells(const Study& study, std::FILE* out) {
    std::fputs("| trace | size | entries |", out);
    for (const std::size_t p : study.shown)
        std::fprintf(out, " %.*s |", static_cast<int>(all[p].name.size()), all[p].name.data());
    std::fputs("\n| --- | ---: | ---: |", out);
    for (std::size_t i = 0; i < study.shown.size(); ++i) std::fputs(" ---: |", out);
    std::fputs("\n", out);
    for (const Cell& cell : study.cells) {
        std::fprintf(out, "| %s |", capacity_of(cell).c_str());
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
    for (const std::size_t p : study.shown) {
        Summary summary;
        for (const Cell& cell : study.cells)
            summary.add(cell, study.is_generated(cell), cell.missed[p].requests);
        summary.print(out, all[p].name);
        if (study.options.metrics) summary.print_metrics(all[p].name);
        if (study.options.metrics && all[p].is_default) summary.print_metrics("default");
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
                std::fprintf(out, "| %s | %s | %.4f | %.4f |\n", capacity_of(cell).c_str(),
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

void add_published(Study& study, const std::filesystem::path& file) {
    for (const auto& row : hit_ratio::read_expected(file)) {
        if (row.sized() != study.options.bytes) continue;
        for (const Cell& cell : study.cells) {
            // Rounded otherwise, a size may be off by one.
            const auto off = row.capacity > cell.capacity ? row.capacity - cell.capacity
                                                          : cell.capacity - row.capacity;
            if (cell.trace->name == row.trace && off <= 1)
                study.published[&cell][row.policy] = {
                    static_cast<double>(row.misses),
                    static_cast<double>(row.missed_bytes.value_or(0))};
        }
    }
}

int run(const Options& options) {
    std::deque<Trace> traces;
    for (const auto& [name, file] : hit_ratio::find_traces(options.traces)) {
        if (!options.only_traces.empty() && !contains(options.only_traces, name)) continue;
        Trace trace = hit_ratio::read_trace(file);
        if (!options.bytes || trace.sized()) traces.push_back(std::move(trace));
    }
    if (traces.empty()) throw std::runtime_error(options.traces.string() + ": has no such traces");

    Study study{options, {}, {}, {}};
    for (const Trace& trace : traces)
        for (Cell& cell : cells_of(trace, options.bytes)) study.cells.push_back(cell);
    for (std::size_t p = 0; p < all.size(); ++p)
        if (options.policies.empty() || contains(options.policies, all[p].name))
            study.shown.push_back(p);
    const auto wanted = [&](std::size_t p) {
        return p <= s3_fifo ||
               std::find(study.shown.begin(), study.shown.end(), p) != study.shown.end();
    };
    const bool progress = isatty(STDERR_FILENO) != 0;
    policies::run(study.cells, options.seeds, options.threads, wanted,
                  [&](std::size_t done, std::size_t of) {
                      if (progress) std::fprintf(stderr, "\r%zu of %zu ", done + 1, of);
                  });
    if (progress) std::fputs("\r\x1b[K", stderr);
    for (const auto& file : options.published) add_published(study, file);

    std::FILE* const out = options.metrics ? stderr : stdout;
    if (options.csv) {
        print_csv(study);
    } else if (options.bytes) {
        print_bytes(study, out);
    } else {
        if (options.cells) print_cells(study, out);
        print_summaries(study, out);
    }
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
