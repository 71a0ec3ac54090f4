// Two processes that share user profiles over Redis, around one SQLite database, while some users
// change and the Redis server is killed, restarted and paused. Every answer is checked, and a
// timeline shows what the processes noticed.
//
//     examples/run redis --help
//
// What an application would write is `SharedProfiles` and the two functions above it; the rest
// drives, checks and reports.

#include <drey/redis.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "process_judge.hpp"
#include "processes.hpp"
#include "report.hpp"
#include "right_answer.hpp"
#include "support/redis_server.hpp"  // starts servers for the tests, too
#include "timeline.hpp"
#include "user_database.hpp"
#include "zipf.hpp"

namespace example {

// What drey::Json needs to know of a type: how it becomes JSON, and comes back.

void to_json(nlohmann::json& json, const User& user) {
    json = {{"id", user.id},        {"version", user.version}, {"name", user.name},
            {"email", user.email},  {"city", user.city},       {"about", user.about},
            {"digest", user.digest}};
}

void from_json(const nlohmann::json& json, User& user) {
    json.at("id").get_to(user.id);
    json.at("version").get_to(user.version);
    json.at("name").get_to(user.name);
    json.at("email").get_to(user.email);
    json.at("city").get_to(user.city);
    json.at("about").get_to(user.about);
    json.at("digest").get_to(user.digest);
}

}  // namespace example

namespace {

using namespace example;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Session = UserDatabase::Session;

/// When an update erases the cached profile. Right is `after` the commit; the others are here to
/// show that they are wrong, and that the check notices.
enum class EraseWhen { after, before, never };

// ---- the application --------------------------------------------------------------------------

/// User profiles, cache-aside, as in cache_aside.cpp. That the cache is on Redis and shared with
/// other processes takes another backend in its type and a uri and a prefix in its options.
class SharedProfiles {
public:
    SharedProfiles(const std::string& uri, EraseWhen erase_when,
                   std::function<void(const drey::Error&)> on_error)
        : cache_{{
              .uri = uri,
              .prefix = "users",
              .schema = 1,  // to be raised when to_json changes
              .ttl = 1min,
              // The database is a millisecond away: waiting for Redis for longer than this is no
              // gain, nor is waiting long for another process to load what we can load ourselves.
              .timeout = 50ms,
              .breaker = {.failures = 5, .window = 1s, .open_for = 200ms},
              .lease = 1s,
              .lease_wait = 50ms,
              .on_error = std::move(on_error),
          }},
          erase_when_(erase_when) {}

    User profile(Session& db, UserId id) {
        return cache_.get_or_load(id, [&db](UserId missed) { return db.load(missed); });
    }

    /// The version that the move made.
    std::uint32_t move_house(Session& db, UserId id) {
        if (erase_when_ == EraseWhen::before) cache_.erase(id);  // wrong: reads may bring it back
        const std::uint32_t version = db.move_house(id);
        // Committed, and only now erased: whatever is loaded from here on is new, and what is being
        // loaded from before is not kept, because an erase ends the leases of loads in flight.
        if (erase_when_ == EraseWhen::after) cache_.erase(id);
        return version;
    }

    drey::Cache<UserId, User, drey::Redis<drey::Json>>& cache() noexcept { return cache_; }

private:
    drey::Cache<UserId, User, drey::Redis<drey::Json>> cache_;
    EraseWhen erase_when_;
};

// ---- one of the two processes -----------------------------------------------------------------

struct Work {
    std::string uri;
    std::vector<UserId> users;  // who is asked for, in turn
    double updates = 0;         // share of the requests
    unsigned threads = 1;
    std::chrono::microseconds distance{};  // to the database
    EraseWhen erase_when = EraseWhen::after;
};

class Worker {
public:
    Worker(std::size_t process, const Work& work, UserDatabase& database, const Judge& judge,
           Board& board)
        : process_(process), work_(work), database_(database), judge_(judge), board_(board),
          tally_(board.tallies[process]),
          profiles_(work.uri, work.erase_when, [this](const drey::Error& error) { note(error); }) {}

    /// Returns when the board says stop, and all that was erased is erased on Redis, too.
    void run() {
        std::vector<std::future<void>> threads;
        for (unsigned t = 0; t < work_.threads; ++t)
            threads.push_back(std::async(std::launch::async, [this, t] { ask(t); }));
        while (!board_.stop) {
            std::this_thread::sleep_for(20ms);
            publish();
        }
        for (auto& thread : threads) thread.get();  // throws what the thread threw
        settle();
        compare_counters();
    }

private:
    /// Asks for users, and updates some, until told to stop.
    void ask(unsigned thread) try {
        Session db = database_.connect(work_.distance);
        std::mt19937_64 random(process_ * 1000 + thread);
        std::bernoulli_distribution updates(work_.updates);
        std::size_t at = random() % work_.users.size();
        for (; !board_.stop; at = (at + 1) % work_.users.size()) {
            const UserId id = work_.users[at];
            if (updates(random)) {
                update(db, id);
            } else {
                read(db, id);
            }
        }
    } catch (...) {
        board_.stop = true;
        throw;
    }

