#pragma once

#include <string>
#include <string_view>

#include "drey/redis/key_text.hpp"

namespace drey::redis {

/// The names of one cache's keys on the server: `prefix:key`.
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

    /// The pattern of the names whose keys match `glob`.
    std::string pattern(std::string_view glob) const { return pattern_ + std::string(glob); }

private:
    std::string prefix_;
    std::string pattern_;
};

}  // namespace drey::redis
