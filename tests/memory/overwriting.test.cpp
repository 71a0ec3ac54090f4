#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <optional>
#include <thread>
#include <utility>

#include "drey/cache.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

/// Values that fit a word are overwritten without the shard's lock. Who removes or replaces a value
/// because of what it is must not be overtaken by that.

using namespace std::chrono_literals;
using drey::HazardDomain;
using support::Failures;
using support::in_threads;
using support::ops;

namespace {

using Store = drey::Store<std::uint64_t, std::uint64_t, drey::S3Fifo, drey::DefaultHash,
                          drey::DefaultEqual, drey::Shared>;

/// Equality that lets a test stop a call of one thread between its finding an entry and its using
/// it.
struct Stopping {
    using is_transparent = void;
    static inline thread_local std::function<void()>* here = nullptr;

    bool operator()(std::uint64_t a, std::uint64_t b) const {
        if (a == b && here != nullptr) std::exchange(here, nullptr)->operator()();
        return a == b;
    }
};

}  // namespace

TEST_CASE("who acts on the value that it finds waits for whoever is overwriting one",
          "[concurrent]") {
    using Act = std::function<void(Store&)>;
    const auto nothing = [](std::optional<std::uint64_t>) {
        return std::optional<std::uint64_t>();
    };
    const Act acts[] = {
        [](Store& store) { store.take(std::uint64_t{1}); },
        [&](Store& store) { store.update(1, nothing, {}); },
        [](Store& store) { store.erase_if([](std::uint64_t, std::uint64_t) { return true; }); },
        [](Store& store) { store.put(2, 2, {.ttl = 1h}, drey::WriteIf::always); },
    };
    for (const Act& act : acts) {
        HazardDomain domain;
        Store store({.capacity = 64}, drey::Shared::Readers(domain));
        store.put(1, 1, {}, drey::WriteIf::always);
        const std::uint64_t written = 0;
        { HazardDomain::Guard known(domain); }
        std::atomic<bool> done{false};
        std::thread other;
        {
            HazardDomain::QuickGuard guard(&domain);
            if (!guard) {  // without membarrier there are none, and nobody overwrites
                WARN("SKIPPED: no quick guards here");
                return;
            }
            guard.protect_to_write(&written);
            other = std::thread([&] {
                act(store);
                done = true;
            });
            for (int i = 0; i < 2'000; ++i) std::this_thread::yield();
            CHECK_FALSE(done);
        }
        other.join();
        CHECK(done);
    }
}

TEST_CASE("an entry of odd size is protected as any other, and taken for no writer's") {
    struct Chars {
        std::array<char, 16> text;
    };
    drey::Cache<std::uint8_t, Chars, drey::Fifo> cache{{.capacity = 64, .shards = 1}};
    drey::Cache<int, int> other{{.capacity = 64}};
    for (int i = 0; i < 30; ++i) {
        Chars value{};
        value.text.fill(static_cast<char>('a' + i % 26));
        cache.put(static_cast<std::uint8_t>(i), value);
    }
    for (int i = 0; i < 30; ++i) {
        const auto key = static_cast<std::uint8_t>(i);
        cache.visit(key, [&](const Chars& seen) {
            const Chars before = seen;
            cache.erase(key);
            cache.synchronize();
            for (int n = 0; n < 200; ++n) cache.put(static_cast<std::uint8_t>(100 + n % 100), {});
            CHECK(seen.text == before.text);
            other.put(1, 1);
            CHECK(other.take(1) == 1);  // waits for writers, and the visitor is none
        });
    }
}

TEST_CASE("a put whose entry is taken while it looks at it does not get lost") {
    drey::Cache<std::uint64_t, std::uint64_t,
                drey::Memory<drey::S3Fifo, drey::DefaultHash, Stopping>>
        cache{{.capacity = 64}};
    cache.put(1, 10);
    cache.get(std::uint64_t{1});  // so that the thread is known
    std::optional<std::uint64_t> taken;
    std::function<void()> meanwhile = [&] {
        support::elsewhere([&] { taken = cache.take(std::uint64_t{1}); });
    };
    Stopping::here = &meanwhile;
    cache.put(1, 20);
    CHECK(taken == 10);
    CHECK(cache.get(std::uint64_t{1}) == 20);
}

TEST_CASE("a thread that only ever puts overwrites without the lock", "[concurrent]") {
    drey::Cache<std::uint64_t, std::uint64_t,
                drey::Memory<drey::S3Fifo, drey::DefaultHash, Stopping>>
        cache{{.capacity = 64}};
    std::optional<std::uint64_t> taken;
    std::function<void()> meanwhile = [&] {  // for ever, if the put has the lock
        support::elsewhere([&] { taken = cache.take(std::uint64_t{1}); });
    };
    cache.get(std::uint64_t{1});
    if (!HazardDomain::QuickGuard(&HazardDomain::process())) {
        WARN("SKIPPED: no quick guards here");
        return;
    }
    support::elsewhere([&] {
        cache.put(1, 10);
        Stopping::here = &meanwhile;
        cache.put(1, 20);
    });
    CHECK(taken == 10);
}

TEST_CASE("a put that looks at an entry while a load of the key begins dooms the load") {
    drey::Cache<std::uint64_t, std::uint64_t,
                drey::Memory<drey::S3Fifo, drey::DefaultHash, Stopping>>
        cache{{.capacity = 64}};
    cache.put(1, 10);
    cache.get(std::uint64_t{1});
    std::latch loading(1), put(1);
    std::thread loader;
    std::function<void()> meanwhile = [&] {
        loader = std::thread([&] {
            cache.erase(std::uint64_t{1});
            const auto loaded = cache.get_or_load(std::uint64_t{1}, [&](std::uint64_t) {
                loading.count_down();
                put.wait();
                return std::uint64_t{30};
            });
            CHECK(loaded == 30);
        });
        loading.wait();
    };
    Stopping::here = &meanwhile;
    cache.put(1, 20);
    put.count_down();
    loader.join();
    CHECK(cache.get(std::uint64_t{1}) == 20);
}

namespace {

/// A cache of one key, in which two numbers are put in turn: the even overwrites the odd where it
/// stands. Meanwhile another thread calls `remove(cache, number)`, which returns whether it removed
/// a value and says which. No number that was put last may get lost.
template <class Policy, class Remove>
void nothing_is_lost_to(std::size_t puts, Remove&& remove) {
    drey::Cache<std::uint64_t, std::uint64_t, Policy> cache{{.capacity = 100, .shards = 1}};
    std::atomic<std::uint64_t> rounds{0}, removed{0};
    std::atomic<bool> stop{false};
    Failures lost;
    in_threads(2, [&](std::size_t thread) {
        if (thread == 0) {
            for (std::uint64_t i = 1; i < 2 * puts && lost.count() == 0; i += 2) {
                cache.put(1, i);
                cache.put(1, i + 1);
                // Whoever begins to remove now finds what was put last.
                const std::uint64_t began = rounds;
                while (removed < i + 1 && rounds < began + 2) std::this_thread::yield();
                lost.expect(removed == i + 1);
            }
            stop = true;
        } else {
            while (!stop) {
                std::uint64_t number = 0;
                if (remove(cache, number)) removed = number;
                ++rounds;
            }
        }
    });
    CHECK(lost.count() == 0);
    CHECK(cache.validate());
}

}  // namespace

TEST_CASE("a value that is put while another is taken is taken or stays", "[concurrent]") {
    const auto take = [](auto& cache, std::uint64_t& number) {
        const auto value = cache.take(std::uint64_t{1});
        number = value.value_or(0);
        return value.has_value();
    };
    nothing_is_lost_to<drey::S3Fifo>(ops(1'500), take);
    nothing_is_lost_to<drey::Lru>(ops(1'500), take);
}

TEST_CASE("an update that removes a value has seen the one that it removes", "[concurrent]") {
    nothing_is_lost_to<drey::S3Fifo>(ops(1'500), [](auto& cache, std::uint64_t& number) {
        cache.update(1, [&](std::optional<std::uint64_t> old) {
            number = old.value_or(0);
            return std::optional<std::uint64_t>();
        });
        return number != 0;
    });
}

TEST_CASE("an update that changes a value has seen the one that it changes", "[concurrent]") {
    // Each adds a million, the puts begin anew: what was put last is at least added to.
    nothing_is_lost_to<drey::S3Fifo>(ops(1'500), [](auto& cache, std::uint64_t& number) {
        cache.update(1, [&](std::optional<std::uint64_t> old) {
            number = old.value_or(0) % 1'000'000;
            return old ? std::optional(*old + 1'000'000) : old;
        });
        return number != 0;
    });
}

TEST_CASE("erase_if removes no value that it did not ask about", "[concurrent]") {
    drey::Cache<std::uint64_t, std::uint64_t> cache{{.capacity = 100, .shards = 1}};
    std::atomic<bool> stop{false};
    Failures wrong;
    in_threads(2, [&](std::size_t thread) {
        if (thread == 0) {
            for (std::uint64_t i = 1; i < ops(1'500); i += 2) {
                cache.put(1, i);
                cache.put(1, i + 1);
                wrong.expect(cache.get(1) == i + 1);
            }
            stop = true;
        } else {
            while (!stop)
                cache.erase_if([](std::uint64_t, std::uint64_t number) { return number % 2 != 0; });
        }
    });
    CHECK(wrong.count() == 0);
    CHECK(cache.validate());
}

TEST_CASE("overwriting from many threads is counted, and the last of each is found",
          "[concurrent]") {
    drey::Cache<std::uint64_t, std::uint64_t> cache{{.capacity = 10'000}};
    constexpr std::uint64_t threads = 6, keys = 50;
    const std::uint64_t rounds = ops(2'000);
    in_threads(threads, [&](std::size_t thread) {
        for (std::uint64_t round = 1; round <= rounds; ++round)
            for (std::uint64_t key = 0; key < keys; ++key) cache.put(key * threads + thread, round);
    });
    for (std::uint64_t key = 0; key < keys * threads; ++key) REQUIRE(cache.get(key) == rounds);
    const auto stats = cache.stats();
    CHECK(stats.insertions == threads * keys * rounds);
    CHECK(stats.removals[static_cast<std::size_t>(drey::Removal::replaced)] ==
          threads * keys * (rounds - 1));
}
