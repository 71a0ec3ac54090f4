#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "drey/cache.hpp"
#include "drey/memory/hazards.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/sieve.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/threads.hpp"

namespace {

using drey::HazardDomain;
using Fences = HazardDomain::Fences;
using Guard = HazardDomain::Guard;
using Held = HazardDomain::Held;

/// Guards nested `depth` deep, each of which protects one of `addresses`; runs `f` inside.
template <class F>
void nested(HazardDomain& domain, const short* addresses, std::size_t depth, F&& f) {
    if (depth == 0) return f();
    Guard guard(domain);
    guard.protect(addresses);
    nested(domain, addresses + 1, depth - 1, f);
}

}  // namespace

TEST_CASE("an address is held while a guard protects it") {
    HazardDomain domain;
    const int a = 1, b = 2;
    CHECK_FALSE(Held(domain).contains(&a));
    {
        Guard guard(domain);
        CHECK_FALSE(Held(domain).contains(&a));
        guard.protect(&a);
        CHECK(Held(domain).contains(&a));
        CHECK_FALSE(Held(domain).contains(&b));
        guard.protect(&b);
        CHECK_FALSE(Held(domain).contains(&a));
        CHECK(Held(domain).contains(&b));
    }
    CHECK_FALSE(Held(domain).contains(&b));
}

TEST_CASE("an address is held while another thread's guard protects it", "[concurrent]") {
    HazardDomain domain;
    const int a = 1;
    support::Gate protects, checked;
    std::thread reader([&] {
        Guard guard(domain);
        guard.protect(&a);
        protects.open();
        checked.wait();
    });
    protects.wait();
    CHECK(Held(domain).contains(&a));
    CHECK_FALSE(domain.held_by_me(&a));
    checked.open();
    reader.join();
    CHECK_FALSE(Held(domain).contains(&a));
}

TEST_CASE("guards nest deeper than a record has cells, and than a list of hazards is long") {
    HazardDomain domain;
    const std::vector<short> addresses(400);
    for (const std::size_t depth : {1u, 4u, 5u, 6u, 20u, 255u, 256u, 257u, 400u, 7u}) {
        std::size_t held = 0, mine = 0;
        bool one_more = true;
        nested(domain, addresses.data(), depth, [&] {
            const Held now(domain);
            for (const short& address : addresses) {
                held += now.contains(&address);
                mine += domain.held_by_me(&address);
            }
            one_more = now.contains(&one_more) || domain.held_by_me(&one_more);
        });
        CHECK(held == depth);
        CHECK(mine == depth);
        CHECK_FALSE(one_more);
        const Held none(domain);
        for (const short& address : addresses) REQUIRE_FALSE(none.contains(&address));
    }
}

TEST_CASE("nested guards of other threads are not mine", "[concurrent]") {
    HazardDomain domain;
    const std::vector<short> addresses(20);
    support::Gate protects, checked;
    std::thread reader([&] {
        nested(domain, addresses.data(), addresses.size(), [&] {
            protects.open();
            checked.wait();
        });
    });
    protects.wait();
    for (const short& address : addresses) {
        CHECK(Held(domain).contains(&address));
        CHECK_FALSE(domain.held_by_me(&address));
    }
    checked.open();
    reader.join();
}

TEST_CASE("records of threads that ended and of guards nested deep are used again",
          "[concurrent]") {
    HazardDomain domain;
    std::set<std::size_t> lanes;
    for (int i = 0; i < 50; ++i)
        support::elsewhere([&] {
            const short addresses[20] = {};
            nested(domain, addresses, 20, [&] { lanes.insert(Guard(domain).lane()); });
            lanes.insert(Guard(domain).lane());
        });
    for (const std::size_t lane : lanes) CHECK(lane < 20);
}

TEST_CASE("no two threads have one lane at a time", "[concurrent]") {
    HazardDomain domain;
    std::array<std::atomic<int>, 64> users{};
    support::Failures failures;
    support::in_threads(8, [&](std::size_t) {
        for (std::size_t i = 0; i < support::ops(100); ++i)
            std::thread([&] {
                for (int j = 0; j < 10; ++j) {
                    Guard guard(domain);
                    failures.expect(guard.lane() < users.size());
                    failures.expect(users[guard.lane()]++ == 0);
                    --users[guard.lane()];
                }
            }).join();
    });
    CHECK(failures.count() == 0);
}

