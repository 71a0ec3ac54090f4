#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "drey/drey.hpp"
#include "loading/hits.hpp"
#include "throughput/keys.hpp"
#include "throughput/race.hpp"

#if defined(__linux__)
#include <sys/prctl.h>
#endif

/// What loading costs, and what it saves a database.
namespace {

using namespace std::chrono_literals;
using throughput::Rng;
using throughput::scramble;
using throughput::time_threads;

constexpr const char* usage =
    R"usage(usage: loading [--metrics] [--quick]

What a hit costs by get_or_load and by get; how often a database is asked for one key by many
threads, and for many keys by some; how long single reads take while values are being refreshed.
Medians of interleaved rounds.

  --metrics   one line "name value" for each figure that the project promises; the table goes to
              stderr
  --quick     fewer rounds, for a first look
)usage";

struct Options {
    bool metrics = false;
    bool quick = false;

    unsigned rounds() const { return quick ? 3 : 9; }
};

struct Metric {
    const char* name;
    double value;
};

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

template <class Row, class Figure>
double median_of(const std::vector<Row>& rows, Figure figure) {
    std::vector<double> values;
    for (const Row& row : rows) values.push_back(figure(row));
    return median(std::move(values));
}

/// A database that takes its time, without a processor: so it does not compete with readers.
void query(std::chrono::microseconds time) {
#if defined(__linux__)
    // Else the kernel adds 50 us to each sleep, so that it can wake several threads at once.
    thread_local const int precise = prctl(PR_SET_TIMERSLACK, 1000);
    static_cast<void>(precise);
#endif
    std::this_thread::sleep_for(time);
}

// ---- hits --------------------------------------------------------------------------------------

