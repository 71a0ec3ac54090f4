#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "loading/fixture.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using loading::Background;
using loading::Broken;
using namespace std::chrono_literals;

namespace {

using Cache = drey::Cache<int, std::uint64_t, drey::Lru>;

constexpr std::size_t keys = 3;

/// A database whose rows only rise. Who writes one invalidates its key afterwards: once that has
/// returned, who asks from then on must not be given an older row, fresh or stale.
struct Rows {
    std::array<std::atomic<std::uint64_t>, keys> row{}, told{};

    std::uint64_t load(int key, std::uint64_t dice) {
        const std::uint64_t now = row[static_cast<std::size_t>(key)].load();
        if (dice % 3 == 0) std::this_thread::yield();
        if (dice % 4 == 0) throw Broken();
        return now;
    }
};

drey::LoadOptions any_options(support::Random& random) {
    drey::LoadOptions options;
    if (random.below(2) == 0) options.stale_for = std::chrono::seconds(random.below(5));
    if (random.below(2) == 0) options.serve_stale = static_cast<drey::ServeStale>(random.below(3));
    if (random.below(3) == 0) options.soft_timeout = std::chrono::seconds(random.below(2));
    if (random.below(3) == 0) options.hard_timeout = std::chrono::seconds(random.below(3));
    if (random.below(3) == 0) options.negative_ttl = std::chrono::seconds(random.below(3));
    if (random.below(3) == 0) options.retry_after = std::chrono::seconds(random.below(3));
    if (random.below(3) == 0) options.early = 1e8;
    return options;
}

/// What a reader does; what it got, of which key.
void read(Cache& cache, Rows& rows, support::Random& random, support::Failures& failures) {
    const int key = static_cast<int>(random.below(keys));
    const auto at = static_cast<std::size_t>(key);
    const std::uint64_t dice = random(), least = rows.told[at].load();
    const auto check = [&](std::optional<std::uint64_t> got, int of, std::uint64_t bound) {
        if (got) failures.expect(*got >= bound && *got <= rows.row[static_cast<std::size_t>(of)]);
    };
    try {
        switch (random.below(7)) {
            case 0:
                check(cache.get_or_load(
                          key,
                          [&rows, dice](int of) -> std::optional<std::uint64_t> {
                              const std::uint64_t got = rows.load(of, dice);
                              if (dice % 5 == 0) return std::nullopt;
                              return got;
                          },
                          any_options(random)),
                      key, least);
                break;
            case 1: {
                std::array<std::uint64_t, keys> bounds{};
                for (std::size_t i = 0; i < keys; ++i) bounds[i] = rows.told[i];
                const std::vector<int> order =
                    dice % 2 == 0 ? std::vector<int>{0, 1, 2} : std::vector<int>{2, 1, 0};
                const auto values = cache.get_or_load_many(
                    order,
                    [&rows, dice](std::span<const int> wanted) {
                        std::vector<std::uint64_t> got;
                        for (const int one : wanted) got.push_back(rows.load(one, dice));
                        return got;
                    },
                    any_options(random));
                for (std::size_t i = 0; i < order.size(); ++i)
                    check(values[i], order[i], bounds[static_cast<std::size_t>(order[i])]);
                break;
            }
            case 2:
                cache.refresh(key, [&rows, dice](int of) { return rows.load(of, dice); });
                break;
            case 3: {
                const auto found = cache.find(key);
                if (found) check(*found, key, least);
                break;
            }
            default:
                check(cache.get_or_load(
                          key, [&rows, dice](int of) { return rows.load(of, dice); },
                          any_options(random)),
                      key, least);
                break;
        }
    } catch (const Broken&) {
    } catch (const drey::LoadTimeout&) {
    }
}

void write(Cache& cache, Rows& rows, support::Random& random) {
    const auto key = random.below(keys);
    const int as_key = static_cast<int>(key);
    const std::uint64_t row = ++rows.row[key];
    switch (random.below(6)) {
        case 0:
            cache.clear();
            break;
        case 1:
            cache.put(as_key, row, {.ttl = 1s, .stale_for = 3s});
            break;
        case 2:
            cache.update(as_key, [&](auto) { return std::optional<std::uint64_t>(row); });
            break;
        case 3:
            cache.take(as_key);
            break;
        default:
            cache.erase(as_key);
            break;
    }
    rows.told[key] = row;
}

/// Readers, a writer, whose clock jumps, and one who runs what is queued, some of it too late.
void storm(std::uint64_t seed, bool has_executor) {
    drey::ManualClock clock;
    Background background;
    Rows rows;
    support::Failures failures;
    std::atomic<bool> stop{false};
    std::atomic<int> readers{6};
    drey::LoadOptions loading{.ttl = 1s, .stale_for = 3s};
    if (has_executor) loading.executor = background.executor();
    {
        Cache cache{{.capacity = 100, .loading = loading, .clock = clock, .seed = seed}};
        support::in_threads(8, [&](std::size_t thread) {
            support::Random random(seed * 8 + thread);
            if (thread == 0) {
                for (std::size_t i = 0; i < support::ops(3000); ++i) {
                    write(cache, rows, random);
                    if (random.below(4) == 0) clock.advance(500ms);
                    if (random.below(8) == 0) std::this_thread::yield();
                }
                stop = true;
            } else if (thread == 1) {
                while (readers != 0) {     // or they would wait for ever for what is queued,
                    clock.advance(100ms);  // and for their timeouts
                    if (random.below(8) == 0) background.drop();
                    background.run();
                    std::this_thread::yield();
                }
            } else {
                while (!stop) read(cache, rows, random, failures);
                --readers;
            }
        });
        CHECK(cache.validate());
        for (int key = 0; key < static_cast<int>(keys); ++key) {
            cache.erase(key);
            CHECK(cache.get_or_load(key, [] { return std::uint64_t{1}; }) == 1);
        }
        CHECK(cache.stats().loads > 0);
    }
    CHECK(failures.count() == 0);
    background.run();
}

}  // namespace

