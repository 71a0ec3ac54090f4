#pragma once

#include <charconv>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

/// A program's command line.
namespace hit_ratio {

/// What is told with how the program is to be used.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class Number>
Number parse_number(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value > 0)) {
        throw UsageError("\"" + std::string(text) + "\" is not a positive number");
    }
    return value;
}

/// Goes through options, of which some have a value.
class Arguments {
public:
    explicit Arguments(std::span<char*> all) noexcept : rest_(all) {}

    /// Goes on to the next; false if there is none.
    bool next() noexcept {
        if (rest_.empty()) return false;
        option_ = rest_.front();
        rest_ = rest_.subspan(1);
        return true;
    }

    std::string_view option() const noexcept { return option_; }

    /// What follows the option.
    std::string_view value() {
        if (rest_.empty()) throw UsageError(std::string(option_) + " needs a value");
        const std::string_view value = rest_.front();
        rest_ = rest_.subspan(1);
        return value;
    }

    template <class Number>
    Number number() {
        return parse_number<Number>(value());
    }

    [[noreturn]] void unknown() const {
        throw UsageError("unknown option " + std::string(option_));
    }

private:
    std::span<char*> rest_;
    std::string_view option_;
};

}  // namespace hit_ratio
