#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <ios>
#include <memory>
#include <optional>
#include <sstream>
#include <streambuf>
#include <string>
#include <string_view>
#include <utility>

#include "drey/cache.hpp"
#include "drey/codec/snapshot_format.hpp"
#include "drey/policy/lru.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

/// What comes back from a snapshot, and what is refused.

namespace {

using namespace std::chrono_literals;
using drey::Found;
using drey::SnapshotFault;
using drey::SnapshotOptions;

using Texts = drey::Cache<std::string, std::string, drey::Lru>;

/// A value that only moves, and a codec for nothing but it.
struct Point {
    std::unique_ptr<int> x;
};
struct PointCodec {
    static void encode(const Point& point, std::string& out) { out += std::to_string(*point.x); }
    static std::optional<Point> decode(std::string_view bytes) {
        return Point{std::make_unique<int>(std::stoi(std::string(bytes)))};
    }
};

/// Raw's bytes under another name.
struct OtherCodec {
    static void encode(const std::string& text, std::string& out) { out += text; }
    static std::optional<std::string> decode(std::string_view bytes) { return std::string(bytes); }
};

/// Refuses what an older program wrote.
struct StrictCodec {
    static constexpr std::uint8_t codec_id = drey::Raw::codec_id;
    static void encode(const std::string& text, std::string& out) { out += text; }
    static std::optional<std::string> decode(std::string_view bytes) {
        return bytes == "x" ? std::optional<std::string>("x") : std::nullopt;
    }
};

/// Does something while a snapshot is being taken, or restored.
struct MeddlingCodec {
    static inline std::function<void()> meddle{};
    static void encode(const std::string& text, std::string& out) {
        out += text;
        if (meddle) std::exchange(meddle, nullptr)();
    }
    static std::optional<std::string> decode(std::string_view bytes) {
        if (meddle) std::exchange(meddle, nullptr)();
        return std::string(bytes);
    }
};

struct Fixture {
    drey::ManualClock clock{1000s};
    drey::ManualClock unix_clock{1'700'000'000s};
    SnapshotOptions options{.schema = 7, .unix_clock = unix_clock};
    Texts cache{{.capacity = 100, .clock = clock}};
    std::optional<Texts> other_cache{};

    Texts& other() {
        if (!other_cache) other_cache.emplace(Texts::Options{.capacity = 100, .clock = clock});
        return *other_cache;
    }
    std::string file() {
        std::ostringstream out;
        cache.snapshot(out, options);
        return out.str();
    }
    std::size_t restore(const std::string& file) {
        std::istringstream in(file);
        return other().restore(in, options);
    }
    /// Why a file is refused; nothing may have changed.
    std::optional<SnapshotFault> fault(const std::string& file) {
        other().put("mine", "as it was");
        std::istringstream in(file);
        std::optional<SnapshotFault> fault;
        try {
            other().restore(in, options);
        } catch (const drey::SnapshotError& error) {
            fault = error.fault();
        }
        CHECK(other().size() == 1);
        CHECK(other().get("mine") == "as it was");
        return fault;
    }
    /// What there is no row for.
    void put_absent(Texts& to, const std::string& key, drey::Ttl ttl) {
        to.get_or_load(key, [] { return std::optional<std::string>(); }, {.negative_ttl = ttl});
    }
    ~Fixture() {
        CHECK(cache.validate());
        CHECK((!other_cache || other_cache->validate()));
    }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "texts come back from a snapshot") {
    cache.put("a", "1");
    cache.put("", std::string(100'000, 'x'));
    cache.put("nothing", "");
    std::stringstream file;
    CHECK(cache.snapshot(file, options) == 3);
    CHECK(other().restore(file, options) == 3);
    CHECK(other().size() == 3);
    CHECK(other().get("a") == "1");
    CHECK(other().get("") == std::string(100'000, 'x'));
    CHECK(other().get("nothing") == "");
    CHECK(cache.size() == 3);
}

TEST_CASE("numbers come back from a snapshot of many shards") {
    drey::Cache<int, int> from{{.capacity = 10'000, .shards = 8}};
    drey::Cache<int, int> to{{.capacity = 20'000}};
    for (int i = 0; i < 5000; ++i) from.put(i, -i);
    std::stringstream file;
    CHECK(from.snapshot(file) == 5000);
    CHECK(to.restore(file) == 5000);
    int right = 0;
    to.for_each([&](int key, int value) { right += value == -key ? 1 : 0; });
    CHECK(right == 5000);
    CHECK(to.validate());
}

TEST_CASE("a codec may be for the values alone, and those may only move") {
    drey::Cache<int, Point, drey::Lru> from{{.capacity = 10}}, to{{.capacity = 10}};
    from.put(1, {std::make_unique<int>(11)});
    from.put(2, {std::make_unique<int>(22)});
    std::stringstream file;
    CHECK(from.snapshot<PointCodec>(file) == 2);
    CHECK(to.restore<PointCodec>(file) == 2);
    int x = 0;
    CHECK(to.visit(2, [&](const Point& point) { x = *point.x; }));
    CHECK(x == 22);
}

TEST_CASE_METHOD(Fixture, "the snapshot of an empty cache restores nothing") {
    CHECK(restore(file()) == 0);
    CHECK(other().empty());
}

TEST_CASE_METHOD(Fixture, "an entry has the time left that it had, however long ago that was") {
    cache.put("short", "1", {.ttl = 10s});
    cache.put("for ever", "2");
    clock.advance(4s);
    const std::string kept = file();
    unix_clock.advance(1h);
    CHECK(restore(kept) == 2);
    clock.advance(6s - 1ns);
    CHECK(other().contains("short"));
    clock.advance(1ns);
    CHECK_FALSE(other().contains("short"));
    clock.advance(24h);
    CHECK(other().contains("for ever"));
}

TEST_CASE_METHOD(Fixture, "the cache's own ttl and jitter do not apply to what is restored") {
    cache.put("a", "1", {.ttl = 10s});
    cache.put("for ever", "2");
    other_cache.emplace(Texts::Options{.capacity = 10, .ttl = 1s, .jitter = 0.99, .clock = clock});
    CHECK(restore(file()) == 2);
    clock.advance(10s - 1ns);
    CHECK(other().contains("a"));
    clock.advance(1h);
    CHECK(other().contains("for ever"));
}

TEST_CASE_METHOD(Fixture, "the time between snapshot and restore counts if that is asked for") {
    options.count_time_between = true;
    cache.put("short", "1", {.ttl = 10s});
    cache.put("stale by then", "2", {.ttl = 10s, .stale_for = 30s});
    cache.put("long", "3", {.ttl = 100s});
    cache.put("for ever", "4");
    put_absent(cache, "absent", 10s);
    const std::string kept = file();
    unix_clock.advance(20s);
    CHECK(restore(kept) == 3);
    CHECK(other().find("short").is_miss());
    CHECK(other().find("absent").is_miss());
    CHECK(other().find("stale by then").is_stale());
    CHECK(other().find("for ever").is_hit());
    clock.advance(20s);
    CHECK(other().find("stale by then").is_miss());
    clock.advance(60s - 1ns);
    CHECK(other().find("long").is_hit());
    clock.advance(1ns);
    CHECK(other().find("long").is_miss());

    SECTION("a clock that was set back counts as no time") {
        other_cache.reset();
        unix_clock.advance(-1h);
        CHECK(restore(kept) == 5);
    }
    SECTION("any time at all may be in the file") {
        for (const std::int64_t then : {INT64_MIN, INT64_MAX}) {
            std::stringstream made;
            drey::detail::SnapshotWriter writer(
                made, {.value_codec = 1, .key_codec = 1, .schema = 7, .unix_time = then});
            writer.add(false, {.fresh_left = 1, .stale_left = INT64_MAX}, "new", "value");
            writer.finish();
            other_cache.reset();
            CHECK(restore(made.str()) == 1);
            CHECK(other().find("new").has_value());
        }
    }
}

TEST_CASE_METHOD(Fixture, "stale values and absences come back as such") {
    cache.put("stale", "1", {.ttl = 10s, .stale_for = 30s});
    cache.put("fresh", "2", {.ttl = 20s, .stale_for = drey::never});
    cache.put("gone", "3", {.ttl = 5s});
    put_absent(cache, "absent", 100s);
    clock.advance(15s);
    CHECK(restore(file()) == 3);
    CHECK(other().find("stale").is_stale());
    CHECK(*other().find("stale") == "1");
    CHECK(other().find("fresh").is_hit());
    CHECK(other().find("gone").is_miss());
    CHECK(other().find("absent").is_absent());
    clock.advance(25s - 1ns);
    CHECK(other().find("stale").is_stale());
    CHECK(other().find("fresh").is_stale());
    clock.advance(1ns);
    CHECK(other().find("stale").is_miss());
    clock.advance(60s - 1ns);
    CHECK(other().find("absent").is_absent());
    clock.advance(1ns);
    CHECK(other().find("absent").is_miss());
    CHECK(other().find("fresh").is_stale());
}

TEST_CASE_METHOD(Fixture, "what comes back has its tags, and is invalidated by them") {
    cache.put("both", "1", {.tags = {"user:1", "user:2"}});
    cache.put("one", "2", {.ttl = 100s, .stale_for = 10s, .tags = {"user:1", ""}});
    cache.put("none", "3");
    cache.get_or_load("absent", [] { return std::optional<std::string>(); },
                      {.negative_ttl = 10s, .tags = {"user:2"}});
    CHECK(restore(file()) == 4);
    other().invalidate_tag("user:2");
    CHECK(other().find("both").is_miss());
    CHECK(other().find("absent").is_miss());
    CHECK(other().get("one") == "2");
    other().invalidate_tag("");
    CHECK(other().find("one").is_miss());
    CHECK(other().get("none") == "3");
}

TEST_CASE_METHOD(Fixture, "what was invalidated by its tag before a snapshot is not in it") {
    cache.put("key", "1", {.tags = {"user:1"}});
    cache.put("other", "2", {.tags = {"user:2"}});
    cache.invalidate_tag("user:1");
    CHECK(restore(file()) == 1);
    CHECK(other().find("key").is_miss());
    CHECK(other().get("other") == "2");
}

TEST_CASE_METHOD(Fixture, "what the cache knows already is newer than the snapshot") {
    for (const char* key : {"value", "stale", "absent", "expired", "missing"})
        cache.put(key, "old");
    const std::string kept = file();
    other().put("value", "new");
    other().put("stale", "new", {.ttl = 0s, .stale_for = 10s});
    put_absent(other(), "absent", 10s);
    other().put("expired", "new", {.ttl = 0s});
    CHECK(restore(kept) == 2);
    CHECK(other().get("value") == "new");
    CHECK(*other().find("stale") == "new");
    CHECK(other().find("absent").is_absent());
    CHECK(other().get("expired") == "old");
    CHECK(other().get("missing") == "old");
}

TEST_CASE_METHOD(Fixture, "a load in flight is newer than the snapshot") {
    cache.put("key", "old");
    const std::string kept = file();
    const std::string got = other().get_or_load("key", [&] {
        CHECK(restore(kept) == 1);
        return std::string("loaded");
    });
    CHECK(got == "loaded");
    CHECK(other().get("key") == "loaded");
}

TEST_CASE_METHOD(Fixture,
                 "what is written or removed during a restore is newer than the snapshot") {
    for (const char* key : {"erased", "gone", "left", "taken"}) cache.put(key, "old");
    cache.put("tagged", "old", {.tags = {"tag"}});
    std::stringstream file;
    cache.snapshot<MeddlingCodec>(file, options);
    bool clears = false;
    MeddlingCodec::meddle = [&] {
        other().erase("erased");
        other().put("gone", "new", {.ttl = 0s});
        other().take("taken");
        other().invalidate_tag("tag");
        if (clears) other().clear();
    };
    SECTION("one key after another") {
        CHECK(other().restore<MeddlingCodec>(file, options) == 1);
        CHECK(other().get("left") == "old");
        for (const char* key : {"erased", "gone", "taken", "tagged"})
            CHECK(other().find(key).is_miss());
    }
    SECTION("all at once") {
        clears = true;
        CHECK(other().restore<MeddlingCodec>(file, options) == 0);
        CHECK(other().empty());
    }
    CHECK(restore(this->file()) == (clears ? 5 : 4));  // another one is not concerned
}

TEST_CASE_METHOD(Fixture, "restored entries are weighed, and make room as puts do") {
    for (int i = 0; i < 10; ++i) cache.put(std::to_string(i), std::string(10, 'x'));
    other_cache.emplace(Texts::Options{
        .capacity = 50,
        .weigher = [](const std::string&, const std::string& value) { return value.size(); },
        .clock = clock,
        .shards = 1});
    CHECK(restore(file()) == 10);
    CHECK(other().size() == 5);
    CHECK(other().contains("9"));
    CHECK(other().stats().removed(drey::Removal::evicted) == 5);
}

TEST_CASE_METHOD(Fixture, "the file is as its format says, byte by byte") {
    cache.put("key", "value", {.ttl = 2ns, .stale_for = 3ns, .tags = {"tag"}});
    put_absent(cache, "no", 5ns);
    std::string expected = "dreysnap";
    const auto number = [&](std::uint64_t value, int size) {
        for (int i = 0; i < size; ++i) expected += static_cast<char>(value >> (8 * i) & 0xff);
    };
    std::string checked;
    std::size_t from = 0;
    const auto checksum = [&] {
        checked += expected.substr(from);
        number(drey::crc32c(checked), 4);
        from = expected.size();
    };
    expected += '\1';    // version
    expected += "\1\1";  // Raw, Raw
    expected += '\0';
    number(7, 4);  // schema
    number(1'700'000'000'000'000'000, 8);
    checksum();
    expected += "v";
    expected += '\0';  // no hits
    for (const std::uint64_t field : {2u, 3u, 0u, 3u, 5u, 11u}) number(field, 8);
    expected += "keyvalue";
    number(3, 8);
    expected += "tag";
    checksum();
    expected += "a";
    expected += '\0';
    for (const std::uint64_t field : {5u, 0u, 0u, 2u, 0u, 0u}) number(field, 8);
    expected += "no";
    checksum();
    expected += "e";
    number(2, 8);
    checksum();
    CHECK(file() == expected);
}

TEST_CASE_METHOD(Fixture, "a snapshot that is cut off anywhere is refused") {
    cache.put("key", "value", {.ttl = 10s});
    put_absent(cache, "no", 5s);
    const std::string whole = file();
    for (std::size_t size = 0; size < whole.size(); ++size)
        if (fault(whole.substr(0, size)) != SnapshotFault::truncated) FAIL_CHECK(size);
}

TEST_CASE_METHOD(Fixture, "a snapshot with a flipped bit is refused") {
    cache.put("key", "value", {.ttl = 10s});
    put_absent(cache, "no", 5s);
    const std::string whole = file();
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
        std::string damaged = whole;
        damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
        if (!fault(damaged)) FAIL_CHECK(bit);
    }
}

TEST_CASE_METHOD(Fixture, "entries that are missing, twice or in another order are refused") {
    cache.put("1", "one");
    cache.put("2", "two");
    const std::string whole = file();
    const std::size_t header = 28, entry = 50 + 4 + 4;
    const std::string begin = whole.substr(0, header), one = whole.substr(header, entry),
                      two = whole.substr(header + entry, entry),
                      end = whole.substr(header + 2 * entry);
    CHECK(begin + one + two + end == whole);
    CHECK(fault(begin + two + one + end) == SnapshotFault::corrupt);
    CHECK(fault(begin + one + end) == SnapshotFault::corrupt);
    CHECK(fault(begin + two + end) == SnapshotFault::corrupt);
    CHECK(fault(begin + end) == SnapshotFault::corrupt);
    CHECK(fault(begin + one + one + two + end) == SnapshotFault::corrupt);
    CHECK(fault(whole + begin + one + two + end) == SnapshotFault::trailing);
    CHECK(fault(whole + '\0') == SnapshotFault::trailing);
}

TEST_CASE_METHOD(Fixture, "what is no snapshot of this cache is refused, and the error says why") {
    cache.put("key", "value");
    const std::string whole = file();
    CHECK(fault("") == SnapshotFault::truncated);
    CHECK(fault("{\"json\": true}") == SnapshotFault::foreign);
    CHECK(fault("dreysnip") == SnapshotFault::foreign);
    std::string later = whole;
    later[8] = 2;
    CHECK(fault(later) == SnapshotFault::other_version);
    options.schema = 8;
    CHECK(fault(whole) == SnapshotFault::other_schema);
    CHECK_THROWS_WITH(restore(whole), Catch::Matchers::ContainsSubstring("another schema"));
    options.schema = 7;
    CHECK_THROWS_AS(restore(whole.substr(1)), std::runtime_error);

    std::istringstream in(whole);
    CHECK_THROWS_WITH(other().restore<OtherCodec>(in, options),
                      Catch::Matchers::ContainsSubstring("another codec"));
    std::istringstream again(whole);
    CHECK_THROWS_WITH((other().restore<StrictCodec, drey::Raw>(again, options)),
                      Catch::Matchers::ContainsSubstring("refused"));
    CHECK(other().size() == 1);
}

TEST_CASE_METHOD(Fixture, "fields that nobody writes are refused though their checksum is right") {
    const auto made = [&](bool is_absence, const drey::Kept& kept, std::string_view value) {
        std::ostringstream out;
        drey::detail::SnapshotWriter writer(out, {.value_codec = 1, .key_codec = 1, .schema = 7});
        writer.add(is_absence, kept, "key", value);
        writer.finish();
        return out.str();
    };
    CHECK(fault(made(false, {.fresh_left = -1}, "v")) == SnapshotFault::corrupt);
    CHECK(fault(made(false, {.stale_left = -1}, "v")) == SnapshotFault::corrupt);
    CHECK(fault(made(false, {.load_cost = INT64_MIN}, "v")) == SnapshotFault::corrupt);
    CHECK(fault(made(true, {}, "an absence with a value")) == SnapshotFault::corrupt);

    // Tags whose lengths do not add up to what they say together.
    for (const std::size_t length_at : {28u + 42, 28u + 50 + 4}) {
        std::ostringstream out;
        drey::detail::SnapshotWriter writer(out, {.value_codec = 1, .key_codec = 1, .schema = 7});
        writer.add(false, {.tags = {"tag"}}, "key", "v");
        std::string bytes = out.str();
        bytes[length_at] ^= 1;
        if (length_at == 28u + 42) bytes.erase(bytes.size() - 5, 1);
        std::string checked = bytes.substr(0, 24) + bytes.substr(28, bytes.size() - 32);
        drey::detail::store_little(&bytes[bytes.size() - 4], drey::crc32c(checked));
        CHECK(fault(bytes) == SnapshotFault::corrupt);
    }
}

TEST_CASE_METHOD(Fixture, "a length that lies costs no memory") {
    cache.put("key", "value");
    const std::string whole = file();
    for (const std::size_t length_at : {28u + 26, 28u + 34, 28u + 42})
        for (const int size : {8, 7, 5}) {
            std::string lies = whole;
            for (int i = 0; i < size; ++i) lies[length_at + static_cast<std::size_t>(i)] = '\xff';
            CHECK(fault(lies) == SnapshotFault::truncated);
        }
}

namespace {

/// Takes some bytes, then no more.
class SmallDisk : public std::streambuf {
public:
    explicit SmallDisk(std::size_t room) : room_(room) {}

private:
    int_type overflow(int_type c) override {
        if (room_ == 0) return traits_type::eof();
        --room_;
        return traits_type::not_eof(c);
    }
    std::size_t room_;
};

class BrokenDisk : public std::streambuf {
    int_type underflow() override { throw std::runtime_error("cannot read"); }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a stream that takes no more is an error, wherever that happens") {
    cache.put("key", "value");
    const std::size_t size = file().size();
    for (std::size_t room = 0; room <= size; ++room) {
        SmallDisk disk(room);
        std::ostream out(&disk);
        if (room % 2 == 0) out.exceptions(std::ios::badbit | std::ios::failbit);
        std::optional<SnapshotFault> fault;
        try {
            cache.snapshot(out, options);
        } catch (const drey::SnapshotError& error) {
            fault = error.fault();
        }
        CHECK(fault == (room == size ? std::nullopt : std::optional(SnapshotFault::unwritable)));
    }
    if (std::ofstream full("/dev/full", std::ios::binary); full)
        CHECK_THROWS_AS(cache.snapshot(full, options), drey::SnapshotError);
}

TEST_CASE_METHOD(Fixture, "a stream that cannot be read is an error of its own") {
    const auto fault_of = [&](std::istream& in) {
        try {
            other().restore(in, options);
        } catch (const drey::SnapshotError& error) {
            return std::optional(error.fault());
        }
        return std::optional<SnapshotFault>();
    };
    std::ifstream missing("/no/such/file", std::ios::binary);
    CHECK(fault_of(missing) == SnapshotFault::unreadable);
    BrokenDisk disk;
    std::istream broken(&disk);
    CHECK(fault_of(broken) == SnapshotFault::unreadable);

    cache.put("key", "value");
    std::istringstream strict(file());
    strict.exceptions(std::ios::eofbit | std::ios::failbit | std::ios::badbit);
    CHECK_FALSE(fault_of(strict));
    CHECK(other().get("key") == "value");
    std::istringstream cut(file().substr(0, 40));
    cut.exceptions(std::ios::eofbit | std::ios::failbit | std::ios::badbit);
    CHECK(fault_of(cut) == SnapshotFault::truncated);
}

TEST_CASE_METHOD(Fixture,
                 "a codec may call the cache; what it overwrites is in the snapshot once") {
    for (int i = 0; i < 50; ++i) cache.put(std::to_string(i), "old");
    MeddlingCodec::meddle = [&] {
        cache.erase("49");
        for (int round = 0; round < 3; ++round)  // so that entries take each other's old places
            for (int i = 48; i >= 0; --i) cache.put(std::to_string(i), "new");
    };
    std::stringstream file;
    CHECK(cache.snapshot<MeddlingCodec, drey::Raw>(file) == 49);
    CHECK(other().restore<MeddlingCodec, drey::Raw>(file) == 49);
    CHECK(other().get("0") == "old");  // it was the first
    for (int i = 1; i < 49; ++i) CHECK(other().get(std::to_string(i)) == "new");
    CHECK_FALSE(other().contains("49"));
}

TEST_CASE("what is there all the time is in a snapshot once, however often it is overwritten",
          "[concurrent]") {
    using Cache = drey::Cache<std::string, std::string, drey::Lru>;
    constexpr int keys = 64;
    Cache cache{{.capacity = 1000, .shards = 2}};
    const auto put = [&](int i) {
        cache.put(std::to_string(i), std::to_string(i) + " is long enough for the heap");
    };
    for (int i = 0; i < keys; ++i) put(i);
    std::atomic<bool> done{false};
    support::Failures failures;
    support::in_threads(3, [&](std::size_t me) {
        if (me != 0) {
            support::Random random(me);
            while (!done) put(static_cast<int>(random.below(keys)));
            return;
        }
        for (std::size_t round = 0; round < support::ops(30); ++round) {
            std::stringstream file;
            const std::size_t written = cache.snapshot(file);
            Cache copy{{.capacity = 1000, .shards = 1}};
            const std::size_t restored = copy.restore(file);
            failures.expect(written == keys && restored == keys && copy.size() == keys);
            copy.for_each([&](const std::string& key, const std::string& value) {
                failures.expect(value.starts_with(key + " is"));
            });
        }
        done = true;
    });
    CHECK(failures.count() == 0);
    CHECK(cache.validate());
}