    void read(Session& db, UserId id) {
        const std::uint64_t loads = db.reads();
        const Judge::Floor floor = judge_.floor(process_, id);
        const auto asked = Clock::now();
        const User user = profiles_.profile(db, id);
        const auto took = static_cast<std::uint64_t>((Clock::now() - asked).count());
        if (judge_.check(id, floor, user)) ++tally_.late;
        ++tally_.reads;
        tally_.database_reads += db.reads() - loads;
        std::uint64_t slowest = tally_.slowest.load();
        while (slowest < took && !tally_.slowest.compare_exchange_weak(slowest, took)) {
        }
    }

    void update(Session& db, UserId id) {
        erase_failed = false;
        judge_.update_begins(id);
        const std::uint32_t version = profiles_.move_house(db, id);
        judge_.update_finished_here(process_, id, version);
        ++tally_.updates;
        if (erase_failed) {
            const std::lock_guard lock(outstanding_mutex_);
            outstanding_.push_back({id, version});
        } else {
            judge_.update_finished(id, version);
        }
    }

    /// On the thread whose call failed, as `.on_error` promises.
    void note(const drey::Error& error) {
        ++tally_.errors[static_cast<std::size_t>(error.code.value())];
        if (error.operation == "erase") erase_failed = true;
    }

    void publish() {
        std::size_t known = 0;
        {
            const std::lock_guard lock(outstanding_mutex_);
            known = outstanding_.size();
        }
        tally_.hits = profiles_.cache().stats().hits;
        const drey::RedisStatus status = profiles_.cache().status();
        tally_.breaker = status.breaker;

        const std::lock_guard lock(outstanding_mutex_);
        if (status.unconfirmed == 0) {
            // What had failed before we asked has been made up for.
            const auto end = outstanding_.begin() + static_cast<std::ptrdiff_t>(known);
            for (auto at = outstanding_.begin(); at != end; ++at)
                judge_.update_finished(at->first, at->second);
            outstanding_.erase(outstanding_.begin(), end);
        }
        tally_.outstanding = outstanding_.size();
    }

    /// Waits until Redis has confirmed every erase, which goes along with whatever else is asked.
    void settle() {
        const auto give_up = Clock::now() + 5s;
        for (publish(); tally_.outstanding > 0; publish()) {
            if (Clock::now() > give_up) throw WrongAnswer("erases never got through to Redis");
            profiles_.cache().contains(0);
            std::this_thread::sleep_for(10ms);
        }
    }

    /// What the cache has counted is what was seen from outside.
    void compare_counters() {
        const drey::Stats stats = profiles_.cache().stats();
        std::uint64_t told = 0, counted = 0;
        for (const Counter& kind : tally_.errors) told += kind;
        for (const std::uint64_t kind : stats.errors) counted += kind;
        if (stats.hits + stats.misses != tally_.reads || stats.loads != tally_.database_reads ||
            counted != told)
            throw WrongAnswer(
                "the cache counted " + std::to_string(stats.hits) + " hits, " +
                std::to_string(stats.misses) + " misses, " + std::to_string(stats.loads) +
                " loads and " + std::to_string(counted) + " errors; there were " +
                std::to_string(tally_.reads) + " reads, " + std::to_string(tally_.database_reads) +
                " loads and " + std::to_string(told) + " errors");
    }

    /// Whether this thread's erase could not reach Redis.
    static inline thread_local bool erase_failed = false;

    const std::size_t process_;
    const Work& work_;
    UserDatabase& database_;
    const Judge& judge_;
    Board& board_;
    ProcessTally& tally_;

    std::mutex outstanding_mutex_;
    std::vector<std::pair<UserId, std::uint32_t>> outstanding_;  // updates; guarded by that

    SharedProfiles profiles_;  // last, since its errors are noted in the others
};

enum ExitCode { right, wrong, bad_usage, broken, cannot_run = 77, stopped = 130 };

/// What a process does between its fork and its end.
int work_as(std::size_t process, const Work& work, UserDatabase& database, const Judge& judge,
            Board& board) noexcept {
    const auto complain = [&](const std::exception& error) {
        auto& text = board.complaints[process];
        std::snprintf(text.data(), text.size(), "%s", error.what());
        board.stop = true;
    };
    try {
        Worker(process, work, database, judge, board).run();
        return right;
    } catch (const WrongAnswer& error) {
        complain(error);
        return wrong;
    } catch (const std::exception& error) {
        complain(error);
        return broken;
    }
}

// ---- the whole --------------------------------------------------------------------------------

class Interrupted : public std::exception {};
std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may store to it");
extern "C" void interrupt(int) { interrupted.store(true); }

struct Options {
    UserId rows = 2'000;
    double seconds = 12;
    unsigned threads = 2;
    double updates = 1;  // percent of requests
    std::chrono::microseconds distance = 1ms;
    EraseWhen erase_when = EraseWhen::after;
};

constexpr const char* help =
    R"(usage: cache_aside_redis [option...]

Two processes read user profiles from one SQLite database through a cache on a Redis
server, and update some. The server is started for this, and killed, restarted and
paused. Checks every answer, and prints a timeline.

