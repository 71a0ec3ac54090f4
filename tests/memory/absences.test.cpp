#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "drey/cache.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/threads.hpp"

/// Stale values and absences under threads. An absence has something in the place of a value, which
/// nobody may ever see: neither who looks at once, without a glance at what else is known of an
/// entry, nor who finds the slot a moment after it changed hands.

namespace {

using namespace std::chrono_literals;
using drey::Found;
using drey::Reading;
using support::Counted;
using support::Failures;
using support::in_threads;
using support::ops;

template <class V>
using Store = drey::Store<std::uint64_t, V, drey::S3Fifo, drey::DefaultHash, drey::DefaultEqual,
                          drey::Shared>;

constexpr auto always = drey::WriteIf::always;

template <class S>
bool put_absent(S& store, std::uint64_t key, const drey::Terms& terms) {
    const typename S::LoadTicket ticket(store, store.hash(key));
    return store.fill_absent(ticket, std::uint64_t{key}, terms, {store, key});
}

const drey::Terms for_ever{.ttl = drey::never};

/// Lets a test do something while one thread is in the middle of a look-up.
struct Interrupted {
    static inline thread_local std::function<void()>* by = nullptr;

    bool operator()(std::uint64_t a, std::uint64_t b) const {
        if (by != nullptr) std::exchange(by, nullptr)->operator()();
        return a == b;
    }
};

struct OneHash {
    std::size_t operator()(std::uint64_t) const { return 5; }
};

}  // namespace

TEST_CASE("a look-up that began when there were no absences does not take the first for a value") {
    drey::Store<std::uint64_t, std::uint64_t, drey::S3Fifo, OneHash, Interrupted, drey::Shared>
        store({.capacity = 64});
    // All lie on one path, and the last on its second group: who looks for it meets the others.
    for (std::uint64_t key = 0; key < 16; ++key) store.put(std::uint64_t{key}, 1, {}, always);
    store.get(std::uint64_t{1});  // so that the thread is known, and its calls may be quick
    const std::uint64_t key = 100;
    std::function<void()> store_absence = [&] {
        support::elsewhere([&] { CHECK(put_absent(store, key, for_ever)); });
    };
    Interrupted::by = &store_absence;
    CHECK(store.get(key) == std::nullopt);
    CHECK(Interrupted::by == nullptr);
    CHECK(store.find(key).is_absent());
    std::function<void()> put_value = [&] {
        support::elsewhere([&] { CHECK(store.put(std::uint64_t{key}, 2, {}, always)); });
    };
    Interrupted::by = &put_value;
    CHECK(store.find(key).value() == 2);
    CHECK(store.validate());
}

TEST_CASE("the first absences of a cache are not taken for values by who looks meanwhile",
          "[concurrent]") {
    Failures wrong;
    for (std::size_t round = 0; round < ops(40); ++round) {
        Store<std::uint64_t> store({.capacity = 64});
        store.put(1, 1, {}, always);
        std::atomic<bool> stop{false};
        in_threads(3, [&](std::size_t thread) {
            if (thread == 0) {
                for (std::uint64_t i = 2; i < 200; ++i) {
                    put_absent(store, 1, for_ever);
                    wrong.expect(store.put(1, std::uint64_t{i}, {}, always));
                }
                stop = true;
                return;
            }
            std::uint64_t last = 0;
            do {
                // What the thread sees never goes back, and is never what stands for an absence.
                const auto value = store.get(std::uint64_t{1});
                wrong.expect(!value || (*value != 0 && *value >= last));
                last = value.value_or(last);
                const auto look_up = store.find(std::uint64_t{1});
                wrong.expect(look_up.is_hit() || look_up.is_absent());
                if (look_up) {
                    wrong.expect(*look_up != 0 && *look_up >= last);
                    last = *look_up;
                }
            } while (!stop);
        });
        wrong.expect(store.find(std::uint64_t{1}).is_hit());
        wrong.expect(store.validate());
    }
    CHECK(wrong.count() == 0);
}

TEST_CASE("who looks while a key is fresh, stale and absent in turn finds what was stored",
          "[concurrent]") {
    // The number says what it was stored as.
    enum Kind : std::uint64_t { fresh, stale, absent, kinds };
    Failures wrong;
    {
        Store<Counted> store({.capacity = 1'000});
        store.put(1, Counted(kinds + stale), {.ttl = 0s, .stale_for = 1h}, always);
        std::atomic<std::size_t> writing{2};
        in_threads(5, [&](std::size_t thread) {
            if (thread < 2) {
                support::Random random(thread);
                for (std::uint64_t i = 1; i <= ops(3'000); ++i) {
                    const std::uint64_t kind = random.below(kinds);
                    const drey::Terms terms{.ttl = kind == stale ? 0s : 1h,
                                            .stale_for = kind == absent ? 0h : 1h,
                                            .load_cost = std::chrono::nanoseconds(1 + kind)};
                    if (kind == absent) {
                        put_absent(store, 1, terms);
                    } else {
                        wrong.expect(store.put(1, Counted(kinds * i + kind), terms, always));
                    }
                    const std::uint64_t other =
                        2 + random.below(64);  // whose slots come to be reused
                    if (i % 2 == 0) put_absent(store, other, for_ever);
                    if (i % 2 == 1) store.erase(other);
                }
                --writing;
                return;
            }
            const std::uint64_t key = 1;
            do {
                bool used = false;
                const Found found = store.look(
                    key, {store, key}, [&](const Counted& value, const Reading& reading) {
                        used = true;
                        const std::uint64_t kind = value.number() % kinds;
                        wrong.expect(value.whole());
                        wrong.expect(kind == (reading.state == Found::stale ? stale : fresh));
                        wrong.expect(reading.load_cost == std::chrono::nanoseconds(1 + kind) ||
                                     value.number() == kinds + stale);
                    });
                wrong.expect(used == (found == Found::hit || found == Found::stale));
                wrong.expect(used || found == Found::absent);
                store.read(key, [&](const Counted& value) {
                    wrong.expect(value.whole() && value.number() % kinds == fresh);
                });
                store.update(std::uint64_t{100 + thread},
                             [](std::optional<Counted> old) { return old; }, {});
            } while (writing != 0);
        });
        wrong.expect(store.validate());
    }
    CHECK(wrong.count() == 0);
    CHECK(Counted::all_destroyed_once());
}

TEST_CASE("absences that expire take nothing from overwriting without the lock", "[concurrent]") {
    Store<std::uint64_t> store({.capacity = 64, .shards = 1});
    put_absent(store, 2, {.ttl = 1h});
    store.put(1, 0, {}, always);
    constexpr std::uint64_t mark = std::uint64_t{1} << 32;
    std::atomic<bool> stop{false};
    Failures lost;
    in_threads(2, [&](std::size_t thread) {
        if (thread == 0) {
            for (std::uint64_t i = 1; i <= ops(20'000); ++i) {
                store.put(1, std::uint64_t{i}, {}, always);
                lost.expect(store.get(std::uint64_t{1}).value_or(0) % mark == i);
            }
            stop = true;
        } else {
            while (!stop)
                store.update(1,
                             [&](std::optional<std::uint64_t> seen) {
                                 return std::optional<std::uint64_t>(seen.value_or(0) + mark);
                             },
                             {});
        }
    });
    CHECK(lost.count() == 0);
    CHECK(store.validate());
}
