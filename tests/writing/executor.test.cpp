#include <atomic>
#include <chrono>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "drey/cache.hpp"
#include "drey/writing/write_behind.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"
#include "writing/fake_database.hpp"
#include "writing/fake_executor.hpp"

using namespace std::chrono_literals;
using Log = std::vector<std::string>;
using Does = FakeExecutor::Does;

namespace {

struct Fixture {
    drey::ManualClock clock;
    FakeDatabase database;
    drey::Cache<int, std::string> cache{{.capacity = 100}};
    FakeExecutor executor;

    auto behind() { return drey::write_behind(cache, database.batch_writer(), options()); }
    drey::WriteBehindOptions<int, std::string> options() {
        return {.on_failure = [](const auto&) {},
                .flush_every = 10s,
                .max_batch = 2,
                .clock = clock,
                .executor = executor.ref(),
                .own_thread = false};
    }
};

}  // namespace

TEST_CASE(
    "the executor is given one task at a time, when something is due, and the task writes it") {
    Fixture f;
    auto behind = f.behind();
    behind.put(1, "a");
    behind.poll();
    CHECK(f.executor.kept.empty());
    f.clock.advance(10s);
    behind.poll();
    behind.poll();
    REQUIRE(f.executor.kept.size() == 1);
    CHECK(f.database.log().empty());
    f.executor.kept[0]();
    CHECK(f.database.log() == Log{"1=a"});
    behind.poll();
    CHECK(f.executor.kept.size() == 1);
    behind.put(2, "b");
    behind.put(3, "c");  // a full batch needs no poll
    REQUIRE(f.executor.kept.size() == 2);
    behind.put(4, "d");
    behind.put(5, "e");
    f.executor.kept[1]();
    CHECK(f.executor.kept.size() == 2);
    CHECK(f.database.log() == Log{"1=a", "2=b", "3=c", "4=d", "5=e"});
}

TEST_CASE("a task that is run twice, or when all has been written, does nothing") {
    Fixture f;
    auto behind = f.behind();
    behind.put(1, "a");
    behind.put(2, "b");
    REQUIRE(f.executor.kept.size() == 1);
    behind.flush();
    f.executor.kept[0]();
    f.executor.kept[0]();
    CHECK(f.database.batches.size() == 1);
}

TEST_CASE("flush and destruction do not wait for an executor, whose task then does nothing") {
    Fixture f;
    {
        auto behind = f.behind();
        behind.put(1, "a");
        behind.put(2, "b");
        behind.flush();
        CHECK(f.database.log() == Log{"1=a", "2=b"});
        behind.put(3, "c");
    }
    CHECK(f.database.log() == Log{"1=a", "2=b", "3=c"});
    REQUIRE_FALSE(f.executor.kept.empty());
    for (auto& task : f.executor.kept) task();
    CHECK(f.database.batches.size() == 2);
}

TEST_CASE("an executor may run the task at once") {
    Fixture f;
    f.executor.next = [] { return Does::runs; };
    auto behind = f.behind();
    behind.put(1, "a");
    CHECK(f.database.log().empty());
    behind.put(2, "b");
    CHECK(f.database.log() == Log{"1=a", "2=b"});
}

TEST_CASE("an executor that throws is counted and asked again") {
    Fixture f;
    f.executor.next = [] { return Does::refuses; };
    auto behind = f.behind();
    behind.put(1, "a");
    behind.put(2, "b");
    behind.poll();
    CHECK(behind.stats().refusals == 2);
    f.executor.next = [] { return Does::keeps; };
    behind.poll();
    REQUIRE(f.executor.kept.size() == 1);
    f.executor.kept[0]();
    CHECK(f.database.log() == Log{"1=a", "2=b"});
}

TEST_CASE("an executor that drops its task is counted and asked again") {
    Fixture f;
    f.executor.next = [] { return Does::drops; };
    auto behind = f.behind();
    behind.put(1, "a");
    behind.put(2, "b");
    CHECK(behind.stats().refusals == 1);
    f.executor.next = [] { return Does::keeps; };
    behind.poll();
    REQUIRE(f.executor.kept.size() == 1);
    f.executor.kept.clear();  // dropped later
    CHECK(behind.stats().refusals == 2);
    behind.poll();
    REQUIRE(f.executor.kept.size() == 1);
    f.executor.kept[0]();
    f.executor.kept.clear();
    CHECK(behind.stats().refusals == 2);
    CHECK(f.database.log() == Log{"1=a", "2=b"});
}

