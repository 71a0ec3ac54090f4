#pragma once

#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(DREY_TEST_CATCH2)  // benchmarks and examples start servers too
#include "support/catch.hpp"
#endif
#include "support/process.hpp"

/// A real Redis server for a test: started on a free port, killed, paused and restarted at will.
namespace support {

/// A certificate authority, and certificates that it has signed for a server and for a client.
/// Takes the openssl command line tool, 3.0 or later.
class TlsFiles {
public:
    /// `names` are the server's, such as "DNS:localhost,IP:127.0.0.1".
    explicit TlsFiles(const std::string& names = "DNS:localhost,IP:127.0.0.1") {
        make("ca", {"-addext", "keyUsage=keyCertSign"});
        make("server", {"-CA", ca_file(), "-CAkey", folder_ / "ca.key", "-addext",
                        "subjectAltName=" + names});
        make("client", {"-CA", ca_file(), "-CAkey", folder_ / "ca.key"});
    }

    static bool available() { return !find_program("openssl").empty(); }

    std::string ca_file() const { return folder_ / "ca.crt"; }
    std::string server_cert() const { return folder_ / "server.crt"; }
    std::string server_key() const { return folder_ / "server.key"; }
    std::string client_cert() const { return folder_ / "client.crt"; }
    std::string client_key() const { return folder_ / "client.key"; }

private:
    void make(const std::string& name, const std::vector<std::string>& more) {
        std::vector<std::string> arguments{"openssl",
                                           "req",
                                           "-x509",
                                           "-newkey",
                                           "ec",
                                           "-pkeyopt",
                                           "ec_paramgen_curve:prime256v1",
                                           "-nodes",
                                           "-days",
                                           "2",
                                           "-subj",
                                           "/CN=drey test " + name,
                                           "-keyout",
                                           folder_ / (name + ".key"),
                                           "-out",
                                           folder_ / (name + ".crt")};
        arguments.insert(arguments.end(), more.begin(), more.end());
        if (Process(arguments).wait() != 0) throw std::runtime_error("openssl req failed");
    }

    TemporaryFolder folder_;
};

/// What a server said. The types are those of RESP2, and '_' for nil.
struct RedisReply {
    char type = '_';
    std::string text = {};                  // of '+', '-' and '$'
    long long integer = 0;                  // of ':'
    std::vector<RedisReply> elements = {};  // of '*'

