#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <deque>
#include <functional>
#include <future>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/process.hpp"

namespace support {

/// Stands between a client and a server on this machine and does to their bytes what networks do.
/// Every call may come from any thread, has happened when it returns, and is for the connections
/// that are open as well as for those to come. Faults add up until `heal`.
///
/// One thread owns all of the state and never waits but in poll; calls travel to it as tasks. So
/// nothing is locked, and the hooks, which it runs, may themselves call the proxy.
class FaultProxy {
public:
    using Duration = std::chrono::nanoseconds;
    static constexpr std::size_t always = std::numeric_limits<std::size_t>::max();

    /// Forwards to that port of 127.0.0.1.
    explicit FaultProxy(std::uint16_t upstream) : upstream_(upstream) {
        listen();
        thread_ = std::thread([this] { run(); });
    }
    FaultProxy(const FaultProxy&) = delete;
    FaultProxy& operator=(const FaultProxy&) = delete;
    ~FaultProxy() {
        now([this] { stopped_ = true; });
        thread_.join();
    }

    std::uint16_t port() const noexcept { return port_.number(); }

    // ---- faults

    /// Each piece of data, in each direction, travels that much longer.
    void delay(Duration by) {
        now([=, this] { faults_.delay = by; });
    }

    /// Replies arrive one byte at a time, that far apart.
    void trickle(Duration apart = std::chrono::microseconds(100)) {
        now([=, this] { faults_.trickle = apart; });
    }

    /// Closes a connection once that many more bytes of replies have passed on it; at 0, instead of
    /// its next reply. Happens `times` times in all.
    void cut_reply_after(std::size_t bytes, std::size_t times = always) {
        now([=, this] { break_replies({bytes, times, false}); });
    }

    /// Resets a connection instead of passing its next reply, `times` times in all.
    void reset_on_reply(std::size_t times = always) {
        now([=, this] { break_replies({0, times, true}); });
    }

    /// Resets every connection now. Connections made later are well.
    void reset() {
        now([this] {
            accept_all();  // those that their clients see as made already
            for (auto& connection : connections_) hang_up(*connection, true);
        });
    }

    /// Nothing moves any more: connections are accepted, requests and replies stay where they are.
    /// As when a cable is cut; once healed, they move on.
    void blackhole() {
        now([this] { faults_.blackhole = true; });
    }

    /// New connections are refused. Those that are open are not touched.
    void refuse() {
        now([this] {
            accept_all();
            listener_.close();
        });
    }
    /// No longer.
    void accept() {
        now([this] { listen(); });
    }

    /// Replies pass through that function first. They come in pieces of any size.
    void corrupt(std::function<void(std::string&)> change) {
        now([&] { faults_.corrupt = std::move(change); });
    }

    /// Sends that to every client now, as if the server had.
    void inject(std::string bytes) {
        now([&] {
            for (auto& connection : connections_) push(connection->replies, bytes);
        });
    }

    /// Answers whatever comes with that, in place of the server.
    void nonsense(std::string bytes) {
        now([&] { faults_.nonsense = std::move(bytes); });
    }

    /// Undoes all of the above but what has been done to connections.
    void heal() {
        now([this] {
            faults_ = {};
            for (auto& connection : connections_) connection->passes = always;
            listen();
        });
    }

    /// Called with each piece of a request before it is forwarded, on the proxy's thread: nothing
    /// moves until it returns, and it must not wait for a thread that calls the proxy.
    void set_on_request(std::function<void(std::string_view bytes)> hook) {
        now([&] { on_request_ = std::move(hook); });
    }

    // ---- what has happened

    std::size_t accepted() { return value_of(accepted_); }
    std::size_t open() { return value_of(open_); }  ///< by their clients, as far as noticed
    std::size_t request_bytes() { return value_of(request_bytes_); }  ///< forwarded
    std::size_t reply_bytes() { return value_of(reply_bytes_); }

private:
    using Clock = std::chrono::steady_clock;

    /// Beyond that, one end waits for the other, as it would without a proxy.
    static constexpr std::size_t most_queued = std::size_t{1} << 20;

    struct Break {
        std::size_t after = always, times = 0;
        bool by_reset = false;
    };
    struct Faults {
        Duration delay{};
        std::optional<Duration> trickle = {};
        std::optional<std::string> nonsense = {};
        std::function<void(std::string&)> corrupt = {};
        Break breaks = {};
        bool blackhole = false;
    };

    struct Piece {
        Clock::time_point due;
        std::string bytes;
        std::size_t sent = 0;
    };
    /// What is on its way in one direction. Times are in order, since the first piece holds up the
    /// rest.
    struct Queue {
        std::deque<Piece> pieces;
        std::size_t bytes = 0;
    };
    struct Connection {
        Descriptor client, server;
        Queue requests, replies;
        std::size_t passes = always;  // bytes of replies until it breaks
        bool server_ended = false;

        bool dead() const { return !client && !server; }
    };

    // ---- calls

