#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "drey/redis/unconfirmed.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using drey::redis::Unconfirmed;

void confirm(Unconfirmed& keys, const std::vector<Unconfirmed::Entry>& entries) {
    for (const auto& entry : entries) keys.confirm(entry);
}

TEST_CASE("key is unconfirmed from when it is added until it is confirmed") {
    Unconfirmed keys;
    CHECK_FALSE(keys.any());
    CHECK_FALSE(keys.contains("a"));
    keys.add("a");
    CHECK(keys.any());
    CHECK(keys.contains("a"));
    CHECK_FALSE(keys.contains("b"));
    confirm(keys, keys.some(10));
    CHECK_FALSE(keys.any());
    CHECK_FALSE(keys.contains("a"));
}

TEST_CASE("key that is added while it is being confirmed stays") {
    Unconfirmed keys;
    keys.add("a");
    keys.add("b");
    const auto entries = keys.some(10);
    keys.add("a");
    confirm(keys, entries);
    CHECK(keys.contains("a"));
    CHECK_FALSE(keys.contains("b"));
    CHECK(keys.any());
    confirm(keys, entries);
    CHECK(keys.contains("a"));
    confirm(keys, keys.some(10));
    CHECK_FALSE(keys.any());
}

TEST_CASE("key that was confirmed and added again is not confirmed by an old confirmation") {
    Unconfirmed keys;
    keys.add("a");
    const auto entries = keys.some(10);
    confirm(keys, entries);
    keys.add("a");
    confirm(keys, entries);
    CHECK(keys.contains("a"));
}

TEST_CASE("some keys at a time come to all of them") {
    Unconfirmed keys;
    std::set<std::string> added;
    for (int i = 0; i < 1000; ++i) {
        keys.add(std::to_string(i));
        added.insert(std::to_string(i));
    }
    CHECK(keys.size() == 1000);
    std::set<std::string> confirmed;
    while (keys.any()) {
        const auto entries = keys.some(64);
        REQUIRE((!entries.empty() && entries.size() <= 64));
        for (const auto& entry : entries) confirmed.insert(entry.key);
        confirm(keys, entries);
    }
    CHECK(confirmed == added);
    CHECK(keys.size() == 0);
}

TEST_CASE("keys beyond the most are counted, and those there are can still be renewed") {
    Unconfirmed keys;
    for (std::size_t i = 0; i < Unconfirmed::most; ++i) keys.add(std::to_string(i));
    CHECK(keys.lost() == 0);
    keys.add("one more");
    CHECK(keys.lost() == 1);
    CHECK_FALSE(keys.contains("one more"));
    CHECK(keys.size() == Unconfirmed::most);

    const auto entries = keys.some(1);
    keys.add(entries[0].key);
    CHECK(keys.lost() == 1);
    confirm(keys, entries);
    CHECK(keys.contains(entries[0].key));
}

TEST_CASE("what a thread adds last is never confirmed by another's older look", "[concurrent]") {
    Unconfirmed keys;
    support::Failures wrong;
    support::in_threads(4, [&](std::size_t thread) {
        for (std::size_t i = 0; i < support::ops(2000); ++i) {
            if (thread < 2) {
                confirm(keys, keys.some(8));
                continue;
            }
            const std::string key = std::to_string(thread);
            const auto before = keys.some(8);
            keys.add(key);
            // Only this thread adds the key, so what was seen before is older.
            if (thread == 2) confirm(keys, before);
            (void)keys.contains(key);
        }
    });
    keys.add("2");
    wrong.expect(keys.contains("2"));
    confirm(keys, keys.some(8));
    wrong.expect(!keys.any());
    CHECK(wrong.count() == 0);
}
