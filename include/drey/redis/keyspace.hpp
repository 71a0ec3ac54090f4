#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "drey/redis/key_text.hpp"

namespace drey::redis {

/// The names of one cache's keys on the server: `prefix:key`.
///
/// Below the prefix, where `clear` finds them and users may be allowed to go, are also its tags,
/// `prefix:%t:tag`, and what it keeps of them all, `prefix:%t`. No key's name has "%t" in it, as it
/// has "%" only before upper case digits and signs.
class Keyspace {
public:
    explicit Keyspace(std::string_view prefix) {
        detail::append_escaped(prefix_, prefix, false);
        prefix_.push_back(':');
        // What SCAN would take for a pattern stands for itself.
        for (const char c : prefix_) {
            if (std::string_view("*?[]^-\\").find(c) != std::string_view::npos)
                pattern_.push_back('\\');
            pattern_.push_back(c);
        }
    }

    template <class Key>
    std::string name(const Key& key) const {
        std::string name;
        name.reserve(prefix_.size() + 24);
        name = prefix_;
        detail::append_key_text(name, key);
        return name;
    }

    std::string tag_name(std::string_view tag) const {
        std::string name = tag_log_name() + ':';
        detail::append_escaped(name, tag, false);
        return name;
    }
    std::string tag_log_name() const { return prefix_ + std::string(tag_mark); }

    /// Whether a name below a prefix, this or a longer one, is no entry's.
    static bool is_of_tags(std::string_view name) noexcept {
        return name.find(tag_mark) != name.npos;
    }

    /// Of a tag's name, that of the log; of others, nothing.
    static std::string_view tag_log_of(std::string_view name) noexcept {
        const std::size_t at = name.find(tag_mark);
        return at == name.npos ? std::string_view() : name.substr(0, at + tag_mark.size());
    }

    /// The pattern of the names whose keys match `glob`.
    std::string pattern(std::string_view glob) const { return pattern_ + std::string(glob); }

private:
    static constexpr std::string_view tag_mark = "%t";

    std::string prefix_;
    std::string pattern_;
};

}  // namespace drey::redis
