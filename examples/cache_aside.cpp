// A service that reads user profiles from an SQLite database through a drey::Cache, from several
// threads, while some users change; with each eviction policy in turn, and without a cache. Checks
// every answer, and prints what the cache was worth.
//
//     examples/run cache_aside --help
//
// What an application would write is `CachedProfiles`; the rest drives, checks and reports.

#include <drey/drey.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <future>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "report.hpp"
#include "right_answer.hpp"
#include "trace_file.hpp"
#include "user_database.hpp"
#include "zipf.hpp"

namespace {

using namespace example;
using namespace std::chrono_literals;
using Session = UserDatabase::Session;

/// When an update erases the cached profile. Right is `after` the commit; the others are here to
/// show that they are wrong, and that the check notices.
enum class EraseWhen { after, before, never };

// ---- the application --------------------------------------------------------------------------

/// User profiles, cache-aside: reads go through the cache, writes go to the database and then tell
/// the cache to forget. One object for all threads; each brings a database session of its own.
template <class Policy>
class CachedProfiles {
public:
    static constexpr bool is_cached = true;

    CachedProfiles(std::size_t capacity, EraseWhen erase_when)
        : cache_{{.capacity = capacity}}, erase_when_(erase_when) {}

    User profile(Session& db, UserId id) {
        return cache_.get_or_load(id, [&db](UserId missed) { return db.load(missed); });
    }

    /// The version that the move made.
    std::uint32_t move_house(Session& db, UserId id) {
        if (erase_when_ == EraseWhen::before) cache_.erase(id);  // wrong: reads may bring it back
        const std::uint32_t version = db.move_house(id);
        // Committed, and only now erased: whatever is loaded from here on is new, and what is being
        // loaded from before is not kept, because an erase wins over loads in flight.
        if (erase_when_ == EraseWhen::after) cache_.erase(id);
        return version;
    }

    template <class F>
    void for_each(F&& f) {
        cache_.for_each(std::forward<F>(f));
    }

    drey::Stats stats() const { return cache_.stats(); }

private:
    drey::Cache<UserId, User, Policy> cache_;
    EraseWhen erase_when_;
};

/// The same without a cache, to compare with.
class UncachedProfiles {
public:
    static constexpr bool is_cached = false;

    User profile(Session& db, UserId id) { return db.load(id); }
    std::uint32_t move_house(Session& db, UserId id) { return db.move_house(id); }

    template <class F>
    void for_each(F&&) {}
    drey::Stats stats() const { return {}; }
};

// ---- the check --------------------------------------------------------------------------------

/// Knows what may be answered. A row's version grows with each update, so an answer is right if
///  - it is the user who was asked for, whole, as the database had it at one version (the digest);
///  - that version is not older than any whose update, its erase included, had finished before the
///    question was asked;
///  - it is not newer than the updates begun before the answer came.
class Judge {
public:
    explicit Judge(UserId rows) : begun_(rows), finished_(rows) {}

    void update_begins(UserId id) noexcept { begun_[id].fetch_add(1); }

    void update_finished(UserId id, std::uint32_t version) noexcept {
        // Two threads may update a user at once and finish in the other order.
        std::uint32_t known = finished_[id].load();
        while (known < version && !finished_[id].compare_exchange_weak(known, version)) {
        }
    }

    /// Ask this before asking for the user.
    std::uint32_t oldest_right_version(UserId id) const noexcept { return finished_[id].load(); }

