#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "drey/drey.hpp"
#include "drey/simulate.hpp"
#include "hit_ratio/trace.hpp"
#include "throughput/keys.hpp"

/// What the advisor predicts, against what caches do; and what it costs.
namespace {

using Cache = drey::Cache<std::uint64_t, std::uint64_t>;

constexpr const char* usage =
    R"usage(usage: advisor --traces FOLDER [--trace NAME] [--memory KIB] [--metrics]
       advisor --cost

Replays each trace through caches with .advise = true, of 0.1, 1, 3, 10 and 30 % of its objects,
and compares what they advise with runs at other capacities and with other policies.

  --trace NAME   only this one
  --memory KIB   what the advisor may take; 256 unless given
  --metrics      lines "advisor.NAME value" instead of the tables
  --cost         throughput with and without advice, once its beginning is over
)usage";

/// The bars that the table is held against.
constexpr double bar_as_it_is = 0.02, bar_others = 0.03;

struct Total {
    double worst_as_it_is = 0, worst_simulated = 0, worst_other = 0, sum = 0;
    std::size_t others = 0, beyond = 0, beyond_as_it_is = 0, within_error = 0;
};

/// Replays the trace against a policy; its hit ratio.
double hit_ratio_of(std::string_view policy, std::span<const drey::Hash> keys, double capacity) {
    const auto entries = static_cast<drey::Weight>(std::max(1.0, std::round(capacity)));
    double hit_ratio = -1;
    const auto run_if_it = [&]<class P>(const char* name) {
        if (policy == name) hit_ratio = 1 - drey::simulate<P>(keys, entries).miss_ratio();
    };
    drey::detail::each_rival(run_if_it);
    drey::detail::each_other_policy(run_if_it);
    return hit_ratio;
}

void compare(const hit_ratio::Trace& trace, std::size_t memory, bool quiet, Total& total) {
    std::vector<drey::Hash> keys;
    for (const std::uint32_t id : trace.ids) keys.push_back(drey::detail::mix(id, 1));
    if (!quiet)
        std::printf("\n%s: %zu requests, %zu objects\n%9s  %7s  %9s   %s\n", trace.name.c_str(),
                    trace.ids.size(), trace.distinct, "capacity", "hits", "simulated",
                    "error of each prediction, at 1/4, 1/2, 1, 2, 4, 8 times the capacity");
    for (const double percent : {0.1, 1.0, 3.0, 10.0, 30.0}) {
        const auto capacity = static_cast<std::size_t>(
            std::max(1.0, std::round(percent / 100 * static_cast<double>(trace.distinct))));
        Cache cache{{.capacity = capacity, .seed = 1, .advise = true, .advise_memory = memory}};
        for (const std::uint32_t id : trace.ids)
            if (!cache.get(id)) cache.put(id, id);
        const drey::Advice advice = cache.advice();
        const double real = cache.stats().hit_ratio();
        if (!quiet) std::printf("%9zu  %7.4f  %9.4f ", capacity, real, advice.simulated);
        total.worst_simulated = std::max(total.worst_simulated, std::abs(advice.simulated - real));
        std::string_view policy;
        for (const drey::Prediction& one : advice.predictions) {
            const bool as_it_is = one.is_own && one.factor == 1;
            const double truth = as_it_is ? real : hit_ratio_of(one.policy, keys, one.capacity);
            const double error = one.hit_ratio - truth;
            if (as_it_is) {
                total.worst_as_it_is = std::max(total.worst_as_it_is, std::abs(error));
                total.beyond_as_it_is += std::abs(error) > bar_as_it_is ? 1 : 0;
            } else {
                total.worst_other = std::max(total.worst_other, std::abs(error));
                total.beyond += std::abs(error) > bar_others ? 1 : 0;
                total.within_error += std::abs(error) <= one.error + 0.001 ? 1 : 0;
                total.sum += std::abs(error);
                ++total.others;
            }
            if (quiet) continue;
            if (policy != one.policy)
                std::printf("  %.*s", static_cast<int>(one.policy.size()), one.policy.data());
            policy = one.policy;
            std::printf(" %+.3f%s", error, std::abs(error) > bar_others ? "!" : "");
        }
        if (!quiet) std::printf("\n           %s\n", advice.sentence().c_str());
    }
    std::fflush(stdout);
}

