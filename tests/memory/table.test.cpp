#include "drey/memory/table.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "support/catch.hpp"

/// The hash table of a shard: where entries are, and how they are found.

namespace {

using drey::Hash;
using drey::no_slot;
using drey::Slot;

/// A table whose entries are their own hashes, with a number to tell them apart, and beside it what
/// was published where.
class Held {
public:
    struct Entry {
        Hash hash;
        int number;
    };

    explicit Held(std::size_t entries = 1) : blocks_(0, entries) {}
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { CHECK(valid()); }

    Slot make(Hash h, int number) {
        table_.reserve_one();
        const Slot s = table_.take(h);
        CHECK(s < table_.end());
        ::new (static_cast<void*>(table_.address(s))) Entry{h, number};
        return s;
    }
    Slot add(Hash h, int number) {
        const Slot s = make(h, number);
        table_.publish(s, h);
        CHECK(slots_.emplace(number, s).second);
        return s;
    }
    void remove(int number) {
        const Slot s = slots_.at(number);
        table_.withdraw(s, table_.at(s).hash);
        CHECK_FALSE(table_.contains(s));
        table_.give_back(s);
        slots_.erase(number);
    }
    void replace(int number) {
        const Slot from = slots_.at(number);
        const Hash h = table_.at(from).hash;
        const Slot to = make(h, number);
        table_.replace(from, to, h);
        table_.give_back(from);
        slots_.at(number) = to;
    }

    /// Whether both kinds of look-up lead to the entry.
    bool finds(int number) const {
        const Slot s = slots_.at(number);
        const Hash h = table_.at(s).hash;
        return table_.contains(s) && find(h, number) == s && probed(h).contains(s) &&
               !table_.surely_lacks(h);
    }
    Slot find(Hash h, int number) const {
        return table_.find(h, [&](const Entry& e) { return e.hash == h && e.number == number; });
    }

    /// The slots whose entries a reader would compare with a key of hash h.
    std::set<Slot> probed(Hash h) const {
        std::set<Slot> found;
        groups_ = 0;
        for (auto* segment = table_.newest(); segment != nullptr; segment = segment->older())
            for (drey::ProbePath path = segment->path(h);;) {
                ++groups_;
                for (auto bits = segment->tags(path.group()).match(drey::tag_of(h)); bits != 0;
                     bits &= bits - 1)
                    found.insert(
                        segment->slot(path.group(), static_cast<unsigned>(std::countr_zero(bits))));
                if (!segment->overflows(path.group(), h) || !path.next()) break;
            }
        return found;
    }
    /// How many groups the last of these visited.
    std::size_t groups() const { return groups_; }

    std::set<Slot> published() const {
        std::set<Slot> all;
        for (Slot s = table_.next(0); s != no_slot; s = table_.next(s + 1)) all.insert(s);
        return all;
    }
    bool valid() const {
        std::set<Slot> expected;
        for (const auto& [number, s] : slots_) expected.insert(s);
        return table_.size() == slots_.size() && published() == expected &&
               table_.validate([&](Slot s) { return table_.at(s).hash; });
    }

    drey::Table<Entry>& table() { return table_; }
    const std::map<int, Slot>& slots() const { return slots_; }

private:
    drey::Blocks<Entry> blocks_;
    drey::Table<Entry> table_{blocks_, 0};
    std::map<int, Slot> slots_;
    mutable std::size_t groups_ = 0;
};

}  // namespace

TEST_CASE("empty table finds nothing", "[table]") {
    const Held held;
    for (const Hash h : {Hash{0}, Hash{1}, ~Hash{0}, Hash{1} << 63}) {
        CHECK(held.probed(h).empty());
        CHECK(held.find(h, 0) == no_slot);
    }
    CHECK(held.published().empty());
}

TEST_CASE("entry is found from when it is published until it is withdrawn", "[table]") {
    Held held;
    const Slot s = held.make(77, 1);
    CHECK(held.probed(77).empty());
    CHECK_FALSE(held.table().contains(s));
    held.table().publish(s, 77);
    CHECK(held.probed(77) == std::set<Slot>{s});
    CHECK(held.find(77, 1) == s);
    CHECK(held.table().next(0) == s);
    CHECK(held.table().size() == 1);
    held.table().withdraw(s, 77);
    CHECK(held.probed(77).empty());
    CHECK(held.table().next(0) == no_slot);
    CHECK(held.table().taken() == 1);
    held.table().give_back(s);
    CHECK(held.table().taken() == 0);
}

TEST_CASE("place that was not given back is not taken again", "[table]") {
    Held held(1000);
    const Slot s = held.make(5, 1);
    held.table().publish(s, 5);
    held.table().withdraw(s, 5);
    CHECK(held.make(5, 2) != s);
    held.table().give_back(s);
    CHECK(held.make(5, 3) == s);
}

TEST_CASE("tag is never that of a place without an entry", "[table]") {
    for (Hash h = 0; h < (Hash{1} << 26); h += Hash{1} << 12)
        REQUIRE(drey::tag_of(h) != drey::no_tag);
}