    void check(UserId id, std::uint32_t oldest, const User& answer) const {
        check_answer(id, answer, oldest, 1 + begun_[id].load());
    }

private:
    // By user: how many updates have begun; the newest version whose update has finished, or 0.
    std::vector<std::atomic<std::uint32_t>> begun_;
    std::vector<std::atomic<std::uint32_t>> finished_;
};

// ---- one run ----------------------------------------------------------------------------------

class Interrupted : public std::exception {};
std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may store to it");
extern "C" void interrupt(int) { interrupted.store(true); }

struct Workload {
    std::string name;
    std::vector<UserId> users = {};    // one request each, in order
    std::vector<bool> is_update = {};  // of the same length
    unsigned threads = 1;
    std::size_t capacity = 0;
    std::chrono::microseconds distance{};  // to the database
    EraseWhen erase_when = EraseWhen::after;
};

struct Outcome {
    std::string policy;
    std::uint64_t reads = 0;
    std::uint64_t updates = 0;
    std::uint64_t database_reads = 0;
    std::uint64_t entries_compared = 0;
    drey::Stats stats = {};
    LatencyHistogram latency = {};  // of reads
    std::chrono::duration<double> time{};
};

/// What one thread did.
struct Tally {
    std::uint64_t updates = 0;
    std::uint64_t database_reads = 0;
    LatencyHistogram latency;
};

/// Plays the whole workload, several threads taking turns at it, and checks every answer.
template <class Profiles>
Outcome play(const std::string& policy, Profiles& profiles, const Workload& work,
             UserDatabase& database, Judge& judge) {
    using Clock = std::chrono::steady_clock;
    const std::size_t requests = work.users.size();
    std::atomic<std::size_t> next = 0;
    std::atomic<bool> stop = false;

    const auto worker = [&] {
        Tally tally;
        constexpr std::size_t turn = 64;  // requests a thread takes at a time
        try {
            Session db = database.connect(work.distance);
            for (std::size_t begin; !stop && (begin = next.fetch_add(turn)) < requests;) {
                for (std::size_t i = begin; i < std::min(begin + turn, requests); ++i) {
                    const UserId id = work.users[i];
                    if (work.is_update[i]) {
                        judge.update_begins(id);
                        judge.update_finished(id, profiles.move_house(db, id));
                        ++tally.updates;
                    } else {
                        const std::uint32_t oldest = judge.oldest_right_version(id);
                        const auto asked = Clock::now();
                        const User user = profiles.profile(db, id);
                        tally.latency.record(Clock::now() - asked);
                        judge.check(id, oldest, user);
                    }
                }
            }
            tally.database_reads = db.reads();
            return tally;
        } catch (...) {
            stop = true;
            throw;
        }
    };

    Outcome outcome{.policy = policy};
    {
        Progress progress("policy " + policy, requests);
        const auto start = Clock::now();
        std::vector<std::future<Tally>> workers;
        for (unsigned t = 0; t < work.threads; ++t)
            workers.push_back(std::async(std::launch::async, worker));
        for (auto& running : workers) {
            while (running.wait_for(100ms) != std::future_status::ready) {
                progress.at(next.load());
                if (interrupted) stop = true;
            }
        }
        outcome.time = Clock::now() - start;
        for (auto& done : workers) {
            const Tally tally = done.get();  // throws what the worker threw
            outcome.updates += tally.updates;
            outcome.database_reads += tally.database_reads;
            outcome.latency += tally.latency;
        }
    }
    if (interrupted) throw Interrupted();
    outcome.reads = outcome.latency.count();
    outcome.stats = profiles.stats();
    if constexpr (Profiles::is_cached) {
        const drey::Stats& stats = outcome.stats;
        if (stats.hits + stats.misses != outcome.reads || stats.loads != outcome.database_reads)
            throw WrongAnswer("the cache counted " + std::to_string(stats.hits) + " hits, " +
                              std::to_string(stats.misses) + " misses and " +
                              std::to_string(stats.loads) + " loads; there were " +
                              std::to_string(outcome.reads) + " reads and " +
                              std::to_string(outcome.database_reads) + " loads");
    }

    // Nothing is in flight any more: what the cache holds must be what the database holds.
    Session db = database.connect();
    profiles.for_each([&](UserId id, const User& cached) {
        const User row = db.load(id);
        if (cached != row)
            throw WrongAnswer("user " + std::to_string(id) +
                              ": at the end the cache holds version " +
                              std::to_string(cached.version) + " and the database version " +
                              std::to_string(row.version));
        ++outcome.entries_compared;
    });
    return outcome;
}

template <class Policy>
Outcome play_cached(const std::string& policy, const Workload& work, UserDatabase& database,
                    Judge& judge) {
    CachedProfiles<Policy> profiles(work.capacity, work.erase_when);
    return play(policy, profiles, work, database, judge);
}

struct NamedPolicy {
    std::string_view name;
    Outcome (*play)(const std::string&, const Workload&, UserDatabase&, Judge&);
};

constexpr NamedPolicy policies[] = {
    {"fifo", play_cached<drey::Fifo>},
    {"lru", play_cached<drey::Lru>},
    {"mru", play_cached<drey::Mru>},
    {"lfu", play_cached<drey::Lfu>},
    {"random", play_cached<drey::Random>},
    {"sieve", play_cached<drey::Sieve>},
    {"s3-fifo", play_cached<drey::S3Fifo>},
    {"adaptive", play_cached<drey::Adaptive>},
    {"w-tinylfu", play_cached<drey::WTinyLfu>},
};

// ---- options ----------------------------------------------------------------------------------

struct Options {
    UserId rows = 100'000;
    std::size_t requests = 1'500'000;
    unsigned threads = 4;
    std::size_t capacity = 0;           // 0: a tenth of the rows
    double updates = 0.5;               // percent of requests
    std::vector<std::string> policies;  // none: all
    std::string trace;                  // none: Zipf
    std::chrono::microseconds distance{};
    EraseWhen erase_when = EraseWhen::after;
};

constexpr const char* help =
    R"(usage: cache_aside [option...] [TRACE]

Reads user profiles from an SQLite database on disk through a cache, checks every
answer, and compares eviction policies with each other and with no cache.

