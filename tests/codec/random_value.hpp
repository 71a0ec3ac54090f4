#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

/// Values of many types, edges more often than chance would have them.
namespace codec_test {

inline std::uint64_t random_seed() {
    const char* fixed = std::getenv("DREY_TEST_SEED");
    return fixed != nullptr ? std::strtoull(fixed, nullptr, 10) : std::random_device{}();
}

class Dice {
public:
    explicit Dice(std::uint64_t seed) : engine_(seed) {}

    std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine_() % n); }

    template <class T>
    T any() {
        T value{};
        roll(value);
        return value;
    }

private:
    template <class T>
    void roll(T& number) requires std::is_arithmetic_v<T> {
        using Limits = std::numeric_limits<T>;
        switch (below(4)) {
            case 0:
                number = T{};
                break;
            case 1:
                number = Limits::max();
                break;
            case 2:
                number = Limits::lowest();
                break;
            default:
                if constexpr (std::is_floating_point_v<T>) {
                    number = std::normal_distribution<T>(0, T{1e6})(engine_);
                } else {
                    number = static_cast<T>(engine_());
                }
        }
    }

    /// Text that is UTF-8 whatever comes after it: zero and control characters included.
    void roll(std::string& text) {
        static const std::vector<std::string> letters{
            "a", "Z", "\"", "\\", "/", "\n", std::string(1, '\0'), "\x7f", "é", "\u2028", "😀"};
        for (std::size_t left = below(one_in(8) ? 2000 : 12); left != 0; --left)
            text += letters[below(letters.size())];
    }

    template <class T, std::size_t n>
    void roll(std::array<T, n>& array) {
        for (T& element : array) roll(element);
    }

    template <class T>
    void roll(std::vector<T>& vector) {
        for (std::size_t left = below(12); left != 0; --left) vector.push_back(any<T>());
    }

    template <class V>
    void roll(std::map<std::string, V>& map) {
        for (std::size_t left = below(12); left != 0; --left) map[any<std::string>()] = any<V>();
    }

    /// What else can be rolled says how: `void roll(Dice&)`.
    template <class T>
    void roll(T& value) requires std::is_class_v<T> && requires(Dice& dice) {
        value.roll(dice);
    }
    { value.roll(*this); }

    bool one_in(std::size_t n) { return below(n) == 0; }

    std::mt19937_64 engine_;
};

}  // namespace codec_test
