#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

#include "instructions/repeat.hpp"

/// Instructions an operation takes, by policy. The program runs itself under callgrind with two
/// repetition counts, and the difference is the operation's: no start, no filling, no end.
namespace {

using namespace instructions;

constexpr const char* usage =
    R"usage(usage: instructions [--metrics]

Instructions of an operation on a cache of u64 -> u64 with 8,192 entries, by policy, counted by
valgrind. A table in Markdown.

  --metrics   one line "instructions.POLICY.OPERATION value" each; the table goes to stderr
)usage";

struct Operation {
    const char* name;
    const char* heading;
};
constexpr Operation operations[] = {
    {"hit", "hit"},
    {"miss", "miss"},
    {"overwrite", "put, overwrites"},
    {"insert", "put, room left"},
    {"evict", "put, evicts"},
};
/// Runs this program under callgrind; what it counted.
std::uint64_t count_instructions(const std::string& policy, std::string_view operation,
                                 std::size_t times) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    const std::string command = "valgrind --tool=callgrind --callgrind-out-file=/dev/null '" +
                                self + "' --repeat " + policy + ' ' + std::string(operation) + ' ' +
                                std::to_string(times) + " 2>&1";
    std::FILE* const pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) throw std::runtime_error("cannot run a shell");
    std::string output;
    for (int c; (c = std::fgetc(pipe)) != EOF;) output += static_cast<char>(c);
    constexpr std::string_view label = "Collected : ";
    const auto at = output.find(label);
    if (pclose(pipe) != 0 || at == std::string::npos)
        throw std::runtime_error("valgrind failed:\n" + output);
    return std::stoull(output.substr(at + label.size()));
}

double instructions_of(const std::string& policy, std::string_view operation) {
    const auto more = count_instructions(policy, operation, many);
    const auto less = count_instructions(policy, operation, few);
    return static_cast<double>(more - less) / static_cast<double>(many - few);
}

void run(bool metrics) {
    std::FILE* const table = metrics ? stderr : stdout;
    const double loop = instructions_of(policies().begin()->first, nothing);
    std::fputs("| policy |", table);
    for (const Operation& operation : operations) std::fprintf(table, " %s |", operation.heading);
    std::fputs("\n| --- |", table);
    for (std::size_t i = 0; i < std::size(operations); ++i) std::fputs(" ---: |", table);
    for (const auto& [policy, repeat] : policies()) {
        std::fprintf(table, "\n| %s |", policy.c_str());
        for (const Operation& operation : operations) {
            const double count = instructions_of(policy, operation.name) - loop;
            std::fprintf(table, " %.0f |", count);
            std::fflush(table);
            if (metrics)
                std::printf("instructions.%s.%s %.1f\n", policy.c_str(), operation.name, count);
        }
    }
    std::fputs("\n", table);
}

}  // namespace

int main(int count, char** arguments) {
    const std::string_view option = count > 1 ? arguments[1] : "";
    try {
        if (option == "--repeat" && count == 5) {  // the part that is counted
            policies().at(arguments[2])(arguments[3], std::stoull(arguments[4]));
            return 0;
        }
        if (count > 2 || (count == 2 && option != "--metrics")) {
            std::fputs(usage, option == "--help" ? stdout : stderr);
            return option == "--help" ? 0 : 2;
        }
        run(option == "--metrics");
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "instructions: %s\n", error.what());
        return 1;
    }
}
