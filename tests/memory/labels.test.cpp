#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "drey/cache.hpp"
#include "drey/memory/labels.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

/// What users call tags: their memory, and what threads find of them.

namespace {

using drey::Labels;
using drey::Loaded;
using support::Failures;
using support::in_threads;
using support::ops;

constexpr auto always = drey::WriteIf::always;

using Store = drey::Store<std::uint64_t, std::uint64_t, drey::S3Fifo, drey::DefaultHash,
                          drey::DefaultEqual, drey::Shared>;

void put(Store& store, std::uint64_t key, std::uint64_t value,
         const std::vector<std::string>& tags) {
    store.put(std::uint64_t{key}, std::uint64_t{value}, {.tags = tags}, always);
}

}  // namespace

TEST_CASE("labels are known as long as a set has them") {
    Labels labels(1);
    {
        const std::vector<std::string> both{"a", "b", "a"}, one{"b"};
        const auto first = labels.make(both, drey::any_tag_time);
        CHECK(labels.size() == 2);
        {
            const auto second = labels.make(one, drey::any_tag_time);
            CHECK(labels.validate(4));
            labels.invalidate("a");
            CHECK(first->is_dropped());
            CHECK_FALSE(second->is_dropped());
        }
        CHECK(labels.size() == 2);
        CHECK(labels.validate(3));
    }
    CHECK(labels.size() == 0);
    CHECK(labels.validate(0));
}

TEST_CASE("what was obtained before its label was invalidated is dropped, known or not") {
    Labels labels(1);
    const std::vector<std::string> tag{"a"};
    for (const bool was_known : {false, true}) {
        const drey::TagTime before = labels.now();
        {
            const auto known = was_known ? labels.make(tag, drey::any_tag_time) : nullptr;
            labels.invalidate("a");
        }
        CHECK(labels.make(tag, before)->is_dropped());
        CHECK_FALSE(labels.make(tag, labels.now())->is_dropped());
        CHECK_FALSE(labels.make(tag, drey::any_tag_time)->is_dropped());
    }
}

TEST_CASE("labels that nobody has do not doom loads that concern others") {
    Labels labels(1);
    const drey::TagTime before = labels.now();
    labels.invalidate("not cached");
    std::size_t doomed = 0;
    for (int i = 0; i < 1000; ++i) {
        const std::vector<std::string> tag{"user:" + std::to_string(i)};
        doomed += labels.make(tag, before)->is_dropped() ? 1 : 0;
    }
    CHECK(doomed < 20);  // about one
}

TEST_CASE("the memory of tags is bounded by what is stored") {
    Store store({.capacity = 100, .shards = 1});
    for (std::uint64_t key = 0; key < 100'000; ++key) {
        const std::string tag = "user:" + std::to_string(key);
        put(store, key, key, {tag});
        if (key % 3 == 0) store.invalidate_tag(tag);
        store.invalidate_tag("stranger:" + std::to_string(key));
    }
    CHECK(store.tags() <= store.slots());
    CHECK(store.validate_tags());
    store.synchronize();
    CHECK(store.tags() <= 100);
    CHECK(store.validate_tags());
    store.clear();
    store.synchronize();
    CHECK(store.tags() == 0);
    CHECK(store.validate_tags());
    CHECK(store.validate());
}

TEST_CASE("a quick overwrite that others take for an old one does not outlive its tag",
          "[concurrent]") {
    // Untagged puts in place, while the first tags come: nothing is lost, and tags hold.
    for (std::size_t round = 0; round < ops(200); ++round) {
        Store store({.capacity = 64});
        Failures failures;
        in_threads(3, [&](std::size_t thread) {
            for (std::uint64_t i = 0; i < 20; ++i) {
                if (thread != 0) {
                    store.put(std::uint64_t{thread}, std::uint64_t{i}, {}, always);
                    failures.expect(store.get(std::uint64_t{thread}) == i);
                } else {
                    put(store, 7, i, {"t"});
                    failures.expect(store.get(std::uint64_t{7}) == i);
                    store.invalidate_tag("t");
                    failures.expect(!store.get(std::uint64_t{7}));
                }
            }
        });
        REQUIRE(failures.count() == 0);
    }
}

namespace {

/// A database of rows in groups, each with a tag; only versions count. Who changes a row writes it
/// and then invalidates its group.
struct Database {
    static constexpr std::uint64_t groups = 3, rows = 12;

    std::array<std::atomic<std::uint64_t>, groups> version{};

    static std::string tag(std::uint64_t group) { return "group:" + std::to_string(group); }
};

}  // namespace

TEST_CASE("after a tag was invalidated nobody gets anything older", "[concurrent]") {
    using Cache = drey::Cache<std::uint64_t, std::uint64_t>;
    Cache cache{{.capacity = 8}};  // so that entries, and with them tags, come and go
    Database database;
    // By how much a group's versions are known to have been invalidated.
    std::array<std::atomic<std::uint64_t>, Database::groups> invalidated{};
    Failures failures;
    in_threads(4, [&](std::size_t thread) {
        support::Random random(thread + 1);
        for (std::size_t i = ops(20'000); i-- > 0;) {
            const std::uint64_t key = random.below(Database::rows);
            const std::uint64_t group = key % Database::groups;
            const std::uint64_t least = invalidated[group].load();
            switch (random.below(8)) {
                case 0: {
                    const std::uint64_t now = database.version[group].fetch_add(1) + 1;
                    cache.invalidate_tag(Database::tag(group));
                    std::uint64_t known = invalidated[group].load();
                    while (known < now && !invalidated[group].compare_exchange_weak(known, now)) {
                    }
                    break;
                }
                case 1:
                case 2:
                    if (const auto value = cache.get(key)) failures.expect(*value >= least);
                    break;
                case 3:
                    cache.erase(key);
                    break;
                default: {
                    const std::uint64_t value = cache.get_or_load(key, [&] {
                        return Loaded<std::uint64_t>{database.version[group].load(),
                                                     {.tags = {Database::tag(group)}}};
                    });
                    failures.expect(value >= least);
                }
            }
        }
    });
    CHECK(failures.count() == 0);
    CHECK(cache.validate());
    // What remains is of the last version, as its writer invalidated it after he wrote.
    for (std::uint64_t key = 0; key < Database::rows; ++key)
        if (const auto value = cache.get(key))
            CHECK(*value == database.version[key % Database::groups].load());
}

TEST_CASE("tags that all threads put, invalidate and evict are counted right", "[concurrent]") {
    Store store({.capacity = 64});
    in_threads(4, [&](std::size_t thread) {
        support::Random random(thread + 1);
        for (std::size_t i = ops(20'000); i-- > 0;) {
            const std::uint64_t key = random.below(200);
            const std::string tag = "tag:" + std::to_string(random.below(20));
            switch (random.below(6)) {
                case 0:
                    store.invalidate_tag(tag);
                    break;
                case 1:
                    store.erase(key);
                    break;
                case 2:
                    store.get(key);
                    break;
                case 3:
                    store.put(std::uint64_t{key}, std::uint64_t{1}, {}, always);
                    break;
                default:
                    put(store, key, 1, {tag, "all"});
            }
        }
    });
    CHECK(store.validate());
    CHECK(store.validate_tags());
    store.clear();
    store.synchronize();
    CHECK(store.tags() == 0);
    CHECK(store.validate_tags());
}
