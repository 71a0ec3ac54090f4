#if defined(__linux__)

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

#include "drey/detail/fence.hpp"
#include "processes/user.hpp"
#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/threads.hpp"

/// Sandboxes that forbid membarrier(2), which is also what old kernels look like.

namespace {

/// From now on membarrier(2) fails with `error` in this process, and in what it executes.
bool forbid_membarrier(int error) {
    std::array<sock_filter, 4> filter{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) ==
               0;
}

struct Ended {
    int code;  // or minus the signal
    std::string said;
};

/// Runs one of the hidden tests below in a process of its own, which begins with `prepare()`.
template <class Prepare>
Ended run_hidden(const char* name, Prepare&& prepare) {
    std::array<int, 2> ends{};
    support::must(::pipe(ends.data()), "pipe");
    support::Descriptor read_end(ends[0]), write_end(ends[1]);
    const pid_t child = support::must(::fork(), "fork");
    if (child == 0) {
        ::dup2(write_end.get(), STDOUT_FILENO);
        ::dup2(write_end.get(), STDERR_FILENO);
        if (prepare()) ::execl("/proc/self/exe", "sandboxed", name, static_cast<char*>(nullptr));
        ::_exit(127);
    }
    write_end.close();
    Ended ended{};
    std::array<char, 4096> buffer;
    for (ssize_t n = 0; (n = ::read(read_end.get(), buffer.data(), buffer.size())) > 0;)
        ended.said.append(buffer.data(), static_cast<std::size_t>(n));
    int status = 0;
    support::must(::waitpid(child, &status, 0), "waitpid");
    ended.code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    return ended;
}

bool can_forbid() {
    if (run_hidden("hidden: nothing", [] { return forbid_membarrier(ENOSYS); }).code == 0)
        return true;
    WARN("SKIPPED: seccomp filters cannot be installed here");
    return false;
}

void use_in_threads(User& user) {
    std::atomic<std::size_t> wrong{0};
    support::in_threads(
        8, [&](std::size_t thread) { wrong += user.use(thread, support::ops(20'000)); });
    CHECK(wrong == 0);
    CHECK(user.valid());
    CHECK(user.empty() == 0);
}

}  // namespace

TEST_CASE("hidden: nothing", "[.]") {}

TEST_CASE("hidden: caches that have had no membarrier from the beginning", "[.]") {
    errno = 0;
    CHECK(::syscall(__NR_membarrier, 0, 0, 0) == -1);
    CHECK((errno == ENOSYS || errno == EPERM));
    const auto user = make_user();
    use_in_threads(*user);
    CHECK_FALSE(drey::detail::has_process_fence());
}

TEST_CASE("hidden: caches that lose membarrier", "[.]") {
    const auto user = make_user();
    use_in_threads(*user);
    if (!drey::detail::has_process_fence() || !forbid_membarrier(EPERM)) {
        WARN("nothing to lose");
        return;
    }
    use_in_threads(*user);
}

TEST_CASE("without membarrier caches fence their readers themselves", "[concurrent]") {
    if (!can_forbid()) return;
    for (const int error : {ENOSYS, EPERM}) {
        const auto ended =
            run_hidden("hidden: caches that have had no membarrier from the beginning",
                       [error] { return forbid_membarrier(error); });
        INFO(ended.said);
        CHECK(ended.code == 0);
    }
}

TEST_CASE("a sandbox that takes membarrier from caches in use ends the process, and says why") {
    if (!can_forbid()) return;
    const auto ended = run_hidden("hidden: caches that lose membarrier", [] { return true; });
    INFO(ended.said);
    if (ended.said.find("nothing to lose") != std::string::npos) return;
    CHECK(ended.code != 0);
    CHECK(ended.said.find("drey: membarrier(2), which worked when the process registered for it") !=
          std::string::npos);
}

#endif