TEST_CASE("look-up passes over what carries another tag", "[table]") {
    Held held(100);
    const Slot one = held.add(Hash{1} << 16, 1);
    const Slot two = held.add(Hash{2} << 16, 2);
    CHECK(held.probed(Hash{1} << 16) == std::set<Slot>{one});
    CHECK(held.probed(Hash{2} << 16) == std::set<Slot>{two});
    CHECK(held.probed(Hash{3} << 16).empty());
}

TEST_CASE("replaced entry is found in its new place, and look-ups are told", "[table]") {
    Held held(10);
    const Slot from = held.add(5, 1);
    const auto before = held.table().replacements();
    CHECK_FALSE(held.table().replaced_since(before));
    held.replace(1);
    CHECK(held.table().replaced_since(before));
    CHECK_FALSE(held.table().contains(from));
    CHECK(held.finds(1));
    CHECK(held.table().size() == 1);
}

TEST_CASE("look-ups end where nobody overflowed once all that collided is gone", "[table]") {
    Held held(300);
    constexpr int many = 100;
    for (int n = 0; n < many; ++n) held.add(0, n);
    CHECK(held.valid());
    CHECK(held.probed(0).size() == many);
    CHECK(held.groups() >= many / 16);
    for (int n = 0; n < many; ++n) {
        const int scattered = n * 37 % many;
        CHECK(held.finds(scattered));
        held.remove(scattered);
    }
    CHECK(held.valid());
    CHECK(held.probed(0).empty());
    // More than 15 passed by the first groups: those counts stay, and cost a look each.
    CHECK(held.groups() <= many / 16 + 1);
    CHECK(held.probed(Hash{1} << 12).empty());
    CHECK(held.groups() == 1);
}

TEST_CASE("look-up of what is not there seldom visits a second group, after any churn", "[table]") {
    constexpr int capacity = 10'000;
    Held held(capacity);
    std::mt19937_64 random(1);
    for (int n = 0; n < 10 * capacity; ++n) {
        if (n >= capacity) held.remove(n - capacity);
        held.add(random(), n);
    }
    std::size_t visited = 0;
    for (int i = 0; i < 1000; ++i) {
        held.probed(random());
        visited += held.groups();
    }
    CHECK(visited < 1300);
}

TEST_CASE(
    "home alone tells of most keys that they are not there, and of none that is, after any churn",
    "[table]") {
    constexpr int capacity = 10'000;
    Held held(capacity);
    std::mt19937_64 random(1);
    for (int n = 0; n < 10 * capacity; ++n) {
        if (n >= capacity) held.remove(n - capacity);
        held.add(random(), n);
    }
    REQUIRE(held.table().newest()->older() == nullptr);
    for (const auto& [number, s] : held.slots()) REQUIRE(held.finds(number));
    int told = 0;
    for (int i = 0; i < 1000; ++i) told += held.table().surely_lacks(random()) ? 1 : 0;
    CHECK(told > 700);
}

TEST_CASE("home alone tells of no key while there are absences, or entries elsewhere", "[table]") {
    constexpr Hash h = 7, missing = ~Hash{0};
    SECTION("absences") {
        Held held(100);
        REQUIRE(held.table().surely_lacks(missing));
        const Slot s = held.make(h, 1);
        held.table().publish(s, h, true);
        CHECK_FALSE(held.table().surely_lacks(h));
        CHECK_FALSE(held.table().surely_lacks(missing));
        held.table().withdraw(s, h);
        held.table().give_back(s);
    }
    SECTION("an older segment") {
        Held held(1);
        std::mt19937_64 random(1);
        for (int n = 0; held.table().newest()->older() == nullptr; ++n) held.add(random(), n);
        CHECK_FALSE(held.table().surely_lacks(missing));
    }
}

