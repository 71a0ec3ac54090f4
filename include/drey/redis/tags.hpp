#pragma once

#include <array>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drey/codec/envelope_tags.hpp"
#include "drey/redis/client.hpp"
#include "drey/redis/command.hpp"
#include "drey/redis/keyspace.hpp"
#include "drey/redis/lifetime.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/reply.hpp"
#include "drey/redis/scripts.hpp"
#include "drey/redis/stamps.hpp"
#include "drey/terms.hpp"

namespace drey::redis {

/// The tags of one cache, that is, what the server knows of them. Thread-safe.
///
/// Each tag is a key that holds its version, a number that never comes again. An entry's envelope
/// names its tags and the version that each had before the value was made; who reads it asks for
/// the tags too, and takes it for gone unless every one is there and has that version. To
/// invalidate a tag is to remove its key: who needs it next makes it again, with another version.
/// So a tag that the server evicts, forgets or loses costs misses, and can bring nothing back.
///
/// What tags a load's result has is known after it, but what was invalidated meanwhile must not be
/// stored. So there is a log, one more key: which tags were invalidated lately, numbered in order.
/// A load marks where the log ends before its loader runs. Afterwards its tags' versions are asked
/// for, and then whether the log has one of these tags beyond the mark, or is another log; if not,
/// they are the versions of before the load. A log that is full is removed: whoever had a mark in
/// it loads in vain, and the next mark begins another. So does the log if an invalidation could
/// not be noted: `Client::confirm`. No clock has a say in any of this.
///
/// Loads need marks only where there are tags: from when this cache has first had to do with one.
class Tags {
public:
    /// The place in the log where a load began.
    struct Mark {
        std::string log;
        std::uint64_t number = 0;

        bool operator==(const Mark&) const = default;
    };

    /// Tags by their names, and which version each has now, if any.
    using Versions = std::map<std::string, std::optional<std::uint64_t>, std::less<>>;

    Tags(const Keyspace& keys, Client& client) : keys_(keys), client_(client) {}

    /// Whether this cache has had to do with tags.
    bool in_use() const noexcept { return in_use_.load(std::memory_order_relaxed); }
    void note_use() noexcept {
        if (!in_use()) in_use_.store(true, std::memory_order_relaxed);
    }

    /// How often a tag was invalidated in this process.
    TagTime time() const noexcept { return time_.load(); }

    /// Looks all of them up, in one round trip.
    Outcome look_up(Versions& tags, TimePoint deadline) {
        std::vector<std::string> names;
        // Before they are asked for: an invalidation may be confirmed while the answer is under
        // way.
        std::vector<bool> suspect;
        for (const auto& [tag, version] : tags) {
            names.push_back(keys_.tag_name(tag));
            suspect.push_back(client_.is_unconfirmed(names.back()));
        }
        std::vector<std::string_view> arguments{"MGET"};
        arguments.insert(arguments.end(), names.begin(), names.end());
        Reply reply;
        Outcome outcome =
            client_.ask(names.front(), Command(arguments), reply, Repeat::yes, deadline);
        if (!outcome.ok()) return outcome;
        if (!reply.is_array() || reply.elements.size() != names.size())
            return {Errc::protocol, "an unexpected reply to MGET"};
        std::size_t i = 0;
        for (auto& [tag, version] : tags) {
            if (!suspect[i]) version = version_in(reply.elements[i]);
            ++i;
        }
        return {};
    }

    /// The tags' present versions, for an entry that is to be kept that long: makes those that are
    /// not there, and has the others live as long as the entry.
    Outcome capture(std::span<const std::string> tags, const std::optional<std::string>& kept,
                    TimePoint deadline, std::vector<EnvelopeTag>& captured) {
        if (tags.empty()) return {};
        note_use();
        Reply reply;
        Outcome outcome = client_.ask(keys_.tag_log_name(), capture_command(tags, kept), reply,
                                      Repeat::yes, deadline);
        return outcome.ok() ? read_captured(tags, reply, captured) : outcome;
    }

    /// Where the log ends now; begins one if there is none.
    Outcome mark(TimePoint deadline, std::optional<Mark>& mark) {
        const std::string name = keys_.tag_log_name();
        const std::string log = hex(stamps_.next());
        Reply reply;
        Outcome outcome = client_.ask(name, Command{"EVAL", scripts::mark_tag_log, "1", name, log},
                                      reply, Repeat::yes, deadline);
        if (!outcome.ok()) return outcome;
        if (!reply.is_array() || reply.elements.size() != 2 || !reply.elements[0].is_text() ||
            !number_in(reply.elements[1], 10))
            return {Errc::protocol, "an unexpected reply to EVAL"};
        mark = Mark{reply.elements[0].text, *number_in(reply.elements[1], 10)};
        return {};
    }

