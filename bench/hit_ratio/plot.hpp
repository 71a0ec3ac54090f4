#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "curves.hpp"

/// Curves as SVG or PNG, drawn by gnuplot.
namespace hit_ratio {

/// Throws std::runtime_error that says what to do, before much work is done in vain.
inline void check_plot(const std::filesystem::path& file) {
    if (file.extension() != ".svg" && file.extension() != ".png")
        throw std::runtime_error(file.string() + ": plots are .svg or .png");
    if (std::system("command -v gnuplot >/dev/null 2>&1") != 0)
        throw std::runtime_error(
            "--plot needs gnuplot, which is not here: apt-get install "
            "gnuplot-nox");
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::fopen(file.c_str(), "a"),
                                                              &std::fclose);
    if (!out) throw std::runtime_error(file.string() + ": cannot be written");
}

/// Text within gnuplot's single quotes: within double ones it would run what is in backquotes.
inline std::string gnuplot_text(std::string_view text) {
    std::string result = "'";
    for (const char c : text) {
        if (c == '\'') result += c;  // two of them are one
        result += c == '\n' ? ' ' : c;
    }
    return result + '\'';
}

inline void plot(const std::filesystem::path& file, std::string_view title,
                 const std::vector<Curve>& curves) {
    // What gnuplot has to say goes to stderr by itself.
    std::FILE* const gnuplot = popen("gnuplot", "w");
    if (gnuplot == nullptr) throw std::runtime_error("gnuplot cannot be run");
    std::fprintf(gnuplot,
                 "set terminal %s size 900,560 %s\nset output %s\n"
                 "set title %s noenhanced\nset xlabel 'capacity (entries)'\n"
                 "set ylabel 'miss ratio'\nset logscale x\nset format x '%%.0s%%c'\n"
                 "set yrange [0:*]\nset grid\nset key outside right noenhanced\n",
                 file.extension() == ".svg" ? "svg" : "pngcairo",
                 file.extension() == ".svg" ? "background '#ffffff'" : "",
                 gnuplot_text(file.string()).c_str(), gnuplot_text(title).c_str());
    const char* separator = "plot ";
    for (const Curve& curve : curves) {
        std::fprintf(gnuplot, "%s'-' using 1:2 with linespoints pointsize 0.5 title %s", separator,
                     gnuplot_text(curve.policy).c_str());
        separator = ", ";
    }
    std::fputs("\n", gnuplot);
    for (const Curve& curve : curves) {
        for (const Point& point : curve.points)
            std::fprintf(gnuplot, "%.0f %.6f\n", point.capacity, point.miss_ratio.value);
        std::fputs("e\n", gnuplot);
    }
    if (pclose(gnuplot) != 0)
        throw std::runtime_error(file.string() + ": gnuplot could not draw it");
}

}  // namespace hit_ratio
