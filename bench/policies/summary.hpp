#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include "policies/cells.hpp"

namespace policies {

inline double reduction(double misses, double fifo_misses) {
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

    /// Of FIFO's misses, on average of the cells of traces that were not generated.
    double saved() const { return real_.mean(); }

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

}  // namespace policies