TEST_CASE("who asks after an invalidation gets nothing older, however it is loaded or served",
          "[concurrent]") {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        CAPTURE(seed);
        storm(seed, true);
        storm(seed, false);
    }
}

TEST_CASE("a key is not loaded twice at once unless it was invalidated", "[concurrent]") {
    drey::ManualClock clock;
    support::Failures failures;
    std::array<std::atomic<int>, keys> loading{};
    std::atomic<std::uint64_t> loads{0}, broken{0};
    // After what its loaders use: it waits for those in the background.
    Cache cache{{.capacity = 100,
                 .ttl = 1s,
                 .loading = {.stale_for = 1h, .negative_ttl = 1s, .early = 1.0},
                 .clock = clock}};
    support::in_threads(8, [&](std::size_t thread) {
        support::Random random(thread);
        for (std::size_t i = 0; i < support::ops(2000); ++i) {
            const int key = static_cast<int>(random.below(keys));
            const std::uint64_t dice = random();
            const auto load = [&, dice](int of) -> std::uint64_t {
                auto& now = loading[static_cast<std::size_t>(of)];
                failures.expect(now.fetch_add(1) == 0);
                std::this_thread::yield();
                now.fetch_sub(1);
                if (dice % 4 == 0) {
                    ++broken;
                    throw Broken();
                }
                ++loads;
                return 1;
            };
            try {
                if (dice % 16 == 0)
                    cache.refresh(key, load);
                else
                    failures.expect(cache.get_or_load(key, load,
                                                      {.soft_timeout = dice % 3 == 0 ? 1h : 0s,
                                                       .hard_timeout = 24h}) == 1);
            } catch (const Broken&) {
            }
            if (dice % 8 == 0) clock.advance(500ms);
        }
    });
    // What is still in the background has not been counted.
    while (cache.stats().loads + cache.stats().load_failures < loads + broken)
        std::this_thread::yield();
    CHECK(failures.count() == 0);
    CHECK(cache.stats().dropped_loads == 0);
    CHECK(cache.validate());
}
