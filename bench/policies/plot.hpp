#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "hit_ratio/plot.hpp"
#include "policies/cells.hpp"

/// What the policies miss, at a glance: the miss-ratio curves of some traces, and what each policy
/// saves on average.
namespace policies {

struct Line {
    std::string_view policy;
    unsigned colour;
    double width = 1.5;
};

/// Which policies have curves, in colours that also those can tell apart who see few of them (Okabe
/// and Ito).
inline constexpr Line lines[] = {
    {"fifo", 0x777777},      {"lru", 0xe69f00},           {"s3-fifo", 0x0072b2},
    {"w-tinylfu", 0x009e73}, {"adaptive", 0xd55e00, 2.5},
};

inline constexpr std::array curve_fractions{0.001, 0.002, 0.005, 0.01, 0.02,
                                            0.05,  0.1,   0.2,   0.3,  0.5};

inline bool has_curve(std::size_t policy) {
    return std::any_of(std::begin(lines), std::end(lines),
                       [&](const Line& line) { return all[policy].name == line.policy; });
}

/// Of FIFO's misses, the part that a policy saves on average.
struct Bar {
    std::string_view policy;
    double saved;
};

namespace detail {

using hit_ratio::gnuplot_text;

/// Where something is drawn, in parts of the whole, from the lower left.
struct Place {
    double x, y, width, height;
};

inline void begin(std::FILE* out, const Place& place, const std::string& title, const char* x_label,
                  const char* y_label) {
    std::fprintf(out,
                 "set origin %.3f,%.3f\nset size %.3f,%.3f\nset title %s noenhanced\n"
                 "set xlabel '%s'\nset ylabel '%s'\n",
                 place.x, place.y, place.width, place.height, gnuplot_text(title).c_str(), x_label,
                 y_label);
}

/// One trace, at all sizes.
inline void draw_curves(std::FILE* out, std::span<const Cell> cells) {
    std::fputs("plot ", out);
    for (const Line& line : lines)
        std::fprintf(out, "%s'-' with lines lw %g lc rgb %u title %s", &line == lines ? "" : ", ",
                     line.width, line.colour, gnuplot_text(line.policy).c_str());
    std::fputs("\n", out);
    for (const Line& line : lines) {
        const auto policy = static_cast<std::size_t>(
            std::find_if(all.begin(), all.end(),
                         [&](const Policy& p) { return p.name == line.policy; }) -
            all.begin());
        for (const Cell& cell : cells)
            std::fprintf(
                out, "%g %.4f\n", 100 * cell.fraction,
                cell.missed[policy].requests / static_cast<double>(cell.trace->ids.size()));
        std::fputs("e\n", out);
    }
}

/// The best on top.
inline void draw_bars(std::FILE* out, std::vector<Bar> bars) {
    std::sort(bars.begin(), bars.end(),
              [](const Bar& a, const Bar& b) { return a.saved < b.saved; });
    std::fprintf(out, "set yrange [-0.6:%.1f]\nset ytics (", static_cast<double>(bars.size()) - .4);
    for (std::size_t i = 0; i < bars.size(); ++i) {
        std::string name;  // a format, to gnuplot
        for (const char c : bars[i].policy) name.append(c == '%' ? 2 : 1, c);
        std::fprintf(out, "%s%s %zu", i == 0 ? "" : ", ", gnuplot_text(name).c_str(), i);
    }
    std::fputs(
        ")\nplot '-' using 1:2:3:4:5:6:7 with boxxyerror lc rgb variable, "
        "'-' with labels left offset 0.3,0\n",
        out);
    for (std::size_t i = 0; i < bars.size(); ++i) {
        const double saved = 100 * bars[i].saved, y = static_cast<double>(i);
        unsigned colour = 0xbbbbbb;
        for (const Line& line : lines)
            if (line.policy == bars[i].policy) colour = line.colour;
        std::fprintf(out, "%.2f %g %.2f %.2f %g %g %u\n", saved, y, std::min(saved, 0.0),
                     std::max(saved, 0.0), y - 0.35, y + 0.35, colour);
    }
    std::fputs("e\n", out);
    for (std::size_t i = 0; i < bars.size(); ++i)
        std::fprintf(out, "%.2f %zu \"%.1f\"\n", std::max(100 * bars[i].saved, 0.0), i,
                     100 * bars[i].saved);
    std::fputs("e\n", out);
}

}  // namespace detail

/// Of at most four traces, whose cells lie together in `curves`. Throws std::runtime_error if
/// gnuplot cannot.
inline void plot(const std::filesystem::path& file, std::span<const Cell> curves,
                 const std::vector<Bar>& bars) {
    std::FILE* const out = popen("gnuplot", "w");  // what it has to say goes to stderr
    if (out == nullptr) throw std::runtime_error("gnuplot cannot be run");
    std::fprintf(out,
                 "set terminal %s size 960,540 font 'sans-serif,11' background rgb 'white'\n"
                 "set output %s\nset multiplot\nset border 3\nset tics nomirror\n"
                 "set grid ytics lc rgb '#dddddd'\nset logscale x\nset xrange [0.1:50]\n"
                 "set xtics (0.1, 1, 10, 50)\nset ytics 0.25\nset yrange [0:*]\n"
                 "set key bottom left reverse Left samplen 2 noenhanced\n",
                 file.extension() == ".svg" ? "svg" : "pngcairo",
                 hit_ratio::gnuplot_text(file.string()).c_str());
    const std::size_t count = curves.size() / curve_fractions.size();
    constexpr double width = 0.32, height = 0.5;
    for (std::size_t i = 0; i < count; ++i) {
        const bool left = i % 2 == 0, lowest = i + 2 >= count;
        detail::begin(out, {left ? 0 : width, i < 2 ? height : 0, width, height},
                      curves[i * curve_fractions.size()].trace->name,
                      lowest ? "capacity, in % of the objects" : "", left ? "miss ratio" : "");
        detail::draw_curves(out,
                            curves.subspan(i * curve_fractions.size(), curve_fractions.size()));
        std::fputs("unset key\n", out);  // one is enough
    }
    const double room = count == 0 ? 0 : 2 * width;
    detail::begin(out, {room, 0, 1 - room, 1}, "misses saved, on average",
                  "% of the misses of FIFO", "");
    std::fputs(
        "unset key\nunset logscale\nset xrange [*:*]\nset xtics 20\n"
        "unset grid\nset style fill solid\n",
        out);
    detail::draw_bars(out, bars);
    if (pclose(out) != 0) throw std::runtime_error(file.string() + ": gnuplot could not draw it");
}

}  // namespace policies
