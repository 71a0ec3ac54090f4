#include <cstddef>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"
#include "writing/behind.hpp"

// User code that calls the object it is called by, and what outlives that object.

using Log = std::vector<std::string>;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string error_of(const std::function<void()>& call) {
    try {
        call();
    } catch (const std::logic_error& error) {
        return error.what();
    }
    return "nothing";
}

/// Whose weigher, within a put, does what the test says.
struct Weighed {
    explicit Weighed(Behind<>::Options options = {})
        : b(std::move(options),
            {.capacity = 100, .weigher = [this](int key, const std::string&) -> drey::Weight {
                 if (within) within(key);
                 return 1;
             }}) {}

    std::function<void(int)> within;
    Behind<> b;
};

}  // namespace

TEST_CASE("a flush from within a put gets an error, not a wait for that very put") {
    Weighed w;
    std::string error;
    w.within = [&](int) { error = error_of([&] { w.b.behind.flush(); }); };
    w.b.behind.put(1, "a");
    CHECK_THAT(error, ContainsSubstring("within a write"));
    CHECK(w.b.behind.flush().empty());
    CHECK(w.b.database.log() == Log{"1=a"});
}

TEST_CASE("a put within a put makes room by writing, and gets an error where only waiting helps") {
    Weighed w({.flush_every = 1h, .max_queue = 2});
    std::string error = "not called";
    const auto put_another = [&](int key) {
        if (key < 10) error = error_of([&] { w.b.behind.put(key + 10, "inner"); });
    };
    w.within = put_another;
    w.b.behind.put(1, "a");
    CHECK(error == "nothing");
    w.b.behind.put(2, "b");
    CHECK(error == "nothing");
    Weighed one({.flush_every = 1h, .max_queue = 1});
    one.within = [&](int key) {
        if (key == 1) error = error_of([&] { one.b.behind.put(2, "inner"); });
    };
    one.b.behind.put(1, "a");
    CHECK_THAT(error, ContainsSubstring("within a write"));
    CHECK(one.b.behind.get(1) == "a");
    one.b.behind.flush();
    CHECK(one.b.database.log() == Log{"1=a"});
}

TEST_CASE("two puts, each within which the other's key is put, get errors and no deadlock",
          "[concurrent]") {
    Weighed w;
    support::Gate first_is_in, second_is_in, first_is_done;
    std::string errors[2];
    w.within = [&](int key) {
        if (key == 1) {
            first_is_in.open();
            second_is_in.wait();
            errors[0] = error_of([&] { w.b.behind.put(2, "x"); });
        } else {
            second_is_in.open();
            first_is_done.wait();
        }
    };
    std::thread second([&] {
        first_is_in.wait();
        w.b.behind.put(2, "b");
    });
    w.b.behind.put(1, "a");
    first_is_done.open();
    second.join();
    CHECK_THAT(errors[0], ContainsSubstring("within a write"));
    w.b.behind.flush();
    CHECK(w.b.database.rows() == std::map<int, std::string>{{1, "a"}, {2, "b"}});
}

TEST_CASE("a loader of an update that writes its key gets an error, and other keys are written") {
    Behind b;
    std::string error;
    CHECK(b.behind.update(
        1, [](std::optional<std::string> row) { return row; },
        [&] {
            error = error_of([&] { b.behind.erase(1); });
            b.behind.put(2, "b");
            return std::string("row");
        }));
    CHECK_THAT(error, ContainsSubstring("within a write of that key"));
    b.behind.flush();
    CHECK(b.database.rows() == std::map<int, std::string>{{1, "row"}, {2, "b"}});
}

TEST_CASE("what fails during destruction cannot be queued again, and is told all the same") {
    std::vector<std::string> told;
    std::function<void(int)> again;
    FakeDatabase database;
    database.down = true;
    drey::Cache<int, std::string> cache{{.capacity = 10}};
    {
        auto behind =
            drey::write_behind(cache, database.batch_writer(),
                               {.on_failure =
                                    [&](const auto& failure) {
                                        told.push_back(error_of([&] { again(failure.key()); }));
                                    },
                                .own_thread = false});
        again = [&](int key) { behind.put(key, "again"); };
        behind.put(1, "a");
        behind.put(2, "b");
    }
    CHECK(told == Log(2, "drey: a write to a queue that is being destroyed"));
    CHECK(cache.empty());
}

