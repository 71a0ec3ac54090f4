#pragma once

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>

/// What the examples with more than one process need of the operating system. Linux.
namespace example {

/// Objects that this process and those it forks have in common: atomics, and what holds only them.
template <class T>
class Shared {
    static_assert(std::is_trivially_destructible_v<T>);

public:
    explicit Shared(std::size_t count = 1) : bytes_(count * sizeof(T)) {
        void* const memory =
            ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
        first_ = static_cast<T*>(memory);
        std::uninitialized_value_construct_n(first_, count);
    }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() { ::munmap(first_, bytes_); }

    T& operator[](std::size_t index) const noexcept { return first_[index]; }
    T& operator*() const noexcept { return *first_; }
    T* operator->() const noexcept { return first_; }

private:
    std::size_t bytes_;
    T* first_;
};

/// A copy of this process that runs `work()`, whose result is its exit code, and nothing else: no
/// destructor of what it was copied with. Make it while there is one thread. It does not outlive
/// this object.
class Fork {
public:
    template <class Work>
    explicit Fork(Work&& work) {
        const pid_t parent = ::getpid();
        id_ = ::fork();
        if (id_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (id_ > 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(126);  // it died before that took effect
        // Ctrl-C reaches all processes; the parent decides what comes of it.
        std::signal(SIGINT, SIG_IGN);
        ::_exit(work());
    }
    Fork(const Fork&) = delete;
    Fork& operator=(const Fork&) = delete;
    ~Fork() {
        if (!exit_code()) ::kill(id_, SIGKILL);
        while (!exit_code(0)) {
        }
    }

    /// How it ended: its exit code, or minus the signal that ended it; nothing while it runs.
    /// `how` goes to waitpid: 0 waits.
    std::optional<int> exit_code(int how = WNOHANG) {
        int status = 0;
        if (!ended_ && ::waitpid(id_, &status, how) == id_)
            ended_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
        return ended_;
    }

private:
    pid_t id_;
    std::optional<int> ended_;
};

}  // namespace example
