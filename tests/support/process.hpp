#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

/// What tests need of the operating system: other processes, descriptors, ports,
/// temporary folders. Linux.
namespace support {

/// The result of a system call, if it went well.
template <class Result>
Result must(Result result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

/// A file descriptor, closed in the end.
class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int fd) noexcept : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        if (this != &other) {
            close();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    ~Descriptor() { close(); }

    int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    void close() noexcept {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }

private:
    int fd_ = -1;
};

inline sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

/// A TCP socket bound to a port of 127.0.0.1; port 0 is any that is free.
inline Descriptor bound_socket(std::uint16_t port) {
    Descriptor made(
        must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket"));
    const int yes = 1;
    must(::setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), "setsockopt");
    const sockaddr_in address = loopback(port);
    must(::bind(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
    return made;
}

/// A port that stays ours although nobody listens at it.
///
/// A socket is bound to it and never listens, which SO_REUSEADDR lets others do. Without it, the
/// port of a server that was killed could go to another program; or to a client of this very port
/// as its own, which then reaches itself instead of being refused.
class ReservedPort {
public:
    ReservedPort() : socket_(bound_socket(0)) {
        sockaddr_in address{};
        socklen_t size = sizeof address;
        must(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size),
             "getsockname");
        number_ = ntohs(address.sin_port);
    }

    std::uint16_t number() const noexcept { return number_; }

private:
    Descriptor socket_;
    std::uint16_t number_;
};

/// A fresh folder, removed with all that is in it.
class TemporaryFolder {
public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "drey-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) must(-1, "mkdtemp");
        path_ = name;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::string operator/(const std::string& name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

/// Where a program is, in PATH or where distributions put servers; empty if nowhere.
inline std::string find_program(const std::string& name) {
    if (name.find('/') != name.npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
    const char* const set = std::getenv("PATH");
    const std::string folders = (set != nullptr ? set : "") + std::string(":/usr/bin:/usr/sbin");
    for (std::size_t at = 0; at <= folders.size();) {
        const std::size_t end = std::min(folders.find(':', at), folders.size());
        const std::string path = folders.substr(at, end - at) + "/" + name;
        if (::access(path.c_str(), X_OK) == 0) return path;
        at = end + 1;
    }
    return {};
}

/// Another program, run as a child that does not outlive this object. For one thread at a time.
///
/// Nor does it outlive the *thread* that started it: that is what Linux takes for the parent's
/// death. Start it where it may as well die.
class Process {
public:
    /// Runs `arguments[0]` with them. It reads nothing, and what it prints goes to the
    /// file `output`. Throws if it cannot be run.
    explicit Process(const std::vector<std::string>& arguments,
                     const std::string& output = "/dev/null") {
        // Whatever allocates happens here: between fork and exec of a program with threads, only
        // system calls are safe.
        const std::string program = find_program(arguments.at(0));
        std::vector<char*> argv;
        for (const std::string& each : arguments) argv.push_back(const_cast<char*>(each.c_str()));
        argv.push_back(nullptr);
        Descriptor file(
            must(::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), "open"));
        Descriptor nothing(must(::open("/dev/null", O_RDONLY | O_CLOEXEC), "open"));
        std::array<int, 2> ends{};
        must(::pipe2(ends.data(), O_CLOEXEC), "pipe2");
        Descriptor told(ends[0]), tell(ends[1]);

        const pid_t parent = ::getpid();
        id_ = must(::fork(), "fork");
        if (id_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent) ::_exit(126);  // it died before that took effect
            ::dup2(nothing.get(), STDIN_FILENO);
            ::dup2(file.get(), STDOUT_FILENO);
            ::dup2(file.get(), STDERR_FILENO);
            // A socket that the child holds too is not closed when the test closes it.
            for (int fd = 3; fd < 4096; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
            ::execv(program.c_str(), argv.data());
            const int why = errno;
            [[maybe_unused]] const auto written = ::write(tell.get(), &why, sizeof why);
            ::_exit(127);
        }
        tell.close();
        int why = 0;
        if (::read(told.get(), &why, sizeof why) == static_cast<ssize_t>(sizeof why)) {
            wait();
            throw std::system_error(why, std::generic_category(), "cannot run " + arguments[0]);
        }
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() {
        kill();
        wait();
    }

    pid_t id() const noexcept { return id_; }

    bool running() {
        if (!ended_ && ::waitpid(id_, &status_, WNOHANG) == id_) ended_ = true;
        return !ended_;
    }

    /// Until it ends. Its exit code, or minus the signal that killed it.
    int wait() {
        while (!ended_) {
            if (::waitpid(id_, &status_, 0) == id_ || errno != EINTR) ended_ = true;
        }
        return WIFSIGNALED(status_) ? -WTERMSIG(status_) : WEXITSTATUS(status_);
    }

    void terminate() { signal(SIGTERM); }
    void kill() { signal(SIGKILL); }

    /// Stops it in its tracks: it does nothing more once this returns.
    void pause() {
        signal(SIGSTOP);
        int status = 0;
        if (!ended_ && ::waitpid(id_, &status, WUNTRACED) == id_ && !WIFSTOPPED(status)) {
            status_ = status;
            ended_ = true;
        }
    }
    void resume() { signal(SIGCONT); }

    void signal(int number) {
        if (running()) ::kill(id_, number);
    }

private:
    pid_t id_ = -1;
    int status_ = 0;
    bool ended_ = false;
};

/// How many files, sockets and pipes this process holds open.
inline std::size_t open_descriptors() {
    const auto all = std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    return static_cast<std::size_t>(all) - 1;  // without that of the look itself
}

/// How many threads this process has.
inline std::size_t running_threads() {
    const auto all = std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
    return static_cast<std::size_t>(all);
}

/// Waits for what another process or thread is about to do; false if it does not.
template <class Condition>
bool eventually(Condition&& holds, std::chrono::milliseconds within = std::chrono::seconds(5)) {
    const auto deadline = std::chrono::steady_clock::now() + within;
    while (!holds()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

}  // namespace support
