#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "drey/cache.hpp"
#include "drey/writing/write_behind.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/threads.hpp"

using namespace std::chrono_literals;
using support::Counted;

namespace {

constexpr std::size_t threads = 8;
constexpr int keys_of_each = 6, keys = static_cast<int>(threads) * keys_of_each;

/// Rows that remember whether writes came in order, and whether two batches met.
struct Table {
    std::array<std::atomic<std::uint64_t>, keys> rows{};  // 0: none
    support::Failures wrong;
    std::atomic<int> inside{0};
    std::atomic<std::uint64_t> calls{0};

    std::optional<Counted> read(int key) const {
        const std::uint64_t row = rows[static_cast<std::size_t>(key)].load();
        return row != 0 ? std::optional<Counted>(row) : std::nullopt;
    }

    drey::Unwritten<int> write(std::span<const drey::Write<int, Counted>> batch,
                               std::uint64_t one_in) {
        wrong.expect(inside.fetch_add(1) == 0);
        support::Random random(calls.fetch_add(1));
        drey::Unwritten<int> unwritten;
        const bool breaks_off = random.below(one_in) == 0;
        for (const auto& [key, value] : batch) {
            if (breaks_off && random.below(2) == 0) {
                inside.fetch_sub(1);
                throw std::runtime_error("broken off");
            }
            if (random.below(one_in) == 0) {
                unwritten.add(key);
                continue;
            }
            wrong.expect(!value || value->whole());
            rows[static_cast<std::size_t>(key)] = value ? value->number() : 0;
        }
        inside.fetch_sub(1);
        return unwritten;
    }
};

/// Each thread writes its own keys, reads them back, and reads those of others.
template <class Behind>
void work(Behind& behind, Table& table, std::size_t thread, support::Failures& wrong,
          bool may_fail) {
    support::Random random(thread);
    std::array<std::uint64_t, keys_of_each> last{};
    std::array<std::uint64_t, keys> seen{};
    for (std::uint64_t i = 1; i <= support::ops(1500); ++i) {
        const auto which = random.below(keys_of_each);
        const int key = static_cast<int>(thread * keys_of_each + which);
        switch (random.below(6)) {
            case 0:
                behind.erase(key);
                last[which] = 0;
                break;
            case 1:
            case 2:
                behind.put(key, Counted(i));
                last[which] = i;
                break;
            case 3: {
                const auto own = behind.get_or_load(key, [&] { return table.read(key); });
                wrong.expect(may_fail || (own ? own->number() : 0) == last[which]);
                wrong.expect(!own || own->whole());
                break;
            }
            case 4: {
                const auto own = behind.get(key);
                wrong.expect(may_fail || !own || own->number() == last[which]);
                break;
            }
            default: {
                // Others only count up, but for erasing: no value is older than one seen before.
                const auto other = static_cast<int>(random.below(keys));
                const auto found = behind.get_or_load(other, [&] { return table.read(other); });
                if (!found) break;
                auto& before = seen[static_cast<std::size_t>(other)];
                wrong.expect(found->whole() && (may_fail || found->number() >= before));
                before = found->number();
            }
        }
    }
}

}  // namespace

TEST_CASE(
    "each thread reads what it wrote, however full the queue, small the cache and lame the "
    "database",
    "[concurrent]") {
    {
        Table table;
        support::Failures wrong;
        drey::Cache<int, Counted> cache{{.capacity = 8}};
        auto behind = drey::write_behind(
            cache,
            [&](std::span<const drey::Write<int, Counted>> batch) {
                return table.write(batch, 10);
            },
            {.on_failure = [&](const auto&) { wrong.expect(false); },
             .flush_every = 100us,
             .max_batch = 5,
             .max_queue = 16,
             .retry = {.attempts = 1'000'000, .first_delay = 1us, .max_delay = 100us}});
        support::in_threads(threads,
                            [&](std::size_t thread) { work(behind, table, thread, wrong, false); });
        CHECK(behind.flush().empty());
        CHECK(wrong.count() == 0);
        CHECK(table.wrong.count() == 0);
        CHECK(behind.validate());
        CHECK(cache.validate());
        for (int key = 0; key < keys; ++key) {
            const auto cached = cache.get(key);
            if (cached) CHECK(cached == table.read(key));
        }
        const auto stats = behind.stats();
        CHECK(stats.pending == 0);
        CHECK(stats.queued == stats.written + stats.coalesced);
    }
    CHECK(Counted::all_destroyed_once());
}

TEST_CASE("writes that are given up leave nothing in the cache that the database has not",
          "[concurrent]") {
    {
        Table table;
        support::Failures wrong;
        std::atomic<std::uint64_t> lost = 0;
        drey::Cache<int, Counted> cache{{.capacity = 24}};
        auto behind = drey::write_behind(
            cache,
            [&](std::span<const drey::Write<int, Counted>> batch) { return table.write(batch, 3); },
            {.on_failure = [&](const auto&) { ++lost; },
             .flush_every = 100us,
             .max_batch = 5,
             .max_queue = 16,
             .retry = {.attempts = 2, .first_delay = 1us}});
        support::in_threads(threads, [&](std::size_t thread) {
            work(behind, table, thread, wrong, true);
            if (thread == 0) behind.flush();
        });
        behind.flush();
        CHECK(wrong.count() == 0);
        CHECK(table.wrong.count() == 0);
        for (int key = 0; key < keys; ++key) {
            const auto cached = cache.get(key);
            if (cached) CHECK(cached == table.read(key));
        }
        const auto stats = behind.stats();
        CHECK(stats.failed == lost);
        CHECK(lost > 0);
        CHECK(stats.queued == stats.written + stats.coalesced + stats.failed);
    }
    CHECK(Counted::all_destroyed_once());
}

TEST_CASE("threads that put one key end with the same value in queue, cache and database",
          "[concurrent]") {
    std::atomic<int> row = 0;
    drey::Cache<int, int> cache{{.capacity = 8}};
    auto behind = drey::write_behind(
        cache, [&](std::span<const drey::Write<int, int>> batch) { row = batch[0].value.value(); },
        {.on_failure = [](const auto&) {}, .flush_every = 0s});
    for (int round = 0; round < 20; ++round) {
        support::in_threads(4, [&](std::size_t thread) {
            for (int i = 1; i <= 50; ++i) behind.put(1, static_cast<int>(thread) * 1000 + i);
        });
        behind.flush();
        CHECK(cache.get(1) == row.load());
    }
}