TEST_CASE("one thread may use many domains by turns, and domains may come and go", "[concurrent]") {
    const int a = 1;
    auto first = std::make_unique<HazardDomain>();
    HazardDomain second;
    for (int i = 0; i < 50; ++i) {
        {
            Guard one(*first), two(second), three(*first);
            one.protect(&a);
            CHECK(Held(*first).contains(&a));
            CHECK_FALSE(Held(second).contains(&a));
            two.protect(&a);
            CHECK(Held(second).contains(&a));
            CHECK(second.held_by_me(&a));
        }
        support::elsewhere([&] { Guard guard(*first); });
        first = std::make_unique<HazardDomain>();  // often at the same address
        CHECK_FALSE(first->held_by_me(&a));
        CHECK_FALSE(Held(*first).contains(&a));
    }
}

namespace {

/// Calls `at_exit` when the thread ends.
struct AtThreadExit {
    std::function<void()> at_exit;
    ~AtThreadExit() {
        if (at_exit) at_exit();
    }
};
thread_local AtThreadExit before_records;

}  // namespace

TEST_CASE("a thread's last destructors may still use guards and caches", "[concurrent]") {
    HazardDomain domain;
    drey::Cache<int, std::string, drey::Lru> cache{{.capacity = 100}};
    std::atomic<std::size_t> most{0};
    std::atomic<int> right{0};
    constexpr int threads = 50;
    for (int i = 0; i < threads; ++i)
        support::elsewhere([&] {
            // Made before the thread's records, so destroyed after them.
            before_records.at_exit = [&] {
                const short addresses[10] = {};
                nested(domain, addresses, 10, [&] {
                    right += domain.held_by_me(&addresses[0]) && domain.held_by_me(&addresses[9]);
                    most = std::max(most.load(), Guard(domain).lane());
                });
                right += !domain.held_by_me(&addresses[0]);
                cache.put(1, "one");
                right += cache.get(1) == "one";
                right += cache.take(1) == "one";
            };
            Guard guard(domain);
            cache.get(1);
        });
    CHECK(right == 4 * threads);
    CHECK(most < 20);  // nothing was lost on the way
    CHECK(cache.validate());
}

// ---- litmus tests ------------------------------------------------------------------------------

namespace {

/// Publishes nodes at one place, and gives what was there before to its reclaimer; a node that is
/// free is overwritten at once. Nodes are plain memory: who reads one that was given away reads
/// nonsense, and ThreadSanitizer says so.
class Litmus {
public:
    explicit Litmus(Fences fences) : domain(fences) { published_ = fill(nodes_.data()); }

    /// Replaces the published node and reclaims what can be. For one thread at a time.
    void write() {
        Node* fresh = nullptr;
        for (Node& node : nodes_)
            if (node.free) fresh = &node;
        if (fresh != nullptr) {
            Node* old = published_.exchange(fill(fresh), std::memory_order_acq_rel);
            old->retired = true;
        }
        const Held held(domain);
        for (Node& node : nodes_)
            if (node.retired && !held.contains(&node)) {
                node.number = node.check = 0xbad;
                node.retired = false;
                node.free = true;
            }
    }

    /// Whether the published node could be read whole, and then, under the same guard, what was
    /// published next.
    bool read() {
        Guard guard(domain);
        const bool first = read_under(guard);
        return read_under(guard) && first;
    }

    HazardDomain domain;

private:
    struct Node {
        std::uint64_t number = 0, check = 0;
        bool free = true, retired = false;
    };

    bool read_under(Guard& guard) {
        for (;;) {
            const Node* node = published_.load(std::memory_order_acquire);
            guard.protect(node);
            if (published_.load(std::memory_order_acquire) != node) continue;
            const std::uint64_t number = node->number;
            return node->check == ~number;
        }
    }

    Node* fill(Node* node) {
        node->free = false;
        node->number = ++written_;
        node->check = ~node->number;
        return node;
    }

