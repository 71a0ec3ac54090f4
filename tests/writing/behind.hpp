#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "drey/cache.hpp"
#include "drey/writing/write_behind.hpp"
#include "support/catch.hpp"
#include "writing/fake_database.hpp"

using namespace std::chrono_literals;

/// A cache over a database, written behind by hand: by `poll`, when the clock says so.
template <class CacheType = drey::Cache<int, std::string>>
struct Behind {
    using Options = drey::WriteBehindOptions<int, std::string>;
    using Failure = drey::WriteFailure<int, std::string>;

    explicit Behind(Options options = {},
                    typename CacheType::Options cache_options = {.capacity = 100})
        : cache(std::move(cache_options)),
          behind(
              drey::write_behind(cache, database.batch_writer(), completed(std::move(options)))) {}
    ~Behind() { CHECK(behind.validate()); }

    Options completed(Options options) {
        options.clock = clock;
        options.own_thread = false;
        if (!options.on_failure)
            options.on_failure = [this](const Failure& failure) { lost.push_back(failure); };
        return options;
    }

    void pass(std::chrono::nanoseconds time) {
        clock.advance(time);
        behind.poll();
    }

    std::optional<std::string> load(int key) {
        return behind.get_or_load(key, [&] {
            ++loads;
            return database.read(key);
        });
    }

    using Log = std::vector<std::string>;

    drey::ManualClock clock;
    FakeDatabase database;
    CacheType cache;
    std::vector<Failure> lost;
    int loads = 0;
    drey::WriteBehind<CacheType, decltype(database.batch_writer())> behind;
};
