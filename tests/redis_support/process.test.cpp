#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <thread>

#include "support/catch.hpp"
#include "support/process.hpp"

namespace {

using support::Process;

std::string content(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// As the system names it: R, S, T, Z...; nothing if there is no such process.
std::string state_of(pid_t id) {
    const std::string all = content("/proc/" + std::to_string(id) + "/stat");
    const std::size_t at = all.rfind(')');
    return at == all.npos ? "" : all.substr(at + 2, 1);
}

}  // namespace

TEST_CASE("process runs, prints into a file and tells how it ended", "[harness]") {
    const support::TemporaryFolder folder;
    Process process({"sh", "-c", "echo to out; echo to err >&2; exit 7"}, folder / "said");
    CHECK(process.wait() == 7);
    CHECK_FALSE(process.running());
    CHECK(process.wait() == 7);
    CHECK(content(folder / "said") == "to out\nto err\n");
}

TEST_CASE("program that cannot be run is an error, and no child remains", "[harness]") {
    CHECK_THROWS_AS(Process({"no-such-program-anywhere"}), std::system_error);
    CHECK_THROWS_AS(Process({"/etc/passwd"}), std::system_error);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("process ends with its object", "[harness]") {
    pid_t id = 0;
    {
        Process process({"sleep", "60"});
        id = process.id();
        CHECK(process.running());
    }
    CHECK(state_of(id) == "");
}

TEST_CASE("process is killed, terminated, paused and resumed", "[harness]") {
    Process process({"sleep", "60"});
    process.pause();
    CHECK(state_of(process.id()) == "T");
    CHECK(process.running());
    process.resume();
    CHECK(support::eventually([&] { return state_of(process.id()) == "S"; }));
    SECTION("killed") {
        process.kill();
        CHECK(process.wait() == -SIGKILL);
    }
    SECTION("terminated") {
        process.terminate();
        CHECK(process.wait() == -SIGTERM);
    }
    SECTION("killed while paused") {
        process.pause();
        process.kill();
        CHECK(process.wait() == -SIGKILL);
        process.pause();
        CHECK(process.wait() == -SIGKILL);
    }
}

TEST_CASE("child holds none of this process's descriptors", "[harness]") {
    const support::TemporaryFolder folder;
    const support::Descriptor leaky(::open("/dev/null", O_RDONLY));  // without O_CLOEXEC
    Process process({"sh", "-c", "ls /proc/$$/fd"}, folder / "said");
    process.wait();
    const std::string held = "\n" + content(folder / "said");
    CHECK_THAT(held,
               !Catch::Matchers::ContainsSubstring("\n" + std::to_string(leaky.get()) + "\n"));
}

TEST_CASE("leaked descriptors and threads are seen", "[harness]") {
    const std::size_t descriptors = support::open_descriptors();
    {
        const support::Descriptor one(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        CHECK(support::open_descriptors() == descriptors + 1);
    }
    CHECK(support::open_descriptors() == descriptors);

    std::thread([] {}).join();  // some sanitizers start a thread of their own with the first
    const std::size_t threads = support::running_threads();
    std::atomic<bool> done = false;
    std::thread thread([&] { done.wait(false); });
    CHECK(support::running_threads() == threads + 1);
    done = true;
    done.notify_one();
    thread.join();
    CHECK(support::eventually([&] { return support::running_threads() == threads; }));
}

TEST_CASE("reserved port refuses connections until somebody listens", "[harness]") {
    const support::ReservedPort port;
    const auto connects = [&] {
        const support::Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const sockaddr_in to = support::loopback(port.number());
        return ::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    };
    CHECK_FALSE(connects());
    {
        const support::Descriptor listener = support::bound_socket(port.number());
        REQUIRE(::listen(listener.get(), 1) == 0);
        CHECK(connects());
    }
    CHECK_FALSE(connects());
}
