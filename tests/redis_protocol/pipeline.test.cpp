#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "drey/redis/pipeline.hpp"
#include "redis_protocol/fake_transport.hpp"
#include "redis_protocol/shown.hpp"
#include "support/catch.hpp"

// Which reply is whose, however the bytes come and whoever has left.

namespace {

using drey::Errc;
using drey::redis::Call;
using drey::redis::Outcome;
using drey::redis::Pipeline;
using fake::Ask;
using fake::Commands;

/// A pipeline, and which calls it has finished, in order.
struct Fixture {
    Outcome feed(std::string_view bytes) {
        return pipeline.feed(bytes, [&](Call& call) {
            finished.push_back(&call);
            call.finish();
        });
    }

    Pipeline pipeline;
    std::vector<Call*> finished;
};

/// Calls of 1, 2, 3, 1, 2, 3... commands, and the replies to them: the numbers from 0 on, as
/// different types.
struct Traffic {
    explicit Traffic(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            if (i % 3 == 0) calls.emplace_back("a");
            if (i % 3 == 1) calls.emplace_back(Commands{{"GET", "a"}, {"GET", "b"}});
            if (i % 3 == 2) calls.emplace_back(Commands{{"GET", "a"}, {"GET", "b"}, {"DEL", "c"}});
            auto& texts = expected.emplace_back();
            for (std::size_t j = 0; j <= i % 3; ++j) texts.push_back(reply(number++));
        }
    }

    std::string reply(std::size_t n) {
        const std::string text = std::to_string(n);
        switch (n % 4) {
            case 0:
                bytes += fake::bulk(text);
                return "'" + text + "'";
            case 1:
                bytes += ":" + text + "\r\n";
                return text;
            case 2:
                bytes += "-ERR " + text + "\r\n";
                return "-ERR " + text;
            default:
                bytes += "*2\r\n:" + text + "\r\n$-1\r\n";
                return "[" + text + " nil]";
        }
    }

    void expect_all(Pipeline& pipeline) {
        for (Ask& ask : calls) pipeline.expect(ask.call);
    }

    std::deque<Ask> calls;
    std::vector<std::vector<std::string>> expected;  // of each call
    std::string bytes;
    std::size_t number = 0;
};

}  // namespace

TEST_CASE("each call gets its own replies, in order, wherever the bytes are split") {
    const std::size_t size = Traffic(7).bytes.size();
    for (std::size_t split = 0; split <= size; ++split) {
        Traffic traffic(7);
        Fixture fixture;
        traffic.expect_all(fixture.pipeline);
        REQUIRE(fixture.feed(std::string_view(traffic.bytes).substr(0, split)).ok());
        REQUIRE(fixture.pipeline.idle() == (split == size));
        REQUIRE(fixture.feed(std::string_view(traffic.bytes).substr(split)).ok());
        REQUIRE(fixture.pipeline.idle());
        REQUIRE(fixture.finished.size() == 7);
        for (std::size_t i = 0; i < 7; ++i) {
            REQUIRE(fixture.finished[i] == &traffic.calls[i].call);
            REQUIRE(shown(traffic.calls[i].replies) == traffic.expected[i]);
        }
    }
}

TEST_CASE("replies that trickle in are handed out as each call has all of its") {
    Traffic traffic(20);
    Fixture fixture;
    traffic.expect_all(fixture.pipeline);
    for (const char byte : traffic.bytes) REQUIRE(fixture.feed({&byte, 1}).ok());
    CHECK(fixture.pipeline.idle());
    CHECK(fixture.finished.size() == 20);
    for (std::size_t i = 0; i < 20; ++i)
        CHECK(shown(traffic.calls[i].replies) == traffic.expected[i]);
}

TEST_CASE("replies to who has left are dropped, and the next gets its own") {
    const std::size_t size = Traffic(4).bytes.size();
    for (std::size_t leaver = 0; leaver < 4; ++leaver) {
        for (std::size_t split = 0; split <= size; ++split) {
            Traffic traffic(4);
            Fixture fixture;
            traffic.expect_all(fixture.pipeline);
            REQUIRE(fixture.feed(std::string_view(traffic.bytes).substr(0, split)).ok());
            const bool left_early = !traffic.calls[leaver].call.finished();
            const auto seen = shown(traffic.calls[leaver].replies);
            fixture.pipeline.abandon(traffic.calls[leaver].call);
            REQUIRE(fixture.feed(std::string_view(traffic.bytes).substr(split)).ok());
            REQUIRE(fixture.pipeline.idle());
            REQUIRE(fixture.finished.size() == (left_early ? 3 : 4));
            REQUIRE(shown(traffic.calls[leaver].replies) == seen);
            for (std::size_t i = 0; i < 4; ++i) {
                if (i != leaver) REQUIRE(shown(traffic.calls[i].replies) == traffic.expected[i]);
            }
        }
    }
}

TEST_CASE("pipeline is not idle while replies to who has left are outstanding") {
    Fixture fixture;
    Ask ask("a");
    fixture.pipeline.expect(ask.call);
    fixture.pipeline.abandon(ask.call);
    CHECK_FALSE(fixture.pipeline.idle());
    REQUIRE(fixture.feed("$-1\r\n").ok());
    CHECK(fixture.pipeline.idle());
    CHECK_FALSE(ask.call.finished());
}

TEST_CASE("reply to no command is an error, and those before it have been handed out") {
    Fixture fixture;
    CHECK(fixture.feed("+OK\r\n").error == Errc::protocol);

    Fixture other;
    Ask ask("a");
    other.pipeline.expect(ask.call);
    CHECK(other.feed("$1\r\nx\r\n$1\r\ny\r\n").error == Errc::protocol);
    CHECK(ask.text() == "x");
    CHECK(other.finished.size() == 1);
}

TEST_CASE("calls whose replies come before nonsense have them") {
    Fixture fixture;
    Ask first("a"), second("b");
    fixture.pipeline.expect(first.call);
    fixture.pipeline.expect(second.call);
    CHECK(fixture.feed("$1\r\nx\r\nnonsense").error == Errc::protocol);
    CHECK(first.text() == "x");
    CHECK(fixture.finished == std::vector<Call*>{&first.call});
    CHECK(fixture.feed("$1\r\ny\r\n").error == Errc::protocol);
    CHECK(fixture.finished.size() == 1);
}

TEST_CASE("more can be asked while replies come") {
    Fixture fixture;
    Ask first("a"), second("b");
    fixture.pipeline.expect(first.call);
    REQUIRE(fixture.feed("$1\r\n").ok());
    fixture.pipeline.expect(second.call);
    REQUIRE(fixture.feed("x\r\n$1\r\ny\r\n").ok());
    CHECK(first.text() == "x");
    CHECK(second.text() == "y");
}

TEST_CASE("beginning of a reply to no command is not taken for the next call's") {
    Fixture fixture;
    Ask first("a"), second("b");
    fixture.pipeline.expect(first.call);
    // Either the surplus is refused when it shows, or it is when the next is to be asked.
    const bool refused = !fixture.feed("$1\r\nx\r\n$6\r\nfor").ok();
    CHECK((refused || !fixture.pipeline.idle()));
}
