#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "drey/hash.hpp"
#include "drey/redis/client.hpp"
#include "drey/redis/command.hpp"
#include "drey/redis/keyspace.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/reply.hpp"

namespace drey::redis {

/// What is done to all keys of a cache: goes through the names of the whole database, some at a
/// time. Tags are no entries. Thread-safe.
class Sweep {
public:
    Sweep(const Keyspace& keys, Client& client) : keys_(keys), client_(client) {}

    Outcome count(std::size_t& count) {
        std::unordered_set<std::uint64_t> seen;  // SCAN may say a name twice
        Outcome outcome =
            client_.scan(keys_.pattern("*"), [&](std::span<const std::string_view> names) {
                for (const auto name : names)
                    if (!Keyspace::is_of_tags(name))
                        seen.insert(detail::hash_bytes(name, detail::process_salt()));
                return Outcome();
            });
        count = seen.size();
        return outcome;
    }

    /// Removes the entries whose keys match, and counts them.
    Outcome erase(std::string_view glob, std::size_t& count) { return erase(glob, false, count); }

    /// Removes all entries, and counts them, and all tags.
    Outcome clear(std::size_t& count) { return erase("*", true, count); }

private:
    Outcome erase(std::string_view glob, bool erases_tags, std::size_t& count) {
        count = 0;
        return client_.scan(keys_.pattern(glob), [&](std::span<const std::string_view> names) {
            std::vector<std::string_view> entries, tags;
            for (const auto name : names)
                (Keyspace::is_of_tags(name) ? tags : entries).push_back(name);
            Outcome outcome;
            count += unlink(entries, outcome);
            if (erases_tags) unlink(tags, outcome);
            return outcome;
        });
    }

    /// Removes them if all went well so far; how many that were.
    std::size_t unlink(std::span<const std::string_view> names, Outcome& outcome) {
        if (names.empty() || !outcome.ok()) return 0;
        std::vector<std::string_view> arguments{"UNLINK"};
        arguments.insert(arguments.end(), names.begin(), names.end());
        Reply reply;
        outcome = client_.ask(names.front(), Command(arguments), reply, Repeat::yes,
                              client_.patience().deadline());
        if (outcome.ok() && !reply.is_integer())
            outcome = {Errc::protocol, "an unexpected reply to UNLINK"};
        if (outcome.ok()) return static_cast<std::size_t>(std::max(reply.integer, 0LL));
        for (const auto name : names) client_.add_unconfirmed(name);
        return 0;
    }

    const Keyspace& keys_;
    Client& client_;
};

}  // namespace drey::redis
