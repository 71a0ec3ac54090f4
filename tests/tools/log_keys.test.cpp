#include "bench/hit_ratio/log_keys.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/hit_ratio/sizes.hpp"
#include "drey/types.hpp"
#include "support/catch.hpp"

namespace {

using namespace hit_ratio;

struct Read {
    std::vector<drey::Hash> keys;
    BadLines bad;
};

/// The log, in pieces of that many bytes.
Read read(std::string_view log, const LogFormat& format, std::size_t piece = 1'000'000) {
    Read result;
    LogReader reader(format, [&](drey::Hash key) { result.keys.push_back(key); });
    for (; !log.empty(); log.remove_prefix(std::min(piece, log.size())))
        reader.read(std::span<const char>(log.data(), std::min(piece, log.size())));
    reader.finish();
    CHECK(reader.requests() == result.keys.size());
    result.bad = reader.bad_lines();
    return result;
}

std::vector<drey::Hash> lines(std::string_view log) { return read(log, {}).keys; }

const LogFormat csv{.format = Format::csv};

LogFormat column(std::size_t n, char delimiter = ',') {
    return {.format = Format::csv, .delimiter = delimiter, .column = n};
}

}  // namespace

TEST_CASE("equal lines are equal keys, however they end", "[tools]") {
    const auto keys = lines("a\nb\r\na\r\nb");
    REQUIRE(keys.size() == 4);
    CHECK(keys[0] == keys[2]);
    CHECK(keys[1] == keys[3]);
    CHECK(keys[0] != keys[1]);
    CHECK(lines("\xef\xbb\xbf"
                "a\nb") == lines("a\nb"));
}

TEST_CASE("a log reads the same in pieces of any length", "[tools]") {
    const std::string text = "one\ntwo\n\nthree,\"x,\"\"y\",4\nlast";
    for (const LogFormat& format : {LogFormat{}, csv, column(2)}) {
        const Read whole = read(text, format);
        for (std::size_t piece = 1; piece < 12; ++piece) {
            const Read pieces = read(text, format, piece);
            CHECK(pieces.keys == whole.keys);
            CHECK(pieces.bad.count == whole.bad.count);
        }
    }
}

TEST_CASE("a line without a key is counted, the first told, and the log goes on", "[tools]") {
    const Read empty = read("a\n\nb\n\n", {});
    CHECK(empty.keys.size() == 2);
    CHECK(empty.bad.count == 2);
    CHECK(empty.bad.first == 2);
    CHECK(empty.bad.why == "it is empty");

    const Read narrow = read("a,1\nb\n,2\nc,3\n", column(2));
    CHECK(narrow.keys == lines("1\n2\n3"));
    CHECK(narrow.bad.first == 2);
    CHECK(narrow.bad.why == "it has no column 2");
    CHECK(read("a,\n", column(2)).bad.why == "its key is empty");
    CHECK(read("\"a\n\"a\"b,2\n", column(1)).bad.count == 2);

    const std::string long_line(70'000, 'x');
    for (const std::size_t piece : {std::size_t{1'000}, std::size_t{100'000}}) {
        const Read longest = read("a\n" + long_line + "\nb\n", {}, piece);
        CHECK(longest.keys == lines("a\nb"));
        CHECK(longest.bad.first == 2);
    }
}

TEST_CASE("a column of CSV is unquoted", "[tools]") {
    CHECK(read("1,\"a,b\",2\n1,\"say \"\"hi\"\"\",2\n1,plain,2\n", column(2)).keys ==
          lines("a,b\nsay \"hi\"\nplain"));
    CHECK(read("\"x\",9\n", column(2)).keys == lines("9"));
    CHECK(read("a;b;c\n", column(3, ';')).keys == lines("c"));
}

TEST_CASE("blanks between columns count once", "[tools]") {
    CHECK(read("  10.0.0.1 -  \t/index \n", column(3, ' ')).keys == lines("/index"));
    CHECK(read("one two \n", column(3, ' ')).bad.count == 1);
}

TEST_CASE("the first line may name the columns", "[tools]") {
    LogFormat named{.format = Format::csv, .column_name = "user"};
    CHECK(read("time,user\n1,ada\n2,bob\n", named).keys == lines("ada\nbob"));
    CHECK(read("\xef\xbb\xbfuser,time\nada,1\n", named).keys == lines("ada"));
    CHECK_THROWS_AS(read("time,who\n1,ada\n", named), LogError);
    CHECK(read("key\nada\n", {.header = true}).keys == lines("ada"));
}

TEST_CASE("binary records are numbers, and a cut one is an error", "[tools]") {
    const std::string records("\1\0\0\0\0\0\0\2\1\0\0\0", 12);
    const auto keys = read(records, {.format = Format::u32}, 5).keys;
    REQUIRE(keys.size() == 3);
    CHECK(keys[0] == keys[2]);
    CHECK(keys[0] != keys[1]);
    CHECK_THROWS_AS(read(records.substr(0, 11), {.format = Format::u32}), LogError);

    CHECK(read(records.substr(0, 8), {.format = Format::u32s}).keys.size() == 1);
    CHECK_THROWS_AS(read(records, {.format = Format::u32s}), LogError);
}

TEST_CASE("sizes are numbers, shares and ranges", "[tools]") {
    const auto sizes = parse_sizes("10,50%,100..1600/5");
    REQUIRE(sizes.size() == 7);
    CHECK(sizes[0].of(1000) == 10);
    CHECK(sizes[1].of(1000) == 500);
    CHECK(sizes[2].of(1000) == 100);
    CHECK(sizes[3].of(1000) == 200);
    CHECK(sizes[6].of(1000) == 1600);
    CHECK(parse_sizes("inf%").front().of(1000) == std::uint64_t{1} << 62);
    for (const char* wrong : {"", "0", "x", "1..2", "5..1/3", "1%..9/3", "1..9/1", "-3"})
        CHECK_THROWS_AS(parse_sizes(wrong), UsageError);
}
