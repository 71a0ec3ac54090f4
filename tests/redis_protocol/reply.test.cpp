#include <hiredis/hiredis.h>

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drey/redis/reply.hpp"
#include "redis_protocol/shown.hpp"
#include "support/catch.hpp"
#if defined(__GLIBC__)
#include <malloc.h>
#endif

// What a server sends, in every way in which it can come in pieces.

namespace {

using drey::Errc;
using drey::redis::meaning_of;
using drey::redis::Reply;
using drey::redis::ReplyReader;
using namespace std::string_literals;

/// All replies in these pieces, and "nonsense" at the end if they are not the protocol.
std::vector<std::string> read(const std::vector<std::string_view>& pieces) {
    ReplyReader reader;
    std::vector<std::string> replies;
    for (const auto piece : pieces) {
        if (!reader.feed(piece)) break;
        while (const auto reply = reader.next()) replies.push_back(shown(*reply));
    }
    if (reader.failed()) replies.push_back("nonsense");
    return replies;
}

struct Sample {
    std::string bytes;
    std::vector<std::string> replies;
};

const std::vector<Sample>& samples() {
    static const std::vector<Sample> all {
        {"+OK\r\n", {"+OK"}}, {"+\r\n", {"+"}}, {"-ERR no\r\n", {"-ERR no"}}, {":0\r\n", {"0"}},
            {":-1\r\n", {"-1"}}, {":9223372036854775807\r\n", {"9223372036854775807"}},
            {":-9223372036854775808\r\n", {"-9223372036854775808"}}, {"$-1\r\n", {"nil"}},
            {"*-1\r\n", {"nil"}}, {"$0\r\n\r\n", {"''"}}, {"$1\r\na\r\n", {"'a'"}},
            {"$8\r\na\r\n$-1\r\n\r\n", {"'a\r\n$-1\r\n'"}},
            {"$3\r\n\0\xff\n\r\n"s, {"'\0\xff\n'"s}}, {"*0\r\n", {"[]"}},
            {"*1\r\n*0\r\n", {"[[]]"}}, {"*2\r\n$1\r\na\r\n:7\r\n", {"['a' 7]"}},
            {"*3\r\n$-1\r\n*-1\r\n+x\r\n", {"[nil nil +x]"}},
            {"*3\r\n-ERR a\r\n$1\r\nb\r\n-OOM c\r\n", {"[-ERR a 'b' -OOM c]"}},
            {"*2\r\n*2\r\n:1\r\n*1\r\n:2\r\n*1\r\n$2\r\nxy\r\n", {"[[1 [2]] ['xy']]"}},
            {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", {"[[[[[[[1]]]]]]]"}},
            {"+a\r\n-b\r\n:3\r\n$1\r\nd\r\n*0\r\n", {"+a", "-b", "3", "'d'", "[]"}},
#if HIREDIS_MAJOR >= 1
            {"_\r\n", {"nil"}}, {"#t\r\n", {"other()"}}, {",1.5\r\n", {"other()"}},
            {"(12345678901234567890\r\n", {"other12345678901234567890()"}},
            {"=5\r\ntxt:a\r\n", {"othertxt:a()"}}, {"~2\r\n:1\r\n:2\r\n", {"other(1 2)"}},
            {"%1\r\n+a\r\n:1\r\n", {"other(+a 1)"}},
            {">2\r\n+a\r\n:1\r\n:3\r\n", {"other(+a 1)", "3"}},
#endif
    };
    return all;
}

/// Bytes allocated by now, as far as the C library tells; 0 where it does not.
std::size_t allocated() {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

}  // namespace

TEST_CASE("reply of each kind is read") {
    for (const Sample& sample : samples()) {
        INFO(sample.bytes);
        CHECK(read({sample.bytes}) == sample.replies);
    }
}

TEST_CASE("replies are the same wherever their bytes are split") {
    for (const Sample& sample : samples()) {
        INFO(sample.bytes);
        const std::string_view bytes = sample.bytes;
        for (std::size_t i = 0; i <= bytes.size(); ++i) {
            REQUIRE(read({bytes.substr(0, i), bytes.substr(i)}) == sample.replies);
            for (std::size_t j = i; j <= bytes.size(); ++j)
                REQUIRE(read({bytes.substr(0, i), bytes.substr(i, j - i), bytes.substr(j)}) ==
                        sample.replies);
        }
    }
}

TEST_CASE("all samples at once are read byte by byte") {
    std::string bytes;
    std::vector<std::string> replies;
    for (const Sample& sample : samples()) {
        bytes += sample.bytes;
        replies.insert(replies.end(), sample.replies.begin(), sample.replies.end());
    }
    std::vector<std::string_view> pieces;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        pieces.push_back(std::string_view(bytes).substr(i, 1));
    CHECK(read(pieces) == replies);
}

TEST_CASE("incomplete reply is waited for") {
    for (const Sample& sample : samples()) {
        if (sample.replies.size() > 1) continue;
        INFO(sample.bytes);
        for (std::size_t i = 0; i < sample.bytes.size(); ++i)
            REQUIRE(read({std::string_view(sample.bytes).substr(0, i)}).empty());
    }
}

TEST_CASE("text of a megabyte is read, in pieces of any size") {
    const std::string text(std::size_t{1} << 20, 'x');
    const std::string bytes = "$1048576\r\n" + text + "\r\n+next\r\n";
    for (const std::size_t size : {bytes.size(), std::size_t{4099}, std::size_t{65536}}) {
        std::vector<std::string_view> pieces;
        for (std::size_t at = 0; at < bytes.size(); at += size)
            pieces.push_back(std::string_view(bytes).substr(at, size));
        const auto replies = read(pieces);
        REQUIRE(replies.size() == 2);
        CHECK((replies[0] == "'" + text + "'"));
        CHECK(replies[1] == "+next");
    }
}

TEST_CASE("long array keeps its elements in order") {
    std::string bytes = "*10000\r\n";
    for (int i = 0; i < 10000; ++i) bytes += "*2\r\n:" + std::to_string(i) + "\r\n$1\r\nx\r\n";
    ReplyReader reader;
    for (std::size_t at = 0; at < bytes.size(); at += 17)
        REQUIRE(reader.feed(std::string_view(bytes).substr(at, 17)));
    const auto reply = reader.next();
    REQUIRE(reply);
    REQUIRE(reply->elements.size() == 10000);
    bool right = true;
    for (std::size_t i = 0; i < 10000; ++i)
        right = right && reply->elements[i].elements[0].integer == static_cast<long long>(i) &&
                reply->elements[i].elements[1].text == "x";
    CHECK(right);
}

TEST_CASE("nonsense is found out at once and for good") {
    for (const std::string& bytes : {"hello\r\n"s,
                                     "HTTP/1.1 400 Bad Request\r\n"s,
                                     "\r\n"s,
                                     "\n"s,
                                     "\0"s,
                                     "\x16\x03\x01"s,
                                     ":\r\n"s,
                                     ":one\r\n"s,
                                     ":1x\r\n"s,
                                     ":9223372036854775808\r\n"s,
                                     "$x\r\n"s,
                                     "$\r\n"s,
                                     "*x\r\n"s,
                                     "*\r\n"s,
                                     "$-2\r\n"s,
                                     "*-2\r\n"s,
                                     "$-99999999999999999999\r\n"s,
                                     "*99999999999999999999\r\n"s,
                                     "*2\r\n:1\r\nx"s,
                                     "*1\r\n$-7\r\n"s,
                                     "*1\r\n*-7\r\n"s}) {
        INFO(bytes);
        CHECK(read({bytes}) == std::vector<std::string>{"nonsense"});
        CHECK(read({bytes, "+OK\r\n"}) == std::vector<std::string>{"nonsense"});
        CHECK(read({"+before\r\n", bytes}) == std::vector<std::string>{"+before", "nonsense"});
    }
}

TEST_CASE("replies before nonsense are read") {
    CHECK(read({"+a\r\n:2\r\n?"}) == std::vector<std::string>{"+a", "2", "nonsense"});
}

TEST_CASE("announced lengths cost no memory before their bytes come") {
    for (const std::string_view bytes :
         {"*2000000000\r\n:1\r\n", "$99999999999999\r\nx", "$536870912\r\nx",
          "*1\r\n*2000000000\r\n", "*2000000000\r\n$2000000000\r\nx",
          "*2147483647\r\n*2147483647\r\n*2147483647\r\n"}) {
        INFO(bytes);
        ReplyReader reader;
        const std::size_t before = allocated();
        (void)reader.feed(bytes);
        CHECK_FALSE(reader.next());
        CHECK(allocated() < before + (std::size_t{1} << 20));
    }
}

TEST_CASE("replies nested deeper than any command's are refused") {
    for (const std::size_t depth : {20u, 1000u, 1000000u}) {
        std::string bytes;
        for (std::size_t i = 0; i < depth; ++i) bytes += "*1\r\n";
        bytes += ":1\r\n";
        ReplyReader reader;
        (void)reader.feed(bytes);
        CHECK_FALSE(reader.next());
        CHECK(reader.failed());
    }
}

TEST_CASE("reader is destroyed in the middle of a reply") {
    for (const Sample& sample : samples())
        for (std::size_t i = 0; i < sample.bytes.size(); ++i)
            REQUIRE(ReplyReader().feed(std::string_view(sample.bytes).substr(0, i)));
}

TEST_CASE("error's first word says what it means") {
    const std::vector<std::pair<std::string_view, Errc>> meanings{
        {"LOADING Redis is loading the dataset in memory", Errc::unavailable},
        {"BUSY Redis is busy running a script.", Errc::unavailable},
        {"MASTERDOWN Link with MASTER is down", Errc::unavailable},
        {"CLUSTERDOWN The cluster is down", Errc::unavailable},
        {"TRYAGAIN Multiple keys request during rehashing of slot", Errc::unavailable},
        {"ERR max number of clients reached", Errc::unavailable},
        {"NOAUTH Authentication required.", Errc::denied},
        {"WRONGPASS invalid username-password pair or user is disabled.", Errc::denied},
        {"NOPERM this user has no permissions", Errc::denied},
        {"READONLY You can't write against a read only replica.", Errc::read_only},
        {"OOM command not allowed when used memory > 'maxmemory'.", Errc::out_of_memory},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", Errc::wrong_type},
        {"ERR unknown command", Errc::command_failed},
        {"OOMPH", Errc::command_failed},
        {"oom", Errc::command_failed},
        {" OOM", Errc::command_failed},
        {"OOM", Errc::out_of_memory},
        {"", Errc::command_failed},
    };
    for (const auto& [text, meaning] : meanings) {
        INFO(text);
        CHECK(meaning_of(text) == meaning);
    }
}
