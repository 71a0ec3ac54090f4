#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drey/redis/command.hpp"
#include "support/catch.hpp"

using drey::redis::Command;
using namespace std::string_literals;

TEST_CASE("command is an array of its arguments, each with its length") {
    CHECK(Command{"PING"}.bytes() == "*1\r\n$4\r\nPING\r\n");
    CHECK(Command{"SET", "a", "bcd"}.bytes() == "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nbcd\r\n");
}

TEST_CASE("arguments may be empty or hold any bytes") {
    CHECK(Command{"SET", "", std::string_view()}.bytes() ==
          "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n");
    const std::string bytes = "a\r\n$1\0%s\xff"s;
    CHECK(Command{"ECHO", bytes}.bytes() == "*2\r\n$4\r\nECHO\r\n$9\r\n" + bytes + "\r\n");
}

TEST_CASE("command takes few and many arguments alike") {
    for (const std::size_t count : {1u, 7u, 8u, 9u, 10u, 1000u}) {
        std::vector<std::string> arguments;
        std::string expected = "*" + std::to_string(count) + "\r\n";
        for (std::size_t i = 0; i < count; ++i) {
            const std::string& one = arguments.emplace_back(std::to_string(i * i));
            expected += "$" + std::to_string(one.size()) + "\r\n" + one + "\r\n";
        }
        const std::vector<std::string_view> views(arguments.begin(), arguments.end());
        CHECK(Command(views).bytes() == expected);
    }
}

TEST_CASE("large argument arrives whole") {
    const std::string large(std::size_t{5} << 20, 'x');
    const Command command{"SET", "key", large};
    CHECK(command.bytes().size() ==
          large.size() + "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n"s.size() + "$5242880\r\n\r\n"s.size());
    CHECK(command.bytes().find(large) != std::string_view::npos);
}

TEST_CASE("moved command takes its bytes along") {
    Command one{"PING"};
    Command other{"ECHO", "x"};
    const std::string ping(one.bytes());
    Command moved = std::move(one);
    CHECK(moved.bytes() == ping);
    CHECK(one.bytes().empty());  // NOLINT: what is left is to be destroyed
    other = std::move(moved);
    CHECK(other.bytes() == ping);
}