    std::array<Node, 4> nodes_{};
    std::uint64_t written_ = 0;
    std::atomic<Node*> published_{nullptr};
};

constexpr std::array all_fences{Fences::asymmetric_if_possible, Fences::symmetric};

}  // namespace

TEST_CASE("protect and check, against unlink and scan", "[concurrent]") {
    for (const Fences fences : all_fences) {
        Litmus litmus(fences);
        support::Failures failures;
        std::atomic<bool> stop{false};
        support::in_threads(4, [&](std::size_t thread) {
            if (thread == 0) {
                for (std::size_t i = 0; i < support::ops(80'000); ++i) litmus.write();
                stop = true;
            } else {
                while (!stop) failures.expect(litmus.read());
            }
        });
        CHECK(failures.count() == 0);
    }
}

TEST_CASE("the only thread of a domain reclaims while others come and go", "[concurrent]") {
    // The reclaimer goes without the heavy fence while it counts itself alone; each newcomer reads
    // at once, as near to being counted as can be.
    for (const Fences fences : all_fences) {
        Litmus litmus(fences);
        support::Failures failures;
        litmus.read();
        for (std::size_t i = 0; i < support::ops(400); ++i) {
            std::atomic<bool> done{false};
            std::thread newcomer([&] {
                failures.expect(litmus.read());
                done = true;
            });
            do {
                litmus.write();
                std::this_thread::yield();
            } while (!done);
            newcomer.join();
        }
        CHECK(failures.count() == 0);
    }
}

TEST_CASE("guards nested deep, whose records come and go, against unlink and scan",
          "[concurrent]") {
    for (const Fences fences : all_fences) {
        Litmus litmus(fences);
        support::Failures failures;
        std::atomic<bool> stop{false};
        support::in_threads(3, [&](std::size_t thread) {
            if (thread == 0) {
                for (std::size_t i = 0; i < support::ops(40'000); ++i) litmus.write();
                stop = true;
            } else {
                const short addresses[8] = {};
                while (!stop)
                    nested(litmus.domain, addresses, sizeof addresses,
                           [&] { failures.expect(litmus.read()); });
            }
        });
        CHECK(failures.count() == 0);
    }
}

TEST_CASE("readers whose hazards a list of them has no room for, against unlink and scan",
          "[concurrent]") {
    Litmus litmus(Fences::asymmetric_if_possible);
    support::Failures failures;
    std::atomic<bool> stop{false};
    std::latch registered(2);
    support::in_threads(3, [&](std::size_t thread) {
        if (thread == 0) {
            // Records that were made later are listed first, and fill the list.
            registered.wait();
            const std::vector<short> addresses(300);
            nested(litmus.domain, addresses.data(), addresses.size(), [&] {
                for (std::size_t i = 0; i < support::ops(10'000); ++i) litmus.write();
            });
            stop = true;
        } else {
            failures.expect(litmus.read());
            registered.count_down();
            while (!stop) failures.expect(litmus.read());
        }
    });
    CHECK(failures.count() == 0);
}

namespace {

/// One reader and one writer who meet again and again.
class Meeting {
public:
    /// Waits for the other; both come back at nearly the same moment.
    void meet(int round) {
        arrived_.fetch_add(1, std::memory_order_acq_rel);
        for (int spins = 0; arrived_.load(std::memory_order_acquire) < 2 * round;)
            if (++spins > 10'000) std::this_thread::yield();
    }

private:
    std::atomic<int> arrived_{0};
};

/// Keeps the calling thread on one processor, and the other on another: where both happen to share
/// one, neither sees the other in the middle of anything.
void keep_to_processor([[maybe_unused]] unsigned which) {
#if defined(__linux__)
    cpu_set_t allowed, mine;
    CPU_ZERO(&allowed);
    CPU_ZERO(&mine);
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    const auto count = static_cast<unsigned>(CPU_COUNT(&allowed));
    for (unsigned cpu = 0, seen = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &allowed) && seen++ == which % count) CPU_SET(cpu, &mine);
    ::sched_setaffinity(0, sizeof mine, &mine);
#endif
}

/// Lets less than a microsecond pass, or nothing.
void dawdle(support::Random& random) {
    for (std::atomic<std::uint64_t> steps{random.below(300)}; steps != 0;)
        steps.store(steps.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

/// Cache lines that reader and writer take from each other: a store that comes after one to each of
/// them stays long in the store buffer, while later loads go ahead.
class Clutter {
public:
    void write() {
        for (auto& line : lines_) line.number.store(1, std::memory_order_relaxed);
    }

private:
    struct alignas(128) Line {
        std::atomic<int> number{0};
    };
    std::array<Line, 64> lines_;
};

/// The bare pattern of protect and check, against unlink and scan: each side stores, fences, and
/// loads what the other stores. Returns how often both loaded the old value.
std::size_t both_too_early(Fences fences, bool writer_reads_too) {
    HazardDomain domain(fences);
    const int node = 0;
    alignas(64) std::atomic<bool> unlinked{false};
    alignas(64) bool reader_saw_it_linked = false;
    Clutter before_protect, before_unlink;
    Meeting meeting;
    std::size_t both = 0;
    const int rounds = static_cast<int>(support::ops(1'500));
    std::thread reader([&] {
        keep_to_processor(0);
        support::Random random(1);
        for (int i = 0; i < rounds; ++i) {
            Guard guard(domain);
            before_unlink.write();
            meeting.meet(3 * i + 1);
            while (unlinked.load(std::memory_order_relaxed)) continue;  // has it in its own cache
            meeting.meet(3 * i + 2);
            dawdle(random);
            if (random.below(2) == 0) before_protect.write();
            guard.protect(&node);
            reader_saw_it_linked = !unlinked.load(std::memory_order_acquire);
            meeting.meet(3 * i + 3);
        }
    });
    std::thread writer([&] {
        keep_to_processor(1);
        support::Random random(2);
        if (writer_reads_too) Guard{domain};
        for (int i = 0; i < rounds; ++i) {
            unlinked.store(false, std::memory_order_relaxed);
            before_protect.write();
            meeting.meet(3 * i + 1);
            both += Held(domain).contains(&node);  // has the cell in its own cache
            meeting.meet(3 * i + 2);
            dawdle(random);
            if (random.below(2) == 0) before_unlink.write();
            unlinked.store(true, std::memory_order_release);
            const bool saw_it_held = Held(domain).contains(&node);
            meeting.meet(3 * i + 3);
            both += reader_saw_it_linked && !saw_it_held;
        }
    });
    writer.join();
    reader.join();
    return both;
}

}  // namespace

TEST_CASE("store buffering is impossible with a fence on both sides", "[concurrent]") {
    for (const Fences fences : all_fences)
        for (const bool writer_reads_too : {false, true})
            CHECK(both_too_early(fences, writer_reads_too) == 0);
}

TEST_CASE("a store keeps what its readers read, with either kind of fence", "[concurrent]") {
    using Store = drey::Store<std::uint64_t, support::Counted, drey::Sieve, drey::DefaultHash,
                              drey::DefaultEqual, drey::Shared>;
    for (const Fences fences : all_fences) {
        HazardDomain domain(fences);
        {
            Store store({.capacity = 64, .shards = 2}, drey::Shared::Readers(domain));
            support::Failures failures;
            support::in_threads(6, [&](std::size_t thread) {
                support::Random random(thread);
                for (std::size_t i = 0; i < support::ops(20'000); ++i) {
                    std::uint64_t key = random.below(100);
                    if (thread % 2 == 0) {
                        if (random.below(8) == 0)
                            store.erase(key);
                        else
                            store.put(std::move(key), support::Counted(key), {},
                                      drey::WriteIf::always);
                    } else {
                        store.read(key, store.hash(key), [&](const support::Counted& value) {
                            failures.expect(value.whole() && value.number() == key);
                        });
                    }
                }
            });
            CHECK(failures.count() == 0);
            CHECK(store.validate());
            store.synchronize();
            CHECK(support::Counted::alive() == static_cast<long>(store.size()));
        }
        CHECK(support::Counted::alive() == 0);
    }
}
