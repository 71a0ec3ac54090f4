#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hit_ratio/expected.hpp"
#include "policies/cells.hpp"

/// What others published that their policies missed, and how near ours are to what they follow.
namespace policies {

/// What each policy missed, of a cell.
using Published = std::map<std::string, Cell::Missed>;
using PublishedCells = std::map<const Cell*, Published>;

inline void add_published(PublishedCells& published, std::span<const Cell> cells, bool in_bytes,
                          const std::filesystem::path& file) {
    for (const auto& row : hit_ratio::read_expected(file)) {
        if (row.sized() != in_bytes) continue;
        for (const Cell& cell : cells) {
            // Rounded otherwise, a size may be off by one.
            const auto off = row.capacity > cell.capacity ? row.capacity - cell.capacity
                                                          : cell.capacity - row.capacity;
            if (cell.trace->name == row.trace && off <= 1)
                published[&cell][row.policy] = {static_cast<double>(row.misses),
                                                static_cast<double>(row.missed_bytes.value_or(0))};
        }
    }
}

/// A policy of ours, and the published one that it is to be as good as.
struct Model {
    std::string_view ours;
    std::string_view metric;
    std::string_view theirs;
    std::string_view metric_of_theirs;
};

inline constexpr Model models[] = {
    {"w-tinylfu-1%", "wtinylfu_fixed", "Caffeine-2.6.2", "caffeine"},
    {"w-tinylfu", "wtinylfu", "CafSim-W-TinyLFU-adaptive", "cafsim"},
};

/// Differences between miss ratios, in the cells of this capacity and more.
inline constexpr drey::Weight least_compared = 100;
inline constexpr double near = 0.01;

inline void print_near_and_far(const Model& model, const std::vector<Cell>& cells, std::size_t ours,
                               const PublishedCells& published, bool metrics, std::FILE* out) {
    struct Difference {
        const Cell* cell;
        double of_ours, of_theirs;
        double value() const { return of_ours - of_theirs; }
    };
    std::vector<Difference> differences;
    double sum = 0;
    for (const Cell& cell : cells) {
        const auto rows = published.find(&cell);
        if (cell.capacity < least_compared || rows == published.end()) continue;
        const auto row = rows->second.find(std::string(model.theirs));
        if (row == rows->second.end()) continue;
        const auto requests = static_cast<double>(cell.trace->ids.size());
        differences.push_back(
            {&cell, cell.missed[ours].requests / requests, row->second.requests / requests});
        sum += differences.back().value();
    }
    if (differences.empty()) return;
    std::sort(differences.begin(), differences.end(),
              [](const auto& a, const auto& b) { return a.value() > b.value(); });
    const auto beyond = [&](auto&& is) {
        return static_cast<std::size_t>(std::count_if(differences.begin(), differences.end(), is));
    };
    const std::size_t worse = beyond([](const auto& d) { return d.value() > near; });
    const std::size_t better = beyond([](const auto& d) { return d.value() < -near; });
    const double mean = sum / static_cast<double>(differences.size());
    const double worst = differences.front().value();

    std::fprintf(out,
                 "\n%s beside %s, of %zu cells of %llu entries or more: miss ratios differ by "
                 "%+.4f on average, %+.4f at worst; %zu worse by more than %.2f, %zu better\n",
                 model.ours.data(), model.theirs.data(), differences.size(),
                 static_cast<unsigned long long>(least_compared), mean, worst, worse, near, better);
    if (worse + better > 0)
        std::fputs(
            "| trace | size | entries | ours | theirs | difference |\n"
            "| --- | ---: | ---: | ---: | ---: | ---: |\n",
            out);
    for (const Difference& d : differences)
        if (d.value() > near || d.value() < -near)
            std::fprintf(out, "| %s | %.4f | %.4f | %+.4f |\n", name_of(*d.cell).c_str(), d.of_ours,
                         d.of_theirs, d.value());
    if (!metrics) return;
    const auto line = [&](const char* measure, auto value) {
        std::printf("policies.%s.%s_%s %g\n", model.metric.data(), measure,
                    model.metric_of_theirs.data(), static_cast<double>(value));
    };
    line("worse_than", worse);
    line("better_than", better);
    line("worst_difference_to", worst);
    line("mean_difference_to", mean);
}

/// For each policy of ours that has a model, unless it was left out.
inline void print_models(const std::vector<Cell>& cells, std::span<const std::size_t> shown,
                         const PublishedCells& published, bool metrics, std::FILE* out) {
    for (const Model& model : models)
        for (const std::size_t p : shown)
            if (all[p].name == model.ours)
                print_near_and_far(model, cells, p, published, metrics, out);
}

}  // namespace policies