  --seconds S       how long (12)
  --rows N          users in the database (2000); asked for by a Zipf(0.99) distribution
  --threads N       threads of each process, each with a database connection of its own (2)
  --updates P       percent of requests that change the user (1)
  --distance US     pretend that the database is US microseconds away (1000)
  --quick           a few seconds; so does DREY_QUICK=1 in the environment
  --erase WHEN      when an update erases the cached profile: after the commit, which is
                    right (after), or the mistakes: before, never. The check should notice
  --help            this
)";

std::optional<Options> parse(int argc, char** argv) {
    Options options;
    bool quick = quick_by_environment();
    std::optional<double> seconds;
    CommandLine line(argc, argv);
    while (line.next()) {
        const std::string& name = line.name();
        if (name == "--help" || name == "-h") return std::nullopt;
        if (name == "--quick") {
            quick = true;
        } else if (name == "--seconds") {
            seconds = line.real(1, 3600);
        } else if (name == "--rows") {
            options.rows = static_cast<UserId>(line.whole(1, 1'000'000));
        } else if (name == "--threads") {
            options.threads = static_cast<unsigned>(line.whole(1, 64));
        } else if (name == "--updates") {
            options.updates = line.real(0, 100);
        } else if (name == "--distance") {
            options.distance = std::chrono::microseconds(line.whole(0, 1'000'000));
        } else if (name == "--erase") {
            const std::string when = line.text();
            if (when == "after") {
                options.erase_when = EraseWhen::after;
            } else if (when == "before") {
                options.erase_when = EraseWhen::before;
            } else if (when == "never") {
                options.erase_when = EraseWhen::never;
            } else {
                throw BadOption("--erase must be after, before or never, not '" + when + "'");
            }
        } else {
            throw BadOption("there is no option " + name);
        }
    }
    options.seconds = seconds.value_or(quick ? 3 : options.seconds);
    return options;
}

/// What happens to the server, and when, as a share of the whole time.
struct Event {
    double when;
    const char* what;
    void (*happens)(support::RedisServer&);
};

constexpr Event events[] = {
    {0.15, "the server is killed: whatever it held is gone",
     [](support::RedisServer& server) { server.kill(); }},
    {0.32, "the server is started again, empty",
     [](support::RedisServer& server) { server.start(); }},
    {0.5, "the server is paused: it takes commands and answers nothing",
     [](support::RedisServer& server) { server.pause(); }},
    {0.67, "the server goes on, with all that it held",
     [](support::RedisServer& server) { server.resume(); }},
    {0.83, "the server is killed and at once started again",
     [](support::RedisServer& server) { server.restart(); }},
};

using Processes = std::array<std::optional<Fork>, process_count>;

/// Throws if a process has ended for another reason than having been told to.
void check_on(Processes& processes, const Board& board) {
    for (std::size_t p = 0; p < process_count; ++p) {
        const auto code = processes[p]->exit_code();
        if (!code || *code == right) continue;
        const std::string why =
            std::string("process ") + process_names[p] + ": " +
            (*code > 0 ? board.complaints[p].data() : "ended by signal " + std::to_string(-*code));
        if (*code == wrong) throw WrongAnswer(why);
        throw std::runtime_error(why);
    }
}

/// Lets the processes work while the server has its accidents.
void watch(const Options& options, support::RedisServer& server, Processes& processes,
           Board& board) {
    const auto whole =
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
    const auto tick = std::min<Clock::duration>(500ms, whole / 12);
    Timeline timeline(board);
    const auto begin = Clock::now();
    auto next_line = tick;
    const Event* next_event = std::begin(events);
    for (auto time = begin - begin; time < whole; time = Clock::now() - begin) {
        if (interrupted) throw Interrupted();
        check_on(processes, board);
        if (time >= next_line) {
            timeline.line(time);
            next_line += tick;
        }
        if (next_event != std::end(events) && time >= whole * next_event->when) {
            Timeline::event(time, next_event->what);
            next_event->happens(server);
            ++next_event;
        }
        std::this_thread::sleep_for(5ms);
    }
    timeline.line(whole);

    board.stop = true;
    for (bool running = true; running;) {
        if (interrupted) throw Interrupted();
        check_on(processes, board);
        running = std::ranges::any_of(processes, [](auto& p) { return !p->exit_code(); });
        std::this_thread::sleep_for(5ms);
    }
}