/// The worst of all kinds counts.
Metric compare_hits(const Options& options, std::FILE* table) {
    std::fprintf(table, "%-32s%10s%14s%8s\n", "ns of processor time a hit", "get", "get_or_load",
                 "ratio");
    double worst = 0;
    for (const auto& [name, costs_of] : loading::kinds_of_hits())
        for (const bool expires : {false, true}) {
            const auto costs = costs_of(expires ? drey::Ttl(1h) : drey::never, 3 * options.rounds(),
                                        options.quick ? 500'000 : 2'000'000);
            const double get = median_of(costs, [](const auto& row) { return row.get; });
            const double load = median_of(costs, [](const auto& row) { return row.get_or_load; });
            const double ratio =
                median_of(costs, [](const auto& row) { return row.get_or_load / row.get; });
            std::fprintf(table, "  %-30s%10.1f%14.1f%8.2f\n",
                         (name + (expires ? ", with a TTL" : "")).c_str(), get, load, ratio);
            std::fflush(table);
            worst = std::max(worst, ratio);
        }
    return {"loading.hit.vs_get", worst};
}

// ---- one key, many threads ---------------------------------------------------------------------

/// The most loads of any of the keys that 64 threads miss at once.
Metric stampede(const Options& options, std::FILE* table) {
    constexpr unsigned threads = 64;
    const unsigned keys = options.quick ? 20 : 100;
    drey::Cache<unsigned, unsigned> cache({.capacity = 1000});
    unsigned most = 0;
    for (unsigned key = 0; key < keys; ++key) {
        std::atomic<unsigned> loads = 0, wrong = 0;
        time_threads(threads, [&](unsigned) {
            const unsigned value = cache.get_or_load(key, [&](unsigned missed) {
                ++loads;
                query(1ms);
                return missed + 1;
            });
            if (value != key + 1) ++wrong;
        });
        if (wrong != 0) throw std::runtime_error("a value does not belong to its key");
        most = std::max(most, loads.load());
    }
    std::fprintf(table,
                 "\n%u threads miss one key, %u times; a load takes 1 ms: %u load%s at most\n",
                 threads, keys, most, most == 1 ? "" : "s");
    return {"loading.stampede.loads", static_cast<double>(most)};
}

// ---- many keys, some threads -------------------------------------------------------------------

/// How many keys were loaded again before the TTL of what the last load brought was over.
///
/// Half of the threads go through the keys in one order, and miss the same ones at the same time;
/// the others ask in no order. All of them come by each key's end of life.
Metric dedup(const Options& options, std::FILE* table) {
    using Clock = std::chrono::steady_clock;
    constexpr unsigned threads = 8;
    constexpr std::size_t keys = 100'000;
    constexpr auto ttl = 1s;
    const std::size_t reads = keys * (options.quick ? 2 : 5);

    struct Row {
        std::atomic<Clock::time_point> loaded{};  // the last time
        std::atomic<bool> is_loading = false;
    };
    const auto rows = std::make_unique<Row[]>(keys);
    std::atomic<std::uint64_t> loads = 0, reloads = 0, twice = 0, wrong = 0;
    // Room for all of them: what is evicted would have to be loaded again.
    drey::Cache<std::uint64_t, std::uint64_t> cache({.capacity = 2 * keys, .ttl = ttl});

    time_threads(threads, [&](unsigned thread) {
        Rng rng(thread);
        for (std::size_t i = 0; i < reads; ++i) {
            const std::size_t at = (thread % 2 == 0 ? i : rng()) % keys;
            const std::uint64_t value = cache.get_or_load(scramble(at), [&](std::uint64_t key) {
                Row& row = rows[at];
                const auto last = row.loaded.load();
                const bool is_again = last != Clock::time_point();
                if (row.is_loading.exchange(true) || (is_again && Clock::now() - last < ttl))
                    ++twice;
                query(50us);
                ++loads;
                if (is_again) ++reloads;
                row.loaded = Clock::now();
                row.is_loading = false;
                return ~key;
            });
            if (value != ~scramble(at)) ++wrong;
        }
    });
    if (wrong != 0) throw std::runtime_error("a value does not belong to its key");
    if (loads - reloads != keys) throw std::runtime_error("a key was not loaded at all");
    if (reloads == 0) throw std::runtime_error("nothing expired: too few reads to say anything");
    std::fprintf(table,
                 "\n%u threads, %zu keys with a TTL of 1 s, a load takes 50 us: %llu reads, %llu "
                 "loads, %llu of them after a TTL, %llu before its end\n",
                 threads, keys, static_cast<unsigned long long>(threads * reads),
                 static_cast<unsigned long long>(loads), static_cast<unsigned long long>(reloads),
                 static_cast<unsigned long long>(twice));
    return {"loading.dedup.twice", static_cast<double>(twice)};
}

// ---- reads during refreshes --------------------------------------------------------------------

struct Reads {
    double p50 = 0, p99 = 0, p999 = 0;  // nanoseconds, two looks at the clock included
    std::size_t count = 0;
    std::uint64_t stale = 0;
};

/// Two readers of a few hot keys. In one kind of window their values are fresh throughout; in the
/// other their TTL is that short that at each moment some of them are stale and being loaded
/// anew, which takes 1 ms.
class Readers {
    using Clock = std::chrono::steady_clock;
    using Cache = drey::Cache<std::uint64_t, std::uint64_t>;

public:
    Readers() {
        for (auto& key : keys_) key = scramble(static_cast<std::uint64_t>(&key - keys_));
    }

    Reads read(bool with_refreshes, std::chrono::milliseconds window) {
        // The same clock is asked in both: for a deadline that is far away, or near.
        const drey::Ttl ttl = with_refreshes ? drey::Ttl(2ms) : drey::Ttl(1h);
        for (const std::uint64_t key : keys_) cache_.put(key, ~key, {.ttl = ttl});
        const std::uint64_t stale_before = cache_.stats().stale_serves;
        const std::uint64_t refreshes_before = cache_.stats().refreshes;
        const auto loader = [ttl](std::uint64_t key) {
            query(1ms);
            return drey::Loaded<std::uint64_t>{~key, {.ttl = ttl}};
        };
        std::vector<std::vector<std::uint32_t>> times(readers);
        std::atomic<std::uint64_t> wrong = 0;
        const auto end = Clock::now() + window;
        time_threads(readers, [&](unsigned reader) {
            Rng rng(reader);
            std::uint64_t my_wrong = 0;
            for (auto now = Clock::now(); now < end;) {
                const std::uint64_t key = keys_[rng() % hot];
                const auto began = Clock::now();
                const std::uint64_t value = cache_.get_or_load(key, loader);
                now = Clock::now();
                my_wrong |= value ^ ~key;
                times[reader].push_back(static_cast<std::uint32_t>((now - began).count()));
            }
            wrong |= my_wrong;
        });
        times_.clear();
        for (const auto& some : times) times_.insert(times_.end(), some.begin(), some.end());
        if (wrong != 0) throw std::runtime_error("a value does not belong to its key");
        const drey::Stats stats = cache_.stats();
        if ((stats.refreshes != refreshes_before) != with_refreshes)
            throw std::runtime_error("values were refreshed when they should not, or not at all");
        query(10ms);  // what is being loaded should not reach into the next window
        return {.p50 = quantile(0.5),
                .p99 = quantile(0.99),
                .p999 = quantile(0.999),
                .count = times_.size(),
                .stale = stats.stale_serves - stale_before};
    }

private:
    static constexpr std::size_t hot = 16;
    static constexpr unsigned readers = 2;

    double quantile(double q) {
        const auto at =
            times_.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(times_.size()));
        std::nth_element(times_.begin(), at, times_.end());
        return *at;
    }

    std::uint64_t keys_[hot];
    Cache cache_{{.capacity = 1000, .loading = {.stale_for = 1h}}};
    std::vector<std::uint32_t> times_;
};