  --rows N          users in the database (100000)
  --requests N      requests in all; of a trace, its first N (1500000)
  --threads N       threads, each with a database connection of its own (4)
  --capacity N      entries that the cache holds (a tenth of the rows)
  --updates P       percent of requests that change the user (0.5)
  --policy NAME     fifo, lru, mru, lfu, random, sieve, s3-fifo, w-tinylfu or adaptive;
                    may be repeated (all)
  --trace FILE      who is asked for, instead of a Zipf(0.99) distribution: 32-bit
                    little-endian ids if FILE ends in .u32, else text, an id a line;
                    ids beyond the rows wrap around
  --distance US     pretend that the database is US microseconds away (0: SQLite runs in
                    this process, which is as near as a database can be)
  --quick           few rows and requests; so does DREY_QUICK=1 in the environment
  --erase WHEN      when an update erases the cached profile: after the commit, which is
                    right (after), or the mistakes: before, never. The check should notice
  --help            this text

exit status: 0 all answers were right, 1 one was wrong, 2 bad options or trace,
3 something else failed
)";

/// Nothing if only help was asked for. Throws BadOption.
std::optional<Options> parse(int argc, char** argv) {
    constexpr auto quick = [](Options& options) {
        options.rows = 10'000;
        options.requests = 50'000;
    };
    Options options;
    if (quick_by_environment()) quick(options);
    // First, so that other options override it wherever it stands.
    for (int i = 1; i < argc; ++i)
        if (argv[i] == std::string_view("--quick")) quick(options);

    for (CommandLine line(argc, argv); line.next();) {
        const std::string& name = line.name();
        if (name == "--help" || name == "-h") return std::nullopt;
        if (name == "--quick") continue;
        if (name == "--rows") {
            options.rows = static_cast<UserId>(line.whole(1, 100'000'000));
        } else if (name == "--requests") {
            options.requests = line.whole(1, 1'000'000'000);
        } else if (name == "--threads") {
            options.threads = static_cast<unsigned>(line.whole(1, 256));
        } else if (name == "--capacity") {
            options.capacity = line.whole(1, 1'000'000'000);
        } else if (name == "--updates") {
            options.updates = line.real(0, 100);
        } else if (name == "--distance") {
            options.distance = std::chrono::microseconds(line.whole(0, 1'000'000));
        } else if (name == "--policy") {
            options.policies.push_back(line.text());
            const auto is_it = [&](const NamedPolicy& known) {
                return known.name == options.policies.back();
            };
            if (std::ranges::none_of(policies, is_it))
                throw BadOption("--policy: there is no '" + options.policies.back() +
                                "'; there are fifo, lru, mru, lfu, random, sieve, s3-fifo, "
                                "w-tinylfu and adaptive");
        } else if (name == "--erase") {
            const std::string when = line.text();
            if (when != "after" && when != "before" && when != "never")
                throw BadOption("--erase must be after, before or never, not '" + when + "'");
            options.erase_when = when == "after"    ? EraseWhen::after
                                 : when == "before" ? EraseWhen::before
                                                    : EraseWhen::never;
        } else if (name == "--trace" || !name.starts_with("-")) {
            if (!options.trace.empty()) throw BadOption("--trace: there can be only one trace");
            options.trace = name == "--trace" ? line.text() : name;
            if (options.trace.empty()) throw BadOption("--trace needs the name of a file");
        } else {
            throw BadOption("there is no option " + name);
        }
    }
    if (options.capacity == 0) options.capacity = std::max<std::size_t>(options.rows / 10, 1);
    return options;
}

Workload make_workload(const Options& options) {
    Workload work{.name = options.trace.empty() ? "Zipf(0.99)" : options.trace,
                  .threads = options.threads,
                  .capacity = options.capacity,
                  .distance = options.distance,
                  .erase_when = options.erase_when};
    work.users = options.trace.empty() ? zipf_stream(options.rows, 0.99, options.requests, 1)
                                       : read_trace(options.trace, options.requests, options.rows);
    std::mt19937_64 random(2);
    std::bernoulli_distribution updates(options.updates / 100);
    work.is_update.resize(work.users.size());
    for (std::size_t i = 0; i < work.users.size(); ++i) work.is_update[i] = updates(random);
    return work;
}

// ---- the report -------------------------------------------------------------------------------

void describe(const Workload& work, const UserDatabase& database) {
    std::vector<bool> is_asked_for(database.rows());
    for (const UserId id : work.users) is_asked_for[id] = true;
    const auto count = [](const std::vector<bool>& flags) {
        return grouped(static_cast<std::uint64_t>(std::ranges::count(flags, true)));
    };
    std::printf(
        "database   %s users, %.1f MB, SQLite %s, %s\n", grouped(database.rows()).c_str(),
        static_cast<double>(database.bytes()) / 1e6, sqlite3_libversion(),
        work.distance > 0us ? (pretty(work.distance) + " away").c_str() : "in this process");
    std::printf("requests   %s for %s of the users, by %s, from %u thread%s; %s of them updates\n",
                grouped(work.users.size()).c_str(), count(is_asked_for).c_str(), work.name.c_str(),
                work.threads, work.threads == 1 ? "" : "s", count(work.is_update).c_str());
    std::printf("cache      %s profiles, empty at first\n\n", grouped(work.capacity).c_str());
    std::fflush(stdout);  // before the progress on stderr
}

void report(const std::vector<Outcome>& outcomes) {
    const Outcome& uncached = outcomes.front();
    const auto rate = [](const Outcome& of) {
        return static_cast<double>(of.reads + of.updates) / of.time.count();
    };

    Table table(
        {"policy", "hit ratio", "database reads", "read p50", "p99", "requests/s", "speed-up"});
    BarChart chart;
    for (const Outcome& of : outcomes) {
        const bool cached = &of != &uncached;
        table.add({of.policy, cached ? formatted("%.1f %%", of.stats.hit_ratio() * 100) : "-",
                   grouped(of.database_reads), pretty(of.latency.quantile(0.5)),
                   pretty(of.latency.quantile(0.99)), grouped(static_cast<std::uint64_t>(rate(of))),
                   formatted("%.1f x", rate(of) / rate(uncached))});
        chart.add(of.policy, static_cast<double>(of.database_reads),
                  formatted("%.0f", 1000 * static_cast<double>(of.database_reads) /
                                        static_cast<double>(of.reads)));
    }
    table.print();
    std::printf("\ndatabase reads for 1,000 profiles\n\n");
    chart.print();

    std::uint64_t answers = 0, updates = 0, entries = 0;
    for (const Outcome& of : outcomes) {
        answers += of.reads;
        updates += of.updates;
        entries += of.entries_compared;
    }
    std::printf(
        "\nAll %s answers were right: each whole, and none older than an update that had finished\n"
        "before it was asked for (%s updates). All %s profiles left in the caches equal their "
        "rows.\n",
        grouped(answers).c_str(), grouped(updates).c_str(), grouped(entries).c_str());
}

void run(const Options& options) {
    const Workload work = make_workload(options);
    UserDatabase database = [&] {
        Progress progress("creating a database of " + grouped(options.rows) + " users",
                          options.rows);
        return UserDatabase(options.rows, [&](UserId rows) {
            if (interrupted) throw Interrupted();
            progress.at(rows);
        });
    }();
    describe(work, database);

    Judge judge(options.rows);
    UncachedProfiles uncached;
    std::vector<Outcome> outcomes;
    outcomes.push_back(play("(no cache)", uncached, work, database, judge));
    for (const NamedPolicy& policy : policies) {
        if (options.policies.empty() || std::ranges::count(options.policies, policy.name) > 0)
            outcomes.push_back(policy.play(std::string(policy.name), work, database, judge));
    }
    report(outcomes);
    if (work.distance == 0us)
        std::puts(
            "A database inside the process is the nearest there is: try --distance 300 --requests "
            "50000.");
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const auto options = parse(argc, argv);
        if (!options) {
            std::fputs(help, stdout);
            return 0;
        }
        // The database's directory should go even if somebody loses patience.
        std::signal(SIGINT, interrupt);
        std::signal(SIGTERM, interrupt);
        run(*options);
        return 0;
    } catch (const WrongAnswer& error) {
        std::fprintf(stderr, "cache_aside: WRONG ANSWER: %s\n", error.what());
        return 1;
    } catch (const BadOption& error) {
        std::fprintf(stderr, "cache_aside: %s (see --help)\n", error.what());
        return 2;
    } catch (const BadTrace& error) {
        std::fprintf(stderr, "cache_aside: %s\n", error.what());
        return 2;
    } catch (const Interrupted&) {
        std::fputs("cache_aside: interrupted\n", stderr);
        return 130;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "cache_aside: %s\n", error.what());
        return 3;
    }
}