    bool is_error() const { return type == '-'; }
    bool is_nil() const { return type == '_'; }
};

/// A blocking client for what a test itself has to say to a server. Not hiredis' own, whose write
/// to a dead server ends the process by SIGPIPE.
class RedisClient {
public:
    /// Through the unix socket at `path`, or, if there is none, to `port` of 127.0.0.1.
    explicit RedisClient(const std::string& path, std::uint16_t port = 0) {
        const bool is_path = !path.empty();
        socket_ = Descriptor(
            must(::socket(is_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
        const timeval patience{10, 0};
        for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
            must(::setsockopt(socket_.get(), SOL_SOCKET, option, &patience, sizeof patience),
                 "setsockopt");
        if (is_path) {
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            path.copy(address.sun_path, sizeof address.sun_path - 1);
            connect(address);
        } else {
            connect(loopback(port));
        }
    }

    /// Throws if there is no answer within 10 s.
    RedisReply command(const std::vector<std::string>& words) {
        send(words);
        return receive();
    }

    void send(const std::vector<std::string>& words) {
        std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
        for (const std::string& word : words)
            bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
        for (std::string_view left = bytes; !left.empty();)
            left.remove_prefix(static_cast<std::size_t>(
                must(::send(socket_.get(), left.data(), left.size(), MSG_NOSIGNAL), "send")));
    }

    /// Whether something comes within that time.
    bool wait(std::chrono::milliseconds within) const {
        pollfd socket{socket_.get(), POLLIN, 0};
        return ::poll(&socket, 1, static_cast<int>(within.count())) == 1;
    }

    RedisReply receive() {
        void* reply = nullptr;
        while (redisReaderGetReply(reader_.get(), &reply) == REDIS_OK && reply == nullptr) {
            std::array<char, 16384> bytes;
            const ssize_t count =
                must(::recv(socket_.get(), bytes.data(), bytes.size(), 0), "recv");
            if (count == 0) throw std::runtime_error("the server closed the connection");
            redisReaderFeed(reader_.get(), bytes.data(), static_cast<std::size_t>(count));
        }
        if (reply == nullptr) throw std::runtime_error(reader_->errstr);
        const std::unique_ptr<redisReply, void (*)(void*)> owner(static_cast<redisReply*>(reply),
                                                                 freeReplyObject);
        return copy(*owner);
    }

private:
    template <class Address>
    void connect(const Address& address) {
        must(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
             "connect");
    }

    static RedisReply copy(const redisReply& from) {
        RedisReply to;
        switch (from.type) {
            case REDIS_REPLY_STATUS:
                to.type = '+';
                break;
            case REDIS_REPLY_ERROR:
                to.type = '-';
                break;
            case REDIS_REPLY_STRING:
                to.type = '$';
                break;
            case REDIS_REPLY_INTEGER:
                to.type = ':';
                break;
            case REDIS_REPLY_ARRAY:
                to.type = '*';
                break;
            default:
                break;
        }
        if (from.str != nullptr) to.text.assign(from.str, static_cast<std::size_t>(from.len));
        to.integer = from.integer;
        for (std::size_t i = 0; i < static_cast<std::size_t>(from.elements); ++i)
            to.elements.push_back(copy(*from.element[i]));
        return to;
    }

    Descriptor socket_;
    std::unique_ptr<redisReader, void (*)(redisReader*)> reader_{redisReaderCreate(),
                                                                 redisReaderFree};
};

struct RedisServerOptions {
    std::vector<std::string> arguments = {};  ///< more for the command line: {"--maxmemory", "1mb"}
    std::string password = {};                ///< of the default user, in letters and digits
    const TlsFiles* tls = nullptr;            ///< also listen with TLS; must outlive the server
};

/// A server on a port of 127.0.0.1 and on a unix socket, that keeps nothing on disk. All of its
/// calls but `command` are for one thread at a time; see also Process about threads.
class RedisServer {
public:
    /// Returns when it answers.
    explicit RedisServer(RedisServerOptions options = {}) : options_(std::move(options)) {
        start();
    }

    /// Whether there is a server to start. DREY_REDIS_SERVER may name it.
    static bool available() { return !program().empty(); }

    /// Whether it was built with TLS, and certificates can be made.
    static bool has_tls() {
        static const bool has = [] {
            if (!available() || !TlsFiles::available()) return false;
            try {
                RedisServer server({.arguments = {"--tls-port", "0"}});
                return true;
            } catch (const std::exception&) {
                return false;
            }
        }();
        return has;
    }

    std::uint16_t port() const noexcept { return port_.number(); }
    std::uint16_t tls_port() const noexcept { return tls_port_.number(); }
    std::string socket_path() const { return folder_ / "redis.sock"; }

    std::string uri() const { return uri_at(port()); }
    std::string socket_uri() const { return "unix://" + credentials() + socket_path(); }
    std::string tls_uri() const {
        return "rediss://" + credentials() + "localhost:" + std::to_string(tls_port());
    }
    /// That of a proxy which listens at `port`.
    std::string uri_at(std::uint16_t port) const {
        return "redis://" + credentials() + "127.0.0.1:" + std::to_string(port);
    }

    pid_t process_id() const { return process_->id(); }
    bool running() { return process_->running(); }

    /// As the default user, through the unix socket. Throws if there is no answer. Thread-safe.
    RedisReply command(const std::vector<std::string>& words) {
        const std::lock_guard lock(mutex_);
        try {
            if (!client_) client_ = connect();
            return client_->command(words);
        } catch (...) {
            client_.reset();  // whatever it says next may answer this
            throw;
        }
    }

    /// Asks it to end, and waits until it has.
    void stop() {
        process_->resume();
        process_->terminate();
        gone();
    }

    /// Ends it at once, in the middle of whatever it does.
    void kill() {
        process_->kill();
        gone();
    }

    /// At the same port, and empty.
    void restart() {
        kill();
        start();
    }

    /// Again, after stop or kill. Returns when it answers.
    void start() {
        std::vector<std::string> arguments{
            program(), "--port", std::to_string(port()), "--bind", "127.0.0.1", "--unixsocket",
            socket_path(), "--dir", folder_ / "", "--save", "", "--appendonly", "no", "--daemonize",
            "no",
            // A replica waits this long for others to sync along with it: 5 s by default.
            "--repl-diskless-sync-delay", "0"};
        const auto add = [&](const std::vector<std::string>& more) {
            arguments.insert(arguments.end(), more.begin(), more.end());
        };
        if (!options_.password.empty()) add({"--requirepass", options_.password});
        if (options_.tls != nullptr)
            add({"--tls-port", std::to_string(tls_port()), "--tls-ca-cert-file",
                 options_.tls->ca_file(), "--tls-cert-file", options_.tls->server_cert(),
                 "--tls-key-file", options_.tls->server_key(), "--tls-auth-clients", "optional"});
        add(options_.arguments);

        process_.emplace(arguments, folder_ / "log");
        if (!eventually([&] { return answers() || !process_->running(); },
                        std::chrono::seconds(10)) ||
            !process_->running())
            throw std::runtime_error("redis-server did not start:\n" + log());
    }

    /// Stops it in its tracks, as a machine that hangs: connections are still accepted, by the
    /// kernel, and nothing is answered.
    void pause() { process_->pause(); }
    void resume() { process_->resume(); }

    /// What it has printed.
    std::string log() const {
        std::ifstream file(folder_ / "log");
        return {std::istreambuf_iterator<char>(file), {}};
    }

private:
    static std::string program() {
        const char* const set = std::getenv("DREY_REDIS_SERVER");
        if (set != nullptr && *set != '\0') return find_program(set);
        const std::string redis = find_program("redis-server");
        return !redis.empty() ? redis : find_program("valkey-server");
    }

    std::string credentials() const {
        return options_.password.empty() ? "" : ":" + options_.password + "@";
    }

    std::unique_ptr<RedisClient> connect() const {
        auto client = std::make_unique<RedisClient>(socket_path());
        if (!options_.password.empty()) client->command({"AUTH", options_.password});
        return client;
    }

    /// A refusal is an answer, but for the one that it makes while it loads its data.
    bool answers() const {
        try {
            const RedisReply reply = connect()->command({"PING"});
            return !reply.text.starts_with("LOADING");
        } catch (const std::exception&) {
            return false;
        }
    }

    void gone() {
        process_->wait();
        const std::lock_guard lock(mutex_);
        client_.reset();
    }

    const RedisServerOptions options_;
    const TemporaryFolder folder_;
    const ReservedPort port_, tls_port_;
    std::optional<Process> process_;

    std::mutex mutex_;
    std::unique_ptr<RedisClient> client_;  // guarded by mutex_
};

#if defined(DREY_TEST_CATCH2)

/// Says so if there is no server to test with; then there is nothing to do but return.
inline bool no_redis_server() {
    if (RedisServer::available()) return false;
    WARN("SKIPPED: no redis-server in PATH (Debian: apt-get install redis-server)");
    return true;
}

/// The same for one with TLS.
inline bool no_redis_server_with_tls() {
    if (no_redis_server()) return true;
    if (RedisServer::has_tls()) return false;
    WARN(
        "SKIPPED: redis-server was built without TLS, or there is no openssl to make certificates");
    return true;
}

#endif

}  // namespace support
