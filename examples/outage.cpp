// A database is down for ten seconds. Three caches before it, and what those who ask them get:
// from one that knows a TTL only, from one that serves stale values when a load fails, and from one
// that also does not wait for that.
//
//     examples/run outage
//
// What an application would write is `ways` and `Shop::ask`. The rest simulates: all happens on one
// thread, which moves the clock, so that each run is the same and takes no ten seconds.

#include <drey/drey.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "expect.hpp"
#include "report.hpp"

using namespace std::chrono_literals;
using example::expect;

namespace {

using Time = std::chrono::nanoseconds;  // since the beginning
constexpr Time tick = 10ms;
constexpr int seconds = 20;
constexpr Time down_from = 5s, down_until = 15s;
constexpr Time ttl = 3s;

constexpr bool is_down(Time time) { return time >= down_from && time < down_until; }

/// A price, and when the database said so.
struct Price {
    Time as_of;
};

// ---- three ways --------------------------------------------------------------------------------

struct Way {
    const char* title;
    drey::LoadOptions loading;
};

const std::array<Way, 3> ways = {{
    {"ttl", {}},
    {"+ stale_for, retry_after",
     {.stale_for = 1h, .serve_stale = drey::ServeStale::on_error, .retry_after = 2s}},
    {"+ soft_timeout, hard_timeout",
     {.stale_for = 1h,
      .serve_stale = drey::ServeStale::on_error,
      .retry_after = 2s,
      .soft_timeout = 50ms,
      .hard_timeout = 300ms}},
}};

// ---- the simulation ----------------------------------------------------------------------------

/// Answers after 20 ms. When it is down, one hears nothing, and gives up after 990 ms.
///
/// It is also the executor of the loads, whose time is all spent waiting for it: what is given to
/// it runs when the answer is there.
class Database {
public:
    explicit Database(const drey::ManualClock& clock) : clock_(clock) {}

    void ask(std::function<void()> load) {
        const Time now = clock_.now();
        const bool fails = is_down(now);
        asked_.push_back(now);
        answers_.emplace(now + (fails ? 990ms : 20ms), Answer{fails, std::move(load)});
    }

    /// Time has passed: runs the loads that have their answers.
    void poll() {
        while (!answers_.empty() && answers_.begin()->first <= clock_.now()) {
            const Answer answer = std::move(answers_.begin()->second);
            answers_.erase(answers_.begin());
            fails_ = answer.fails;
            answer.load();
        }
    }

    /// What a loader calls.
    Price price_of(const std::string&) const {
        if (fails_) throw std::runtime_error("the database does not answer");
        return {clock_.now()};
    }

    const std::vector<Time>& asked() const { return asked_; }

private:
    struct Answer {
        bool fails;
        std::function<void()> load;
    };

    const drey::ManualClock& clock_;
    std::multimap<Time, Answer> answers_;
    std::vector<Time> asked_;
    bool fails_ = false;  // the answer that is being taken
};

/// What one request came to.
struct Answer {
    enum class Kind { fresh, stale, error };

    Time asked;
    Time waited;
    Kind kind;
    bool was_known;  // the cache had a price, fresh or stale
};

/// One way, its database, and what became of its requests.
class Shop {
    struct Request {
        Time asked;
        bool was_known;
        drey::Async<Price, Price> answer;
    };

public:
    Shop(const Way& way, drey::ManualClock& clock)
        : loading_(way.loading), clock_(clock), db_(clock), prices_(options()) {}

    void ask(const std::string& product) {
        const bool was_known = prices_.find(product).has_value();
        auto price = prices_.async_get_or_load(
            product, [this](const std::string& missed) { return db_.price_of(missed); });
        requests_.push_back({clock_.now(), was_known, std::move(price)});
    }

    /// Time has passed.
    void poll() {
        db_.poll();
        for (auto at = requests_.begin(); at != requests_.end();) {
            // Timeouts are the work of another thread, which has seen the new time or soon will.
            const auto& patience = at->was_known ? loading_.soft_timeout : loading_.hard_timeout;
            const Time waited = clock_.now() - at->asked;
            if (patience && waited.count() >= patience->nanoseconds())
                while (!at->answer.is_done()) std::this_thread::yield();
            if (at->answer.is_done()) {
                take(*at, waited);
                at = requests_.erase(at);
            } else {
                ++at;
            }
        }
    }

    bool is_idle() const { return requests_.empty(); }
    const std::vector<Answer>& answers() const { return answers_; }
    const std::vector<Time>& queries() const { return db_.asked(); }

private:
    drey::MemoryOptions<std::string, Price> options() {
        drey::MemoryOptions<std::string, Price> options{
            .capacity = 100, .ttl = ttl, .loading = loading_, .clock = clock_};
        options.loading.executor = [this](std::function<void()> load) { db_.ask(std::move(load)); };
        return options;
    }

    void take(Request& request, Time waited) {
        std::move(request.answer).then([&](const drey::LoadResult<Price>& price) {
            const auto kind = !price                                    ? Answer::Kind::error
                              : clock_.now() - price.get().as_of >= ttl ? Answer::Kind::stale
                                                                        : Answer::Kind::fresh;
            answers_.push_back({request.asked, waited, kind, request.was_known});
        });
    }

    const drey::LoadOptions loading_;
    drey::ManualClock& clock_;
    Database db_;
    drey::Cache<std::string, Price> prices_;
    std::vector<Request> requests_;  // without an answer
    std::vector<Answer> answers_;
};

// ---- the report --------------------------------------------------------------------------------

using Kind = Answer::Kind;

/// What a shop did from one time to another, by when it was asked.
class Period {
public:
    Period(const Shop& shop, Time from, Time to) {
        for (const Answer& answer : shop.answers())
            if (answer.asked >= from && answer.asked < to) answers_.push_back(answer);
        std::ranges::sort(answers_, {}, &Answer::asked);
        queries_ = std::ranges::count_if(shop.queries(),
                                         [&](Time time) { return time >= from && time < to; });
    }