/// Nothing is in flight any more: what Redis holds must be what the database holds. How many
/// profiles it holds.
std::size_t compare(const Work& work, UserDatabase& database) {
    SharedProfiles profiles(work.uri, EraseWhen::after, {});
    Session db = database.connect();
    std::vector<UserId> ids(database.rows());
    for (UserId id = 0; id < database.rows(); ++id) ids[id] = id;
    std::size_t compared = 0;
    const auto cached = profiles.cache().get_many(ids);
    for (const UserId id : ids) {
        if (!cached[id]) continue;
        const User row = db.load(id);
        if (*cached[id] != row)
            throw WrongAnswer("user " + std::to_string(id) + ": at the end Redis holds version " +
                              std::to_string(cached[id]->version) + " and the database version " +
                              std::to_string(row.version));
        ++compared;
    }
    if (compared == 0) throw WrongAnswer("at the end Redis holds nothing");
    return compared;
}

void report(const Board& board, std::size_t compared) {
    std::printf("\n");
    Table table({"process", "reads", "hit ratio", "database reads", "updates", "errors", "late",
                 "slowest answer"});
    std::uint64_t reads = 0, updates = 0, late = 0;
    for (std::size_t p = 0; p < process_count; ++p) {
        const ProcessTally& of = board.tallies[p];
        std::uint64_t errors = 0;
        for (const Counter& kind : of.errors) errors += kind;
        table.add({process_names[p], grouped(of.reads),
                   formatted("%.1f %%", 100 * static_cast<double>(of.hits) /
                                            std::max(1.0, static_cast<double>(of.reads))),
                   grouped(of.database_reads), grouped(of.updates), grouped(errors),
                   grouped(of.late),
                   pretty(std::chrono::nanoseconds(static_cast<std::int64_t>(of.slowest)))});
        reads += of.reads;
        updates += of.updates;
        late += of.late;
    }
    table.print();
    std::printf(
        "\nAll %s answers were right: each whole, and none older than an update that had finished\n"
        "before it was asked for (%s updates). All %s profiles left in Redis equal their rows.\n",
        grouped(reads).c_str(), grouped(updates).c_str(), grouped(compared).c_str());
    if (late > 0)
        std::printf(
            "Late: older than an update that the other process had made, but could not tell Redis\n"
            "of yet.\n");
}

void run(const Options& options) {
    UserDatabase database(options.rows, [](UserId) {
        if (interrupted) throw Interrupted();
    });
    support::RedisServer server;
    const Work work{.uri = server.uri(),
                    .users = zipf_stream(options.rows, 0.99, 200'000, 1),
                    .updates = options.updates / 100,
                    .threads = options.threads,
                    .distance = options.distance,
                    .erase_when = options.erase_when};
    std::printf("database   %s users, SQLite %s, %s away\n", grouped(options.rows).c_str(),
                sqlite3_libversion(), pretty(options.distance).c_str());
    std::printf("cache      on a redis-server at %s\n", work.uri.c_str());
    std::printf("requests   by 2 processes of %u threads, %g %% of them updates\n\n",
                options.threads, options.updates);
    std::fflush(stdout);  // before there are two more of us who would print it, too

    const Judge judge(options.rows);
    const Shared<Board> board;
    Processes processes;
    for (std::size_t p = 0; p < process_count; ++p)
        processes[p].emplace([&, p] { return work_as(p, work, database, judge, *board); });
    watch(options, server, processes, *board);
    report(*board, compare(work, database));
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const auto options = parse(argc, argv);
        if (!options) {
            std::fputs(help, stdout);
            return right;
        }
        if (!support::RedisServer::available()) {
            std::fputs("cache_aside_redis: needs redis-server (Debian: redis-server)\n", stderr);
            return cannot_run;
        }
        // Processes, server and files should go even if somebody loses patience.
        std::signal(SIGINT, interrupt);
        std::signal(SIGTERM, interrupt);
        run(*options);
        return right;
    } catch (const WrongAnswer& error) {
        std::fprintf(stderr, "cache_aside_redis: WRONG ANSWER: %s\n", error.what());
        return wrong;
    } catch (const BadOption& error) {
        std::fprintf(stderr, "cache_aside_redis: %s (see --help)\n", error.what());
        return bad_usage;
    } catch (const std::exception& error) {
        if (interrupted) {  // Ctrl-C ends the server, too, and whatever that led to is not news
            std::fputs("cache_aside_redis: interrupted\n", stderr);
            return stopped;
        }
        std::fprintf(stderr, "cache_aside_redis: %s\n", error.what());
        return broken;
    }
}