TEST_CASE("options without a limit are no reason to ask for memory without a limit") {
    constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();
    Behind b({.flush_every = drey::never,
              .max_batch = no_limit,
              .max_queue = no_limit,
              .retry = {.attempts = no_limit, .max_delay = drey::never}});
    for (int key = 0; key < 1000; ++key) b.behind.put(key, "a");
    b.pass(24h);
    CHECK(b.database.batches.empty());
    b.behind.flush();
    CHECK(b.database.batches == std::vector<std::size_t>{1000});
}

TEST_CASE("a clock that begins far below zero is waited for all the same", "[concurrent]") {
    drey::ManualClock clock(std::chrono::nanoseconds::min());
    FakeDatabase database;
    drey::Cache<int, std::string> cache{{.capacity = 10}};
    support::Gate wrote;
    database.before_batch = [&] { wrote.open(); };
    auto behind =
        drey::write_behind(cache, database.batch_writer(),
                           {.on_failure = [](const auto&) {}, .flush_every = 24h, .clock = clock});
    behind.put(1, "a");
    clock.advance(std::chrono::nanoseconds::max());
    behind.poll();
    wrote.wait();
    CHECK(behind.flush().empty());
}

namespace {

/// A key whose copies tell when they are destroyed.
struct TellingKey {
    explicit TellingKey(int i) : id(i) {}
    TellingKey(const TellingKey&) = default;
    TellingKey& operator=(const TellingKey&) = default;
    ~TellingKey() {
        if (on_destruction) on_destruction();
    }
    bool operator==(const TellingKey& other) const { return id == other.id; }

    static inline std::function<void()> on_destruction;
    int id;
};

/// As little of a cache as can be written behind, which keeps a loader for later.
struct KeepingCache {
    using key_type = TellingKey;
    using mapped_type = int;
    using Loaded = drey::Loaded<std::optional<int>>;

    std::optional<int> get(const TellingKey&) { return {}; }
    bool put(const TellingKey&, int, drey::PutOptions) { return true; }
    std::size_t erase(const TellingKey&) { return 0; }
    template <class Loader>
    std::optional<int> get_or_load(const TellingKey&, Loader&& loader, const drey::LoadOptions&) {
        kept = std::forward<Loader>(loader);
        return {};
    }

    std::function<Loaded(const TellingKey&)> kept;
};

}  // namespace

template <>
struct std::hash<TellingKey> {
    std::size_t operator()(const TellingKey& key) const { return static_cast<std::size_t>(key.id); }
};

TEST_CASE("a load that runs in the background looks in the queue, and may outlive it") {
    KeepingCache cache;
    {
        auto behind =
            drey::write_behind(cache, [](std::span<const drey::Write<TellingKey, int>>) {},
                               {.on_failure = [](const auto&) {}, .own_thread = false});
        {
            const auto loader = [row = std::make_shared<int>(1)] { return *row; };
            behind.get_or_load(TellingKey(1), loader);
        }
        CHECK(cache.kept(TellingKey(1)).value == 1);
        behind.put(TellingKey(1), 2);
        CHECK(cache.kept(TellingKey(1)).value == 2);
        behind.erase(TellingKey(1));
        CHECK(cache.kept(TellingKey(1)).value == std::nullopt);
    }
    CHECK(cache.kept(TellingKey(1)).value == 1);
}

TEST_CASE("destructors of keys run without the lock, also of those that a batch writer returned") {
    KeepingCache cache;
    int told = 0;
    {
        auto behind = drey::write_behind(
            cache,
            [](std::span<const drey::Write<TellingKey, int>> batch) {
                drey::Unwritten<TellingKey> unwritten;
                for (const auto& write : batch) unwritten.add(write.key);
                return unwritten;
            },
            {.on_failure = [](const auto&) {}, .retry = {.attempts = 1}, .own_thread = false});
        TellingKey::on_destruction = [&] {
            behind.stats();  // would wait for the lock
            ++told;
        };
        behind.put(TellingKey(1), 1);
        behind.put(TellingKey(1), 2);
        CHECK(behind.flush().size() == 1);
        TellingKey::on_destruction = nullptr;
    }
    CHECK(told > 0);
}
