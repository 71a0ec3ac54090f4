#pragma once

#include <optional>
#include <string>
#include <vector>

#include "drey/redis/reply.hpp"

/// Replies as text that says all of them: equal texts, equal replies.
inline std::string shown(const drey::redis::Reply& reply) {
    using Type = drey::redis::Reply::Type;
    switch (reply.type) {
        case Type::nil:
            return "nil";
        case Type::status:
            return "+" + reply.text;
        case Type::error:
            return "-" + reply.text;
        case Type::integer:
            return std::to_string(reply.integer);
        case Type::text:
            return "'" + reply.text + "'";
        case Type::array:
        case Type::other:
            break;
    }
    std::string text;
    for (const auto& element : reply.elements) text += (text.empty() ? "" : " ") + shown(element);
    return reply.is_array() ? "[" + text + "]" : "other" + reply.text + "(" + text + ")";
}

inline std::vector<std::string> shown(const std::vector<drey::redis::Reply>& replies) {
    std::vector<std::string> texts;
    for (const auto& reply : replies) texts.push_back(shown(reply));
    return texts;
}