TEST_CASE("its own thread writes without being asked, once it is due", "[concurrent]") {
    support::Gate wrote;
    FakeDatabase database;
    database.before_batch = [&] { wrote.open(); };
    drey::Cache<int, std::string> cache{{.capacity = 100}};
    auto behind = drey::write_behind(cache, database.batch_writer(),
                                     {.on_failure = [](const auto&) {}, .flush_every = 1ms});
    behind.put(1, "a");
    wrote.wait();
    behind.flush();
    CHECK(database.log() == Log{"1=a"});
}

TEST_CASE("its own thread tries again without being asked", "[concurrent]") {
    support::Gate wrote;
    std::atomic<int> attempts = 0;
    drey::Cache<int, int> cache{{.capacity = 100}};
    auto behind = drey::write_behind(
        cache,
        [&](std::span<const drey::Write<int, int>>) {
            if (++attempts < 3) throw FakeDatabase::Down();
            wrote.open();
        },
        {.on_failure = [](const auto&) {}, .flush_every = 0s, .retry = {.first_delay = 1ms}});
    behind.put(1, 1);
    wrote.wait();
    CHECK(behind.flush().empty());
    CHECK(attempts == 3);
}

TEST_CASE("its own thread watches the clock for an executor", "[concurrent]") {
    support::Gate wrote;
    FakeDatabase database;
    database.before_batch = [&] { wrote.open(); };
    FakeExecutor executor;
    executor.next = [] { return Does::runs_elsewhere; };
    drey::Cache<int, std::string> cache{{.capacity = 100}};
    {
        auto behind = drey::write_behind(
            cache, database.batch_writer(),
            {.on_failure = [](const auto&) {}, .flush_every = 1ms, .executor = executor.ref()});
        behind.put(1, "a");
        wrote.wait();
    }
    CHECK(database.log() == Log{"1=a"});
}

TEST_CASE("its own thread asks an executor again that refused, or dropped the task",
          "[concurrent]") {
    support::Gate wrote;
    FakeDatabase database;
    database.before_batch = [&] { wrote.open(); };
    FakeExecutor executor;
    executor.next = [&] {
        return executor.asked == 1   ? Does::refuses
               : executor.asked == 2 ? Does::drops
                                     : Does::runs_elsewhere;
    };
    drey::Cache<int, std::string> cache{{.capacity = 100}};
    {
        auto behind = drey::write_behind(
            cache, database.batch_writer(),
            {.on_failure = [](const auto&) {}, .flush_every = 1ms, .executor = executor.ref()});
        behind.put(1, "a");
        wrote.wait();
        CHECK(behind.stats().refusals == 2);
    }
    CHECK(executor.asked == 3);
}

TEST_CASE("destruction waits for the task that is writing", "[concurrent]") {
    support::Gate writing;
    std::atomic<bool> wrote = false;
    FakeExecutor executor;
    executor.next = [] { return Does::runs_elsewhere; };
    drey::Cache<int, int> cache{{.capacity = 100}};
    {
        auto behind = drey::write_behind(cache,
                                         [&](std::span<const drey::Write<int, int>>) {
                                             writing.open();
                                             for (int i = 0; i < 1000; ++i)
                                                 std::this_thread::yield();
                                             wrote = true;
                                         },
                                         {.on_failure = [](const auto&) {},
                                          .flush_every = 0s,
                                          .executor = executor.ref(),
                                          .own_thread = false});
        behind.put(1, 1);
        writing.wait();
    }
    CHECK(wrote);
}

TEST_CASE("a task that is run twice does not make the executor get two at a time") {
    Fixture f;
    auto behind = f.behind();
    behind.put(1, "a");
    behind.put(2, "b");
    REQUIRE(f.executor.kept.size() == 1);
    f.executor.kept[0]();
    behind.put(3, "c");
    behind.put(4, "d");
    REQUIRE(f.executor.kept.size() == 2);
    f.database.before_batch = [&] {
        f.database.before_batch = nullptr;
        behind.put(5, "e");
        behind.put(6, "f");
    };
    f.executor.kept[0]();  // again
    behind.poll();
    CHECK(f.executor.kept.size() == 2);
}