TEST_CASE("table grows, and keeps entries where they are", "[table]") {
    Held held;
    std::mt19937_64 random(1);
    std::map<int, const void*> where;
    for (int n = 0; n < 20'000; ++n) where[n] = held.table().address(held.add(random(), n));
    for (int n = 0; n < 20'000; ++n) {
        REQUIRE(held.finds(n));
        REQUIRE(held.table().address(held.slots().at(n)) == where[n]);
    }
    CHECK(held.table().end() < 4 * 20'000);
}

TEST_CASE("table that was made for its entries has one segment", "[table]") {
    Held held(5'000);
    std::mt19937_64 random(2);
    for (int n = 0; n < 5'000; ++n) held.add(random(), n);
    CHECK(held.table().newest()->older() == nullptr);
}

TEST_CASE("table that all collide in grows and finds them, and tells a miss", "[table]") {
    Held held;
    for (int n = 0; n < 2000; ++n) held.add(static_cast<Hash>(n % 3), n);
    for (int n = 0; n < 2000; ++n) REQUIRE(held.finds(n));
    CHECK(held.probed(Hash{2} << 16).empty());
}

TEST_CASE("what leaves an old segment makes room there", "[table]") {
    Held held;
    std::mt19937_64 random(3);
    for (int n = 0; n < 1000; ++n) held.add(random(), n);
    const std::size_t end = held.table().end();
    for (int n = 0; n < 10'000; ++n) {
        held.remove(n);
        held.add(random(), n + 1000);
    }
    CHECK(held.table().end() == end);
}

TEST_CASE("home among the groups of all shards is the home in the shard's own", "[table]") {
    std::mt19937_64 random(5);
    for (const unsigned shard_bits : {0u, 1u, 4u, 8u})
        for (const std::uint32_t groups : {1u, 2u, 3u, 77u, 1000u, 1u << 20}) {
            for (int i = 0; i < 200; ++i) {
                const Hash h = random();
                const auto shard = static_cast<std::uint32_t>(h >> 32 >> (32 - shard_bits));
                CHECK(drey::Home::among(h, groups << shard_bits) ==
                      shard * groups + drey::Home::among(h, groups, shard_bits));
            }
            const Hash last = ~Hash{0};
            CHECK(drey::Home::among(last, groups << shard_bits) == (groups << shard_bits) - 1);
        }
}

TEST_CASE("tables that share blocks grow apart, and find their own in any order", "[table]") {
    constexpr unsigned shard_bits = 2;
    drey::Blocks<Hash> blocks(shard_bits, 20);
    std::vector<std::unique_ptr<drey::Table<Hash>>> tables;
    for (std::uint32_t i = 0; i < 1u << shard_bits; ++i)
        tables.push_back(std::make_unique<drey::Table<Hash>>(blocks, i));
    std::mt19937_64 random(6);
    std::vector<Hash> added;
    for (int i = 0; i < 3'000; ++i) {
        const Hash h = random();
        if (blocks.shard(h) == 3 && i % 8 != 0) continue;  // it grows later than the others
        auto& table = *tables[blocks.shard(h)];
        table.reserve_one();
        const Slot s = table.take(h);
        *table.address(s) = h;
        table.publish(s, h);
        added.push_back(h);
    }
    CHECK(tables[3]->end() < tables[0]->end());
    const auto is_in = [](const drey::Table<Hash>& table, Hash h) {
        return table.find(h, [&](Hash other) { return other == h; }) != no_slot;
    };
    std::size_t at_home = 0;
    for (const Hash h : added) {
        REQUIRE(is_in(*tables[blocks.shard(h)], h));
        // As who has not found the shard yet sees it.
        const auto& newest = blocks.newest();
        const std::uint32_t home = newest.home(h);
        for (auto found = newest.tags(home)->match(drey::tag_of(h)); found != 0;
             found &= found - 1) {
            const auto place = static_cast<unsigned>(std::countr_zero(found));
            if (newest.cells(home)[place] != h) continue;
            ++at_home;
            CHECK(tables[blocks.shard(h)]->at(
                      newest.slot(blocks.shard(h), home * drey::TagGroup::places + place)) == h);
        }
    }
    CHECK(at_home > added.size() / 4);
    for (const auto& table : tables) CHECK(table->validate([&](Slot s) { return table->at(s); }));
}

TEST_CASE("a policy is lent the mark of each slot, of every segment once", "[table]") {
    drey::Blocks<Hash, true> blocks(0, 20);
    drey::Table<Hash, true> table(blocks, 0);
    drey::MarkColumn marks;
    std::size_t lent = 0;
    for (int segments = 0; segments < 3; ++segments) {
        table.each_marks(lent, [&](const drey::LentMarks& more) {
            CHECK(more.first == lent);
            marks.lend(more);
            lent = more.first + more.count;
        });
        CHECK(lent == table.end());
        marks.grow(table.end());
        for (Slot s = 0; s < table.end(); ++s) CHECK(marks[s] == table.mark(s));
        const std::size_t end = table.end();
        for (Hash h = 1; table.end() == end; h += Hash{1} << 58) {
            table.reserve_one();
            if (table.end() == end) table.take(h);
        }
    }
}

TEST_CASE("path visits every group, its home first", "[table]") {
    std::mt19937_64 random(4);
    for (const std::uint32_t groups : {1u, 2u, 3u, 7u, 64u, 1000u})
        for (int i = 0; i < 20; ++i) {
            const Hash h = random();
            drey::ProbePath path(h, groups);
            CHECK(path.group() == drey::Home::among(h, groups));
            std::set<std::uint32_t> seen;
            do {
                REQUIRE(path.group() < groups);
                seen.insert(path.group());
            } while (path.next());
            CHECK(seen.size() == groups);
        }
}

TEST_CASE("table does what a map does, with hashes that collide more or less", "[table]") {
    for (const Hash distinct : {Hash{1}, Hash{3}, Hash{50}, Hash{100'000}}) {
        Held held(4);
        std::mt19937_64 random(distinct);
        for (int i = 0; i < 4000; ++i) {
            const int number = static_cast<int>(random() % 300);
            if (!held.slots().contains(number)) {
                held.add(random() % distinct * 0xd6e8feb86659fd93, number);
            } else if (random() % 3 == 0) {
                held.replace(number);
            } else {
                held.remove(number);
            }
            if (i % 100 == 0) REQUIRE(held.valid());
        }
        for (const auto& [number, s] : held.slots()) REQUIRE(held.finds(number));
    }
}
