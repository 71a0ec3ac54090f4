#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "user_database.hpp"

namespace example {

class WrongAnswer : public std::runtime_error {
    using runtime_error::runtime_error;
};

/// Throws unless the answer is the user who was asked for, whole, as the database had it at one
/// version (the digest), and that version is in [oldest, newest].
inline void check_answer(UserId id, const User& answer, std::uint32_t oldest,
                         std::uint32_t newest) {
    const auto wrong = [&](const std::string& what) {
        return WrongAnswer("user " + std::to_string(id) + ": the answer is " + what);
    };
    const auto version = [](std::uint32_t v) { return "version " + std::to_string(v); };
    if (answer.id != id) throw wrong("user " + std::to_string(answer.id));
    if (answer.digest != digest_of(answer))
        throw wrong("not what was written as " + version(answer.version));
    if (answer.version < oldest)
        throw wrong(version(answer.version) + ", but the update to " + version(oldest) +
                    " had finished before the question was asked");
    if (answer.version > newest)
        throw wrong(version(answer.version) + ", but none above " + version(newest) +
                    " was ever written");
}

}  // namespace example
