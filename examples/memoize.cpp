// A function that remembers its results.

#include <drey/drey.hpp>

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "expect.hpp"

using example::expect;

// A memoised function may call itself by name: what was exponential becomes linear.
int additions = 0;
std::uint64_t fibonacci(int n) {
    static auto remembered = drey::memoize(
        [](int k) -> std::uint64_t {
            if (k < 2) return static_cast<std::uint64_t>(k);
            ++additions;
            return fibonacci(k - 1) + fibonacci(k - 2);
        },
        {.capacity = 1000});
    return remembered(n);
}

int main() {
    // Any function or lambda whose signature is known; its arguments become the key.
    int calls = 0;
    auto digits = drey::memoize(
        [&](std::uint64_t number, int base) {
            ++calls;
            std::string text;
            for (; number > 0; number /= static_cast<unsigned>(base))
                text.insert(0, 1, "0123456789abcdef"[number % static_cast<unsigned>(base)]);
            return text;
        },
        {.capacity = 1000});

    expect(digits(255u, 16) == "ff" && digits(255u, 2) == "11111111",
           "results are those of the function");
    expect(digits(255u, 16) == "ff" && calls == 2, "the same arguments again: not called again");
    digits.clear();
    expect(digits(255u, 16) == "ff" && calls == 3, "unless it was told to forget");

    expect(fibonacci(90) == 2880067194370816120u && additions == 89,
           "the 90th Fibonacci number takes 89 additions");

    // Failures are not remembered.
    bool is_down = true;
    auto ask = drey::memoize([&](const std::string& question) {
        if (is_down) throw std::runtime_error("try later");
        return question.size();
    });
    bool failed = false;
    try {
        ask(std::string("how long?"));
    } catch (const std::runtime_error&) {
        failed = true;
    }
    is_down = false;
    expect(failed && ask(std::string("how long?")) == 9,
           "an exception passes through, and the next call tries again");

    const drey::Stats stats = digits.stats();
    std::printf("\n%llu calls answered from memory, %llu computed\n",
                static_cast<unsigned long long>(stats.hits),
                static_cast<unsigned long long>(stats.loads));
}