    auto count(Kind kind) const { return std::ranges::count(answers_, kind, &Answer::kind); }
    auto queries() const { return queries_; }
    auto errors_of_known() const {
        return std::ranges::count_if(answers_, [](const Answer& answer) {
            return answer.kind == Kind::error && answer.was_known;
        });
    }

    Time slowest() const {
        Time slowest{};
        for (const Answer& answer : answers_) slowest = std::max(slowest, answer.waited);
        return slowest;
    }
    Time slowest_of_known() const {
        Time slowest{};
        for (const Answer& answer : answers_)
            if (answer.was_known) slowest = std::max(slowest, answer.waited);
        return slowest;
    }

    /// A letter for each request.
    std::string picture() const {
        std::string text;
        for (const Answer& answer : answers_)
            text += answer.kind == Kind::fresh ? '.' : answer.kind == Kind::stale ? 's' : 'E';
        return text;
    }

private:
    std::vector<Answer> answers_;
    std::ptrdiff_t queries_ = 0;
};

std::string in_milliseconds(Time time) { return std::to_string(time / 1ms) + " ms"; }

void print_timeline(const std::deque<Shop>& shops) {
    std::puts(
        "Ten requests a second, for five products and, from second 10, for one that is new.\n"
        "A price is fresh for 3 s. The database answers in 20 ms; while it is down, one gives up\n"
        "after 990 ms.\n"
        "  .  a fresh price    s  a stale one    E  an error\n"
        "  db  queries         max  how long the slowest answer took\n");
    std::printf("%-8s", "");
    for (const Way& way : ways) std::printf("    %-28s", way.title);
    std::printf("\n  second");
    for (std::size_t i = 0; i < ways.size(); ++i)
        std::printf("    %-14s%4s%10s", "answers", "db", "max");
    std::puts("");
    for (int second = 0; second < seconds; ++second) {
        const Time from = second * 1s;
        std::printf("%3d %-4s", second, is_down(from) ? "DOWN" : "");
        for (const Shop& shop : shops) {
            const Period period(shop, from, from + 1s);
            std::printf("    %-14s%4td%10s", period.picture().c_str(), period.queries(),
                        in_milliseconds(period.slowest()).c_str());
        }
        std::puts("");
    }
}

void print_totals(const std::deque<Shop>& shops) {
    std::puts("\nFrom the first second without the database to the last:\n");
    example::Table table({"", "fresh", "stale", "errors", "queries", "slowest"});
    for (std::size_t i = 0; i < ways.size(); ++i) {
        const Period outage(shops[i], down_from, down_until);
        table.add({ways[i].title, std::to_string(outage.count(Kind::fresh)),
                   std::to_string(outage.count(Kind::stale)),
                   std::to_string(outage.count(Kind::error)), std::to_string(outage.queries()),
                   in_milliseconds(outage.slowest())});
    }
    table.print();
    std::puts("");
}

void check(const std::deque<Shop>& shops) {
    const Period plain(shops[0], down_from, down_until), stale(shops[1], down_from, down_until),
        timely(shops[2], down_from, down_until);
    expect(plain.count(Kind::stale) == 0 && plain.count(Kind::error) > 50,
           "with a TTL alone, requests fail once the prices have expired");
    expect(stale.errors_of_known() == 0 && stale.count(Kind::stale) > 50,
           "with stale_for, nobody gets an error who asks for what had a price before");
    expect(stale.queries() < plain.queries() / 2 && timely.queries() < plain.queries() / 2,
           "retry_after spares the database: less than half of the queries");
    expect(stale.slowest_of_known() == 990ms, "but some wait until the database is given up");
    expect(timely.errors_of_known() == 0 && timely.slowest_of_known() == 50ms,
           "with soft_timeout they have the stale price after 50 ms");
    expect(timely.slowest() == 300ms && timely.count(Kind::error) > 0,
           "and with hard_timeout who asks for something new has an error after 300 ms");
    expect(std::ranges::all_of(shops,
                               [](const Shop& shop) {
                                   const Period last(shop, (seconds - 1) * 1s, seconds * 1s);
                                   return last.count(Kind::fresh) == 10;
                               }),
           "four seconds after the database is back all prices are fresh");
}

}  // namespace

int main(int argc, char**) {
    if (argc > 1) {
        std::puts(
            "usage: outage\n\n"
            "Simulates 20 seconds, in which a database is down for ten, and prints what those get\n"
            "who ask three differently configured caches before it. Checks what it says.");
        return 0;
    }
    drey::ManualClock clock;
    std::deque<Shop> shops;
    for (const Way& way : ways) shops.emplace_back(way, clock);
    const std::array<std::string, 5> products = {"tea", "coffee", "milk", "bread", "rice"};
    const auto all_answered = [&] { return std::ranges::all_of(shops, &Shop::is_idle); };

    for (int request = 0; clock.now() < seconds * 1s || !all_answered(); clock.advance(tick)) {
        const bool is_due = clock.now() < seconds * 1s && clock.now() % 100ms == 0ms;
        if (is_due) {
            const bool is_new = clock.now() >= 10s && request % 10 == 5;
            const auto& product = products[static_cast<std::size_t>(request) % products.size()];
            for (Shop& shop : shops) shop.ask(is_new ? "a new one" : product);
            ++request;
        }
        for (Shop& shop : shops) shop.poll();
    }

    print_timeline(shops);
    print_totals(shops);
    check(shops);
}