    /// `capture` in the words of a load: `held` says whether the versions are those of before the
    /// mark, or of tags that were made since then and never invalidated. In one round trip.
    Outcome capture_since(const Mark& mark, std::span<const std::string> tags,
                          const std::optional<std::string>& kept, TimePoint deadline,
                          std::vector<EnvelopeTag>& captured, bool& held) {
        held = false;
        note_use();
        const std::string log = keys_.tag_log_name();
        std::vector<std::string> names;
        bool is_suspect = false;
        for (const std::string& tag : tags) {
            names.push_back(keys_.tag_name(tag));
            is_suspect = is_suspect || client_.is_unconfirmed(names.back());
        }
        std::vector<std::string_view> arguments{"HMGET", log, "id"};
        arguments.insert(arguments.end(), names.begin(), names.end());
        // In this order: what is invalidated between the two is in the log.
        const std::array<Command, 2> commands{capture_command(tags, kept), Command(arguments)};
        std::array<Reply, 2> replies;
        Outcome outcome = client_.ask(log, commands, replies, Repeat::yes, deadline);
        for (const Reply& reply : replies)
            if (outcome.ok()) outcome = Client::verdict(reply);
        if (outcome.ok()) outcome = read_captured(tags, replies[0], captured);
        if (!outcome.ok()) return outcome;
        const std::vector<Reply>& numbers = replies[1].elements;
        if (!replies[1].is_array() || numbers.size() != tags.size() + 1)
            return {Errc::protocol, "an unexpected reply to HMGET"};
        held = numbers[0].text == mark.log && !is_suspect;
        for (std::size_t i = 1; i < numbers.size(); ++i) {
            if (numbers[i].is_nil()) continue;
            const auto number = number_in(numbers[i], 10);
            held = held && number && *number <= mark.number;
        }
        return {};
    }

    /// What has the tag is gone when this returns; in this process even if the server could not be
    /// told, which is then made up for before it is next asked for anything.
    Outcome invalidate(std::string_view tag, TimePoint deadline) {
        note_use();
        const std::string name = keys_.tag_name(tag);
        const std::string log = keys_.tag_log_name();
        // What is loaded from now on has seen what the caller did before.
        time_.fetch_add(1);
        Reply reply;
        Outcome outcome =
            client_.ask(name, Command{"EVAL", scripts::invalidate_tag, "2", name, log}, reply,
                        Repeat::yes, deadline);
        if (outcome.ok() && !reply.is_integer())
            outcome = {Errc::protocol, "an unexpected reply to EVAL"};
        if (!outcome.ok()) client_.add_unconfirmed(name);
        return outcome;
    }

    /// The key of a tag on the server, and what is there if the tag has that version.
    std::string name(std::string_view tag) const { return keys_.tag_name(tag); }
    static std::string text(std::uint64_t version) { return hex(version); }

private:
    Command capture_command(std::span<const std::string> tags,
                            const std::optional<std::string>& kept) {
        std::vector<std::string> words{std::to_string(tags.size())};
        for (const std::string& tag : tags) words.push_back(keys_.tag_name(tag));
        words.push_back(kept.value_or(""));
        for (std::size_t i = 0; i < tags.size(); ++i) words.push_back(hex(stamps_.next()));
        std::vector<std::string_view> arguments{"EVAL", scripts::capture_tags};
        arguments.insert(arguments.end(), words.begin(), words.end());
        return Command(arguments);
    }

    static Outcome read_captured(std::span<const std::string> tags, const Reply& reply,
                                 std::vector<EnvelopeTag>& captured) {
        captured.clear();
        if (!reply.is_array() || reply.elements.size() != tags.size())
            return {Errc::protocol, "an unexpected reply to EVAL"};
        for (std::size_t i = 0; i < tags.size(); ++i) {
            const auto version = version_in(reply.elements[i]);
            if (!version) return {Errc::protocol, "a tag's key holds something else"};
            captured.push_back({tags[i], *version});
        }
        return {};
    }

    static std::optional<std::uint64_t> version_in(const Reply& reply) {
        return number_in(reply, 16);
    }

    static std::optional<std::uint64_t> number_in(const Reply& reply, int base) {
        std::uint64_t number = 0;
        const char* const end = reply.text.data() + reply.text.size();
        const auto parsed = std::from_chars(reply.text.data(), end, number, base);
        if (!reply.is_text() || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
        return number;
    }

    static std::string hex(std::uint64_t number) {
        std::array<char, 16> digits;
        char* const end = std::to_chars(digits.begin(), digits.end(), number, 16).ptr;
        return std::string(digits.begin(), end);
    }

    const Keyspace& keys_;
    Client& client_;
    Stamps stamps_;
    std::atomic<TagTime> time_{0};
    std::atomic<bool> in_use_{false};
};

}  // namespace drey::redis