int compare_all(const std::filesystem::path& folder, std::string_view only, std::size_t memory,
                bool metrics) {
    Total total;
    for (const auto& [name, file] : hit_ratio::find_traces(folder))
        if (only.empty() || name == only)
            compare(hit_ratio::read_trace(file), memory, metrics, total);
    if (total.others == 0) {
        std::fprintf(stderr, "advisor: %s has no such traces\n", folder.string().c_str());
        return 1;
    }
    const double mean = total.sum / static_cast<double>(total.others);
    const double share =
        static_cast<double>(total.within_error) / static_cast<double>(total.others);
    if (metrics) {
        std::printf("advisor.as_it_is.worst %.4f\nadvisor.simulated.worst %.4f\n",
                    total.worst_as_it_is, total.worst_simulated);
        std::printf("advisor.others.worst %.4f\nadvisor.others.mean %.4f\n", total.worst_other,
                    mean);
        std::printf("advisor.others.beyond %zu\nadvisor.others.within_error %.3f\n", total.beyond,
                    share);
    } else {
        std::printf("\nthe cache as it is: at most %.4f off (its simulation alone: %.4f)\n",
                    total.worst_as_it_is, total.worst_simulated);
        std::printf("%zu others: %.4f off on average, at most %.4f; %zu by more than %.2f\n",
                    total.others, mean, total.worst_other, total.beyond, bar_others);
        std::printf("%.1f %% are within the error that was stated\n", 100 * share);
    }
    return total.beyond_as_it_is == 0 ? 0 : 1;
}

/// Look-ups a second, a put after each miss, of Zipf-distributed keys.
double rate_of(Cache& cache, std::span<const std::uint64_t> keys, int rounds) {
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t sum = 0;
    for (int round = 0; round < rounds; ++round)
        for (const std::uint64_t key : keys) {
            const auto found = cache.get(key);
            if (!found) cache.put(key, key);
            sum += found.value_or(1);
        }
    asm volatile("" : "+r"(sum));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    return static_cast<double>(keys.size()) * rounds / took.count();
}

int cost(bool metrics) {
    constexpr int rounds = 3, pairs = 11;
    const throughput::Zipf zipf(throughput::key_count, 0.99);
    throughput::Rng rng(1);
    std::vector<std::uint64_t> keys(1 << 20);
    for (std::uint64_t& key : keys) key = throughput::scramble(zipf(rng));
    if (!metrics) std::printf("%9s  %9s  %9s\n", "capacity", "hit ratio", "with/without");
    for (const std::size_t capacity :
         std::initializer_list<std::size_t>{1'000, 30'000, 1'000'000}) {
        Cache with{{.capacity = capacity, .seed = 1, .advise = true}};
        Cache without{{.capacity = capacity, .seed = 1}};
        rate_of(with, keys, 12);  // the beginning is over after this
        rate_of(without, keys, 2);
        std::vector<double> ratios;
        for (int pair = 0; pair < pairs; ++pair) {
            const double on = rate_of(with, keys, rounds), off = rate_of(without, keys, rounds);
            ratios.push_back(on / off);
        }
        std::nth_element(ratios.begin(), ratios.begin() + pairs / 2, ratios.end());
        if (metrics) {
            std::printf("advisor.throughput.%zu %.4f\n", capacity, ratios[pairs / 2]);
        } else {
            std::printf("%9zu  %9.4f  %12.4f\n", capacity, without.stats().hit_ratio(),
                        ratios[pairs / 2]);
        }
        std::fflush(stdout);
    }
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    std::filesystem::path folder;
    std::string_view only;
    std::size_t memory = std::size_t{256} << 10;
    bool metrics = false, wants_cost = false, wrong = false;
    for (int i = 1; i < count; ++i) {
        const std::string_view option = arguments[i];
        const bool has_value = i + 1 < count;
        if (option == "--help") return std::fputs(usage, stdout) < 0;
        if (option == "--metrics") {
            metrics = true;
        } else if (option == "--cost") {
            wants_cost = true;
        } else if (option == "--traces" && has_value) {
            folder = arguments[++i];
        } else if (option == "--trace" && has_value) {
            only = arguments[++i];
        } else if (option == "--memory" && has_value) {
            memory = std::strtoull(arguments[++i], nullptr, 10) << 10;
        } else {
            wrong = true;
        }
    }
    if (wrong || (folder.empty() && !wants_cost)) {
        std::fputs(usage, stderr);
        return 2;
    }
    try {
        if (wants_cost) return cost(metrics);
        return compare_all(folder, only, memory, metrics);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "advisor: %s\n", error.what());
        return 1;
    }
}
