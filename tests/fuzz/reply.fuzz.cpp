#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "drey/redis/call.hpp"
#include "drey/redis/command.hpp"
#include "drey/redis/pipeline.hpp"
#include "drey/redis/reply.hpp"
#include "drey/redis/subscription.hpp"
#include "redis_protocol/shown.hpp"

// Whatever a server may send, in whatever pieces: nothing may crash or claim much memory, the same
// bytes are the same replies however they are split, each call has its own, and a subscription that
// has failed says nothing else.
//
// An input is a byte n, n sizes of pieces, a byte whose bits say which callers have left, and what
// the server sends.

namespace {

using drey::redis::Call;
using drey::redis::Command;
using drey::redis::Outcome;
using drey::redis::Pipeline;
using drey::redis::Reply;
using drey::redis::ReplyReader;
using drey::redis::Subscription;

void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

struct Input {
    Input(const std::uint8_t* data, std::size_t size) {
        std::string_view rest(reinterpret_cast<const char*>(data), size);
        const auto take = [&] {
            const auto byte = rest.empty() ? 0 : static_cast<unsigned char>(rest[0]);
            if (!rest.empty()) rest.remove_prefix(1);
            return static_cast<unsigned>(byte);
        };
        std::vector<std::size_t> sizes(take() % 32);
        for (std::size_t& one : sizes) one = take();
        leavers = take();
        whole = rest;
        for (const std::size_t one : sizes) {
            pieces.push_back(rest.substr(0, one));
            rest.remove_prefix(std::min(rest.size(), one));
        }
        pieces.push_back(rest);
    }

    unsigned leavers = 0;
    std::string_view whole;
    std::vector<std::string_view> pieces;
};

struct Read {
    std::vector<std::string> replies;
    bool failed = false;
    bool operator==(const Read&) const = default;
};

Read read(const std::vector<std::string_view>& pieces) {
    ReplyReader reader;
    Read result;
    for (const auto piece : pieces) {
        if (!reader.feed(piece)) break;
        while (const auto reply = reader.next()) result.replies.push_back(shown(*reply));
    }
    result.failed = reader.failed();
    if (result.failed) {
        expect(!reader.feed("+OK\r\n"), "nonsense is for good");
        expect(!reader.next(), "nothing is read after nonsense");
    }
    return result;
}

const std::vector<Command>& commands() {
    static const std::vector<Command> pings = [] {
        std::vector<Command> list;
        for (int i = 0; i < 3; ++i) list.push_back(Command{"PING"});
        return list;
    }();
    return pings;
}

/// Calls of 1, 2, 3, 1, 2 and 3 commands, some of which leave after the first piece.
void pipeline(const Input& input, const Read& all) {
    struct Asked {
        explicit Asked(std::size_t size)
            : replies(size), call(std::span(commands()).first(size), replies,
                                  drey::redis::Repeat::no, drey::redis::TimePoint::max()) {}
        std::vector<Reply> replies;
        Call call;
    };
    Pipeline pipeline;
    std::deque<Asked> calls;
    std::size_t asked = 0;
    for (std::size_t i = 0; i < 6; ++i) {
        pipeline.expect(calls.emplace_back(i % 3 + 1).call);
        asked += i % 3 + 1;
    }
    std::size_t next = 0;  // calls finish in order
    std::array<bool, 6> left{};
    const auto finished = [&](Call& call) {
        while (next < 6 && left[next]) ++next;
        expect(next < 6 && &calls[next].call == &call, "calls finish in order, and once");
        call.finish();
        ++next;
    };
    Outcome outcome;
    for (std::size_t i = 0; i < input.pieces.size() && outcome.ok(); ++i) {
        outcome = pipeline.feed(input.pieces[i], finished);
        if (i > 0) continue;
        for (std::size_t j = 0; j < 6; ++j)
            if ((input.leavers >> j & 1) != 0 && !calls[j].call.finished()) {
                pipeline.abandon(calls[j].call);
                left[j] = true;
            }
    }
    expect(!outcome.ok() || !all.failed, "nonsense is told");
    expect(!outcome.ok() || all.replies.size() <= asked, "a reply to no command is told");
    std::size_t at = 0;
    for (std::size_t i = 0; i < 6; ++i)
        for (std::size_t j = 0; j <= i % 3; ++j, ++at) {
            const bool came = at < all.replies.size();
            if (!left[i] && came)
                expect(shown(calls[i].replies[j]) == all.replies[at], "each call has its own");
            if (!came) expect(calls[i].replies[j].is_nil(), "no call has another's");
        }
    expect(!pipeline.idle() || all.replies.size() >= asked, "not idle before all have come");
}

void subscription(std::string_view bytes) {
    Subscription subscription({"news", std::string(Subscription::invalidations)});
    ReplyReader reader;
    (void)reader.feed(bytes);
    bool failed = false;
    while (auto reply = reader.next()) {
        const auto event = subscription.on(*std::move(reply));
        const auto* const failure = std::get_if<Outcome>(&event);
        expect(failure == nullptr || !failure->ok(), "a failure is one");
        expect(!failed || failure != nullptr, "failed for good");
        failed = failure != nullptr;
        expect(!failed || !subscription.ready(), "failed and ready");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Input input(data, size);
    const Read whole = read({input.whole});
    expect(read(input.pieces) == whole, "replies do not depend on how bytes come");
    pipeline(input, whole);
    subscription(input.whole);
    return 0;
}
