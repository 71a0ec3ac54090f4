// 64 threads want what is not in the cache, all at once: what the database has to bear, and when
// each of them has its answer. Without a cache that knows of loads, with one, and with one that
// may also use the old value.
//
//     examples/run stampede

#include <drey/drey.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <latch>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "expect.hpp"
#include "report.hpp"

using namespace std::chrono_literals;
using example::expect;

namespace {

using SteadyClock = std::chrono::steady_clock;
using Cache = drey::Cache<std::string, std::string>;

constexpr unsigned callers = 64;
constexpr auto a_query = 20ms;

const std::string front_page = "front page";

/// Answers eight queries at a time, as one with eight connections does.
class Database {
public:
    std::string load(const std::string& key) {
        ++queries_;
        connections_.acquire();
        std::this_thread::sleep_for(a_query);
        connections_.release();
        return "the " + key;
    }

    int queries() const { return queries_; }

private:
    std::counting_semaphore<8> connections_{8};
    std::atomic<int> queries_{0};
};

struct Outcome {
    std::vector<SteadyClock::duration> waits;  // of each caller for its answer
    int right_answers = 0;

    auto slowest() const { return *std::max_element(waits.begin(), waits.end()); }
};

/// What `prepare()` and then, once all have done that, `ask()` come to on as many threads at once
/// as there are callers.
template <class Prepare, class Ask>
Outcome run(Prepare prepare, Ask ask) {
    std::latch ready(callers), go(1);
    std::atomic<int> right_answers = 0;
    Outcome outcome{.waits = std::vector<SteadyClock::duration>(callers)};
    SteadyClock::time_point began;
    {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < callers; ++i)
            threads.emplace_back([&, i] {
                prepare();
                ready.count_down();
                go.wait();
                if (ask() == "the front page") ++right_answers;
                outcome.waits[i] = SteadyClock::now() - began;
            });
        ready.wait();
        began = SteadyClock::now();
        go.count_down();
    }
    outcome.right_answers = right_answers;
    return outcome;
}

/// A line for each 20 milliseconds, with the callers who had their answer then.
void print(const char* title, const Outcome& outcome, int queries) {
    std::printf("\n%s: %d %s, the last answer after %s\n", title, queries,
                queries == 1 ? "query" : "queries", example::pretty(outcome.slowest()).c_str());
    std::vector<std::size_t> answers(static_cast<std::size_t>(outcome.slowest() / a_query) + 1);
    for (const auto wait : outcome.waits) ++answers[static_cast<std::size_t>(wait / a_query)];
    for (std::size_t i = 0; i < answers.size(); ++i)
        std::printf("  %4zu to %3zu ms |%s\n", i * 20, i * 20 + 20,
                    std::string(answers[i], '#').c_str());
}

}  // namespace

int main(int argc, char**) {
    if (argc > 1) {
        std::puts(
            "usage: stampede\n\n"
            "64 threads ask a cache for the same missing key at once. Prints how many queries\n"
            "reach the database, which answers eight at a time in 20 ms each, and when each\n"
            "thread has its answer. Checks what it says.");
        return 0;
    }
    std::printf(
        "%u threads want one key; a query takes 20 ms, and the database answers 8 at a time.\n"
        "Each # is a thread that has its answer.\n",
        callers);

    // Without: look, and on a miss load and store. All look before the first has stored.
    Database crowded;
    Cache plain{{.capacity = 100}};
    const Outcome without = run([&] { return plain.get(front_page); },
                                [&] {
                                    const std::string page = crowded.load(front_page);
                                    plain.put(front_page, page);
                                    return page;
                                });
    print("get, load, put", without, crowded.queries());

    // With: one of them loads, the others wait for what it brings.
    Database db;
    drey::ManualClock clock;
    Cache pages{{.capacity = 100, .ttl = 1min, .loading = {.stale_for = 1h}, .clock = clock}};
    const auto load = [&](const std::string& key) { return db.load(key); };
    const auto ask = [&] { return pages.get_or_load(front_page, load); };
    const Outcome with = run([] {}, ask);
    const int queries = db.queries();
    print("get_or_load", with, queries);

    // The value expires, and all of them are back: they get the old one, while one load replaces
    // it in the background.
    clock.advance(2min);
    const Outcome later = run([] {}, ask);
    while (pages.stats().loads < 2) std::this_thread::yield();
    print("get_or_load of what has expired, .stale_for = 1h", later, db.queries() - queries);

    std::puts("");
    expect(without.right_answers == callers && with.right_answers == callers &&
               later.right_answers == callers,
           "everybody got the right answer, each time");
    expect(crowded.queries() == callers, "without, all who missed the key asked the database");
    expect(queries == 1, "with get_or_load it was asked once");
    expect(db.queries() == 2, "and once more when the value had expired");
    expect(pages.stats().stale_serves >= 1, "for which nobody had to wait");
}