Metric refreshes(const Options& options, std::FILE* table) {
    struct Pair {
        Reads without, with;
    };
    Readers readers;
    std::vector<Pair> pairs(options.rounds());
    const auto window = options.quick ? 100ms : 500ms;
    for (Pair& pair : pairs) {
        pair.without = readers.read(false, window);
        pair.with = readers.read(true, window);
    }
    const auto row = [&](const char* name, auto reads_of) {
        const auto figure = [&](auto member) {
            return median_of(pairs, [&](const Pair& pair) {
                return static_cast<double>(reads_of(pair).*member);
            });
        };
        std::fprintf(table, "  %-30s%10.0f%10.0f%10.0f%10.2f%10.1f\n", name, figure(&Reads::p50),
                     figure(&Reads::p99), figure(&Reads::p999), figure(&Reads::count) / 1e6,
                     100 * figure(&Reads::stale) / figure(&Reads::count));
    };
    std::fprintf(table, "\n%-32s%10s%10s%10s%10s%10s\n", "ns a read, clock included", "p50", "p99",
                 "p99.9", "M reads", "% stale");
    row("all fresh", [](const Pair& pair) { return pair.without; });
    row("refreshes of 1 ms going on", [](const Pair& pair) { return pair.with; });
    return {"loading.swr.p99_ratio",
            median_of(pairs, [](const Pair& pair) { return pair.with.p99 / pair.without.p99; })};
}

// ------------------------------------------------------------------------------------------------

void run(const Options& options) {
    std::FILE* const table = options.metrics ? stderr : stdout;
    for (const auto measure : {compare_hits, stampede, dedup, refreshes}) {
        const Metric metric = measure(options, table);
        std::fflush(table);
        if (options.metrics) std::printf("%s %.3f\n", metric.name, metric.value);
    }
}

}  // namespace

int main(int count, char** arguments) {
    try {
        Options options;
        for (int i = 1; i < count; ++i) {
            const std::string_view option = arguments[i];
            if (option == "--metrics") {
                options.metrics = true;
            } else if (option == "--quick") {
                options.quick = true;
            } else {
                std::fputs(usage, option == "--help" ? stdout : stderr);
                return option == "--help" ? 0 : 2;
            }
        }
        run(options);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "loading: %s\n", error.what());
        return 1;
    }
}
