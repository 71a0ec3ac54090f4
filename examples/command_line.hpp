#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace example {

/// The command line is wrong; the message names the option.
class BadOption : public std::runtime_error {
    using runtime_error::runtime_error;
};

/// Reads `--name value` and `--name=value` one after the other.
class CommandLine {
public:
    CommandLine(int argc, char** argv) : words_(argv + (argc > 0), argv + argc) {}

    /// Whether there is another argument; `name()` is it, or its part before `=`.
    bool next() {
        if (has_value_) throw BadOption(name_ + " takes no value");
        if (at_ == words_.size()) return false;
        name_ = words_[at_++];
        if (const auto equals = name_.find('=');
            name_.starts_with("--") && equals != std::string::npos) {
            value_ = name_.substr(equals + 1);
            name_.resize(equals);
            has_value_ = true;
        }
        return true;
    }

    const std::string& name() const noexcept { return name_; }

    std::string text() {
        if (!has_value_) {
            if (at_ == words_.size()) throw BadOption(name_ + " needs a value");
            value_ = words_[at_++];
        }
        has_value_ = false;
        return value_;
    }

    /// A whole number in [least, most].
    std::uint64_t whole(std::uint64_t least, std::uint64_t most) {
        return number<std::uint64_t>(least, most, "a whole number");
    }

    /// Any number in [least, most].
    double real(double least, double most) { return number<double>(least, most, "a number"); }

private:
    template <class Number>
    Number number(Number least, Number most, const char* kind) {
        const std::string value = text();
        Number result{};
        const char* const end = value.data() + value.size();
        const auto [stop, error] = std::from_chars(value.data(), end, result);
        if (error != std::errc{} || stop != end || !(result >= least && result <= most))
            throw BadOption(name_ + " must be " + kind + " from " + plain(least) + " to " +
                            plain(most) + ", not '" + value + "'");
        return result;
    }

    static std::string plain(std::uint64_t number) { return std::to_string(number); }
    static std::string plain(double number) {
        return std::to_string(static_cast<long long>(number));
    }

    std::vector<std::string> words_;
    std::size_t at_ = 0;
    std::string name_;
    std::string value_;
    bool has_value_ = false;
};

/// Whether the examples should be brief, as in the project's own tests.
inline bool quick_by_environment() {
    const char* quick = std::getenv("DREY_QUICK");
    return quick != nullptr && std::string_view(quick) != "" && std::string_view(quick) != "0";
}

}  // namespace example
