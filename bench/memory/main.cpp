#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "throughput/peers.hpp"

/// Resident bytes an entry beyond key and value, by the kernel's account.
namespace {

using namespace throughput;

constexpr const char* usage =
    R"usage(usage: memory [--metrics]

Resident bytes an entry of u64 -> u64 beyond its 16, with 1,000,000 entries: freshly filled, and
after three times as many new keys have gone through.

  --metrics   one line "name value" for each figure that the project promises, which is the larger
              of the two; the table goes to stderr
)usage";

constexpr std::size_t entries = 1'000'000;

struct Footprint {
    double filled = 0;
    double churned = 0;
};

/// Heap and stacks, but not the pages of programs and libraries.
double resident_bytes() {
    malloc_trim(0);
    std::ifstream file("/proc/self/smaps_rollup");
    for (std::string word; file >> word;)
        if (double kilobytes = 0; word == "Anonymous:" && file >> kilobytes)
            return kilobytes * 1024;
    throw std::runtime_error("this kernel's /proc/self/smaps_rollup does not tell");
}

template <class Contender>
void put(Contender& contender, std::size_t rank) {
    auto& own = contender.at(0);
    if constexpr (requires { own.put(scramble(rank)); }) {
        own.put(scramble(rank));
    } else {
        std::uint64_t wrong = 0;
        own.read(scramble(rank), wrong);
    }
}

/// `bounded`: whether new keys push out old ones.
template <class Contender, bool bounded = true, class... Options>
Footprint measure(Options... options) {
    {
        // What is loaded or allocated once and for all is no entry's.
        Contender small(Setup{.capacity = 1000}, options...);
        for (std::size_t i = 0; i < (bounded ? 3000 : 1000); ++i) put(small, i);
    }
    const double before = resident_bytes();
    Contender contender(Setup{.capacity = entries}, options...);
    const auto bytes_an_entry = [&] {
        const auto count = static_cast<double>(contender.size());
        if (count > 1.01 * entries || count < 0.9 * entries)
            throw std::runtime_error("it holds " + std::to_string(contender.size()) + " entries");
        const double beyond = (resident_bytes() - before) / count;
        return beyond - sizeof(Numbers::Key) - sizeof(Numbers::Value);
    };
    std::size_t next = 0;
    while (next < entries) put(contender, next++);
    Footprint footprint;
    footprint.filled = footprint.churned = bytes_an_entry();
    if (bounded) {
        while (next < 4 * entries) put(contender, next++);
        footprint.churned = bytes_an_entry();
    }
    return footprint;
}

template <class Backend>
using Cache = Drey<Numbers, Backend>;

Footprint with_ttl() {
    return measure<Cache<drey::DefaultPolicy>>(drey::Ttl(std::chrono::hours(1)));
}

struct Contender {
    const char* name;
    const char* metric;
    Footprint (*measure)();
};

constexpr Contender contenders[] = {
    {"drey", "memory.plain", &measure<Cache<drey::DefaultPolicy>>},
    {"drey, ttl", "memory.ttl", &with_ttl},
    {"local lru", "memory.local_lru", &measure<Cache<drey::Local<drey::Lru>>>},
    {"fifo", nullptr, &measure<Cache<drey::Fifo>>},
    {"lru", nullptr, &measure<Cache<drey::Lru>>},
    {"mru", nullptr, &measure<Cache<drey::Mru>>},
    {"lfu", nullptr, &measure<Cache<drey::Lfu>>},
    {"random", nullptr, &measure<Cache<drey::Random>>},
    {"sieve", nullptr, &measure<Cache<drey::Sieve>>},
    {"s3-fifo", nullptr, &measure<Cache<drey::S3Fifo>>},
    {"adaptive", nullptr, &measure<Cache<drey::Adaptive>>},
    {"w-tinylfu", nullptr, &measure<Cache<drey::WTinyLfu>>},
#if DREY_BENCH_ABSL
    {"absl map", nullptr, &measure<AbslMap<Numbers>, false>},
#endif
#if DREY_BENCH_ROCKSDB
    {"rocksdb clock", nullptr, &measure<Rocks<Numbers, RocksClock>>},
    {"rocksdb lru", nullptr, &measure<Rocks<Numbers, RocksLru>>},
#endif
    {"mutex lru", nullptr, &measure<MutexLru<Numbers>>},
#if DREY_BENCH_TBB
    {"tbb lru", nullptr, &measure<TbbLru<Numbers>>},
#endif
};

/// Measures in a child process, whose heap nobody has used before.
Footprint measure_apart(const Contender& contender) {
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error("no pipe to be had");
    const pid_t child = fork();
    if (child == 0) {
        try {
            const Footprint footprint = contender.measure();
            const bool sent = write(ends[1], &footprint, sizeof footprint) == sizeof footprint;
            std::_Exit(sent ? 0 : 1);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "memory: %s: %s\n", contender.name, error.what());
            std::_Exit(1);
        }
    }
    close(ends[1]);
    Footprint footprint;
    const bool received = read(ends[0], &footprint, sizeof footprint) == sizeof footprint;
    close(ends[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0 || !received)
        throw std::runtime_error(std::string(contender.name) + " could not be measured");
    return footprint;
}

void run(bool metrics) {
    std::FILE* const table = metrics ? stderr : stdout;
    std::fprintf(table, "Resident bytes an entry beyond key and value, u64 -> u64, %zu entries\n\n",
                 entries);
    std::fprintf(table, "%-18s%10s%10s\n", "", "filled", "churned");
    for (const Contender& contender : contenders) {
        if (metrics && contender.metric == nullptr) continue;
        const Footprint footprint = measure_apart(contender);
        std::fprintf(table, "%-18s%10.1f%10.1f\n", contender.name, footprint.filled,
                     footprint.churned);
        std::fflush(table);
        if (metrics)
            std::printf("%s %.2f\n", contender.metric,
                        std::max(footprint.filled, footprint.churned));
    }
}

}  // namespace

int main(int count, char** arguments) {
    const std::string_view option = count == 2 ? arguments[1] : "";
    if (count > 2 || (count == 2 && option != "--metrics")) {
        std::fputs(usage, option == "--help" ? stdout : stderr);
        return option == "--help" ? 0 : 2;
    }
    try {
        run(option == "--metrics");
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "memory: %s\n", error.what());
        return 1;
    }
}