    template <class Call>
    void now(Call call) {
        if (std::this_thread::get_id() == thread_.get_id()) return call();  // out of a hook
        std::packaged_task<void()> task(std::move(call));
        auto done = task.get_future();
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(task));
        }
        must(::eventfd_write(woken_.get(), 1), "eventfd_write");
        done.get();
    }

    /// On the thread, since a client may have a reply before it has been counted.
    std::size_t value_of(const std::size_t& counter) {
        std::size_t value = 0;
        now([&] {
            accept_all();
            value = counter;
        });
        return value;
    }

    void run_tasks() {
        eventfd_t ignored = 0;
        ::eventfd_read(woken_.get(), &ignored);
        std::vector<std::packaged_task<void()>> tasks;
        {
            const std::lock_guard lock(mutex_);
            tasks.swap(tasks_);
        }
        for (auto& task : tasks) task();
    }

    // ---- connections

    void listen() {
        if (listener_) return;
        Descriptor socket = bound_socket(port_.number());
        must(::listen(socket.get(), SOMAXCONN), "listen");
        listener_ = std::move(socket);
    }

    void accept_all() {
        while (listener_) {
            Descriptor client(
                ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
            if (!client) return;
            send_at_once(client);
            auto connection = std::make_unique<Connection>();
            connection->client = std::move(client);
            connection->passes = faults_.breaks.after;
            ++accepted_;
            ++open_;
            if (!faults_.nonsense && !faults_.blackhole) dial(*connection);
            connections_.push_back(std::move(connection));
        }
    }

    /// Never waits. That the server refuses shows when it is read from.
    void dial(Connection& connection) {
        Descriptor server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        send_at_once(server);
        const sockaddr_in address = loopback(upstream_);
        if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) <
                0 &&
            errno != EINPROGRESS)
            return hang_up(connection, false);
        connection.server = std::move(server);
    }

    /// Else the kernel would put pieces together that a fault took apart.
    static void send_at_once(const Descriptor& socket) {
        const int yes = 1;
        ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }

    void hang_up(Connection& connection, bool by_reset) {
        close_client(connection, by_reset);
        connection.server.close();
    }

    void close_client(Connection& connection, bool by_reset) {
        if (!connection.client) return;
        const linger none{1, 0};
        if (by_reset)
            ::setsockopt(connection.client.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
        connection.client.close();
        --open_;
    }

    void break_replies(Break breaks) {
        faults_.breaks = breaks;
        for (auto& connection : connections_) connection->passes = breaks.after;
    }

    // ---- bytes

    void push(Queue& queue, std::string bytes) {
        if (bytes.empty()) return;
        queue.bytes += bytes.size();
        queue.pieces.push_back({Clock::now() + faults_.delay, std::move(bytes), 0});
    }

    /// What there is to read, up to a buffer full; nothing at the end of the stream.
    static std::optional<std::string> read(const Descriptor& from) {
        std::string bytes(65536, '\0');
        const ssize_t count = ::recv(from.get(), bytes.data(), bytes.size(), 0);
        if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return {};
        bytes.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
        return bytes;
    }

    void read_requests(Connection& connection) {
        const auto bytes = read(connection.client);
        if (!bytes) {
            close_client(connection, false);
            connection.replies = {};
            return;
        }
        if (bytes->empty()) return;
        if (on_request_) {
            const auto hook = on_request_;  // it may set another
            hook(*bytes);
            if (!connection.client) return;
        }
        if (faults_.nonsense) return push(connection.replies, *faults_.nonsense);
        push(connection.requests, *bytes);
        if (!connection.server && !connection.server_ended) dial(connection);
    }

    void read_replies(Connection& connection) {
        auto bytes = read(connection.server);
        if (!bytes) {
            connection.server.close();
            connection.server_ended = true;
            connection.requests = {};
            return;
        }
        if (faults_.corrupt && !bytes->empty()) {
            const auto change = faults_.corrupt;
            change(*bytes);
        }
        if (connection.client) push(connection.replies, *std::move(bytes));
    }

    /// Whether the first piece may go now.
    static bool due(const Queue& queue, Clock::time_point time) {
        return !queue.pieces.empty() && queue.pieces.front().due <= time;
    }

    /// Takes as much off the queue as the socket takes of its first `most` bytes that are due.
    /// Nothing if the socket is broken.
    static std::optional<std::size_t> write(Queue& queue, const Descriptor& to, std::size_t most) {
        std::size_t total = 0;
        while (total < most && due(queue, Clock::now())) {
            Piece& piece = queue.pieces.front();
            const std::size_t size = std::min(piece.bytes.size() - piece.sent, most - total);
            const ssize_t sent =
                ::send(to.get(), piece.bytes.data() + piece.sent, size, MSG_NOSIGNAL);
            if (sent < 0 && (errno == EAGAIN || errno == EINTR)) break;
            if (sent < 0) return {};
            const auto count = static_cast<std::size_t>(sent);
            total += count;
            queue.bytes -= count;
            piece.sent += count;
            if (piece.sent == piece.bytes.size()) queue.pieces.pop_front();
        }
        return total;
    }

    void write_requests(Connection& connection) {
        const auto sent = write(connection.requests, connection.server, always);
        if (!sent) {  // its last reply may still be there to read
            connection.requests = {};
            return;
        }
        request_bytes_ += *sent;
    }

    void write_replies(Connection& connection) {
        if (!due(connection.replies, Clock::now())) return;
        if (connection.passes > 0) {
            const std::size_t most = faults_.trickle ? 1 : connection.passes;
            const auto sent = write(connection.replies, connection.client, most);
            if (!sent) return hang_up(connection, false);
            reply_bytes_ += *sent;
            if (connection.passes != always) connection.passes -= *sent;
            if (faults_.trickle && *sent > 0 && !connection.replies.pieces.empty())
                connection.replies.pieces.front().due = Clock::now() + *faults_.trickle;
        }
        if (connection.passes > 0) return;
        hang_up(connection, faults_.breaks.by_reset);
        if (faults_.breaks.times != always && --faults_.breaks.times == 0) break_replies({});
    }

    void serve(Connection& connection, short client_events, short server_events) {
        if (faults_.blackhole) {
            if (client_events & (POLLRDHUP | POLLHUP | POLLERR)) hang_up(connection, false);
            return;
        }
        if (connection.client && client_events & (POLLIN | POLLHUP | POLLERR))
            read_requests(connection);
        if (connection.server && server_events & (POLLIN | POLLHUP | POLLERR))
            read_replies(connection);
        if (faults_.blackhole) return;  // a hook's doing
        if (connection.server) write_requests(connection);
        if (connection.client) write_replies(connection);
        // Who has ended is told once it has been told the rest.
        if (!connection.client && connection.requests.pieces.empty()) connection.server.close();
        if (connection.server_ended && connection.replies.pieces.empty())
            close_client(connection, false);
    }

    // ---- the loop

    void run() {
        std::vector<pollfd> polled;
        while (!stopped_) {
            polled.clear();
            polled.push_back({woken_.get(), POLLIN, 0});
            polled.push_back({listener_ ? listener_.get() : -1, POLLIN, 0});
            const auto time = Clock::now();
            auto next = Clock::time_point::max();
            for (const auto& connection : connections_) {
                polled.push_back(wanted(connection->client, connection->requests,
                                        connection->replies, time, POLLRDHUP));
                polled.push_back(
                    wanted(connection->server, connection->replies, connection->requests, time, 0));
                if (faults_.blackhole) continue;
                for (const Queue* queue : {&connection->requests, &connection->replies})
                    if (!queue->pieces.empty() && queue->pieces.front().due > time)
                        next = std::min(next, queue->pieces.front().due);
            }
            wait(polled, time, next);

            const std::size_t served = connections_.size();  // accepting adds some
            for (std::size_t i = 0; i < served; ++i)
                serve(*connections_[i], polled[2 + 2 * i].revents, polled[3 + 2 * i].revents);
            if (polled[1].revents != 0) accept_all();
            if (polled[0].revents != 0) run_tasks();
            std::erase_if(connections_, [](const auto& each) { return each->dead(); });
        }
    }

    /// What to wait for at a socket, given what comes from it and what goes to it. A socket of
    /// which nothing is wanted is not polled at all, since an error would be reported again and
    /// again.
    pollfd wanted(const Descriptor& socket, const Queue& from, const Queue& to,
                  Clock::time_point time, short in_blackhole) const {
        short events = in_blackhole;
        if (!faults_.blackhole) {
            events = 0;
            if (from.bytes < most_queued) events |= POLLIN;
            if (due(to, time)) events |= POLLOUT;
        }
        return {socket && events != 0 ? socket.get() : -1, events, 0};
    }

    static void wait(std::vector<pollfd>& polled, Clock::time_point time, Clock::time_point next) {
        timespec timeout{};
        if (next != Clock::time_point::max()) {
            const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(next - time);
            timeout.tv_sec = static_cast<std::time_t>(left.count() / 1'000'000'000);
            timeout.tv_nsec = static_cast<long>(left.count() % 1'000'000'000);
        }
        ::ppoll(polled.data(), polled.size(), next != Clock::time_point::max() ? &timeout : nullptr,
                nullptr);
    }

    const std::uint16_t upstream_;
    const ReservedPort port_;
    const Descriptor woken_{must(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")};

    std::mutex mutex_;
    std::vector<std::packaged_task<void()>> tasks_;  // guarded by mutex_

    // Of the thread alone.
    Descriptor listener_;
    std::vector<std::unique_ptr<Connection>> connections_;
    Faults faults_;
    std::function<void(std::string_view)> on_request_;
    std::size_t accepted_ = 0, open_ = 0, request_bytes_ = 0, reply_bytes_ = 0;
    bool stopped_ = false;

    std::thread thread_;
};

}  // namespace support
