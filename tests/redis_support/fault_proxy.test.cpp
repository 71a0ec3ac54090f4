#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/fault_proxy.hpp"
#include "support/process.hpp"
#include "support/redis_server.hpp"

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using support::eventually;
using support::FaultProxy;
using support::no_redis_server;
using support::RedisClient;
using support::RedisServer;

/// A client that sees bytes, not replies.
class RawClient {
public:
    explicit RawClient(std::uint16_t port)
        : socket_(support::must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")) {
        const sockaddr_in to = support::loopback(port);
        support::must(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to),
                      "connect");
    }

    void send(std::string_view bytes) {
        support::must(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), "send");
    }

    /// One read: "" at the end, or why it failed.
    std::string read() {
        std::array<char, 65536> bytes;
        const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
        if (count < 0) return errno == ECONNRESET ? "reset" : "error";
        return {bytes.data(), static_cast<std::size_t>(count)};
    }

    /// Everything up to the end or a failure.
    std::string read_all() {
        std::string all;
        for (std::string piece = read(); !piece.empty(); piece = read()) {
            all += piece;
            if (piece == "reset" || piece == "error") break;
        }
        return all;
    }

    bool wait(std::chrono::milliseconds within) {
        pollfd polled{socket_.get(), POLLIN, 0};
        return ::poll(&polled, 1, static_cast<int>(within.count())) == 1;
    }

private:
    support::Descriptor socket_;
};

struct Fixture {
    RedisServer server;
    FaultProxy proxy{server.port()};

    RedisClient client() { return RedisClient("", proxy.port()); }
    RawClient raw_client() { return RawClient(proxy.port()); }

    /// Whether a new client is served as if there were no proxy.
    bool serves() { return client().command({"ECHO", "hello"}).text == "hello"; }
};

auto time_of(auto&& call) {
    const auto start = std::chrono::steady_clock::now();
    call();
    return std::chrono::steady_clock::now() - start;
}

}  // namespace

TEST_CASE("proxy forwards, and counts", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    {
        auto one = f.client(), other = f.client();
        CHECK(one.command({"SET", "a", "b"}).text == "OK");
        CHECK(other.command({"GET", "a"}).text == "b");
        CHECK(f.proxy.accepted() == 2);
        CHECK(f.proxy.open() == 2);
        CHECK(f.proxy.request_bytes() == "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n"s.size() +
                                             "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"s.size());
        CHECK(f.proxy.reply_bytes() == "+OK\r\n$1\r\nb\r\n"s.size());
    }
    CHECK(eventually([&] { return f.proxy.open() == 0; }));
    CHECK(f.proxy.accepted() == 2);
}

TEST_CASE("proxy forwards what is larger than any buffer", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    const std::string large(16 << 20, 'x');
    auto client = f.client();
    client.command({"SET", "large", large});
    CHECK(client.command({"GET", "large"}).text == large);
}

TEST_CASE("server's end is passed on, and so is its absence", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    auto client = f.raw_client();
    client.send("PING\r\n");
    CHECK(client.read() == "+PONG\r\n");
    f.server.kill();
    CHECK(client.read_all() == "");
    CHECK(eventually([&] { return f.proxy.open() == 0; }));
    CHECK(f.raw_client().read_all() == "");
    f.server.start();
    CHECK(f.serves());
}

TEST_CASE("client that leaves takes its connection to the server along", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    const auto clients = [&] {
        const std::string info = f.server.command({"INFO", "clients"}).text;
        const std::size_t at = info.find("connected_clients:");
        return std::stoi(info.substr(at + 18));
    };
    {
        auto client = f.client();
        client.command({"PING"});
        CHECK(clients() == 2);
    }
    CHECK(eventually([&] { return clients() == 1; }));
}

TEST_CASE("delay holds up both directions, and nobody else's thread", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    auto client = f.client();
    client.command({"PING"});
    f.proxy.delay(50ms);
    CHECK(time_of([&] { client.command({"PING"}); }) >= 100ms);
    const auto together = time_of([&] {
        std::vector<RedisClient> clients;
        for (int i = 0; i < 4; ++i) clients.push_back(f.client());
        for (RedisClient& each : clients) each.send({"PING"});
        for (RedisClient& each : clients) CHECK(each.receive().text == "PONG");
    });
    CHECK(together >= 100ms);
    CHECK(together < 400ms);
    f.proxy.heal();
    CHECK(client.command({"PING"}).text == "PONG");
}

TEST_CASE("trickle brings a reply byte by byte", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    f.proxy.trickle(5ms);
    auto client = f.raw_client();
    client.send("PING\r\n");
    std::vector<std::string> pieces;
    CHECK(time_of([&] {
              for (std::string all; all.size() < 7; all += pieces.back())
                  pieces.push_back(client.read());
          }) >= 30ms);
    std::string all;
    for (const std::string& piece : pieces) all += piece;
    CHECK(all == "+PONG\r\n");
    CHECK(pieces.size() > 1);  // 7 unless this thread was held up
    f.proxy.heal();
    client.send("PING\r\n");
    CHECK(client.read() == "+PONG\r\n");
}

TEST_CASE("reply is cut after as many bytes as asked", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    const std::size_t bytes = GENERATE(as<std::size_t>{}, 0, 1, 3, 7);
    auto before = f.raw_client();
    before.send("PING\r\n");
    CHECK(before.read() == "+PONG\r\n");
    f.proxy.cut_reply_after(bytes);
    before.send("PING\r\n");
    CHECK(before.read_all() == "+PONG\r\n"s.substr(0, bytes));
    auto after = f.raw_client();
    after.send("PING\r\nPING\r\n");
    CHECK(after.read_all() == "+PONG\r\n+PONG\r\n"s.substr(0, bytes));
    CHECK(eventually([&] { return f.proxy.open() == 0; }));
    f.proxy.heal();
    CHECK(f.serves());
}

TEST_CASE("fault that is asked for once happens once", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    auto one = f.raw_client(), other = f.raw_client();
    SECTION("a cut") {
        f.proxy.cut_reply_after(2, 1);
        one.send("PING\r\n");
        CHECK(one.read_all() == "+P");
    }
    SECTION("a reset") {
        f.proxy.reset_on_reply(1);
        one.send("PING\r\n");
        CHECK(one.read() == "reset");
    }
    other.send("PING\r\n");
    CHECK(other.read() == "+PONG\r\n");
    CHECK(f.serves());
}

TEST_CASE("connections are reset", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    auto client = f.raw_client();
    SECTION("now") {
        f.proxy.reset();
        CHECK(f.proxy.open() == 0);
        CHECK(client.read() == "reset");
        CHECK(f.serves());
    }
    SECTION("instead of a reply, though the server has done what was asked") {
        f.proxy.reset_on_reply();
        client.send("SET a b\r\n");
        CHECK(client.read() == "reset");
        CHECK(f.server.command({"GET", "a"}).text == "b");
        f.proxy.heal();
        CHECK(f.serves());
    }
}

TEST_CASE("nothing moves in a black hole, and everything does once it is healed",
          "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    auto before = f.client();
    before.command({"PING"});
    f.proxy.blackhole();
    auto after = f.client();
    before.send({"SET", "a", "b"});
    after.send({"PING"});
    CHECK_FALSE(before.wait(20ms));
    CHECK_FALSE(after.wait(0ms));
    CHECK(f.server.command({"GET", "a"}).is_nil());
    f.proxy.heal();
    CHECK(before.receive().text == "OK");
    CHECK(after.receive().text == "PONG");
}

TEST_CASE("client that gives up in a black hole is noticed", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    f.proxy.blackhole();
    {
        auto client = f.client();
        client.send({"PING"});
        CHECK(eventually([&] { return f.proxy.open() == 1; }));
    }
    CHECK(eventually([&] { return f.proxy.open() == 0; }));
}

TEST_CASE("connections are refused and accepted again", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    auto before = f.client();
    f.proxy.refuse();
    for (int i = 0; i < 1000; ++i) CHECK_THROWS_AS(f.client(), std::system_error);
    CHECK(before.command({"PING"}).text == "PONG");
    SECTION("when told") { f.proxy.accept(); }
    SECTION("when healed") { f.proxy.heal(); }
    CHECK(f.serves());
}

TEST_CASE("replies are corrupted as asked", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    f.proxy.corrupt([](std::string& bytes) { bytes.front() = '!'; });
    auto client = f.raw_client();
    client.send("PING\r\n");
    CHECK(client.read() == "!PONG\r\n");
    f.proxy.heal();
    CHECK(f.serves());
}

TEST_CASE("bytes that nobody sent reach the client", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    SECTION("unasked") {
        auto client = f.raw_client();
        client.send("PING\r\n");
        CHECK(client.read() == "+PONG\r\n");
        f.proxy.inject("$5\r\nother\r\n");
        CHECK(client.read() == "$5\r\nother\r\n");
        client.send("PING\r\n");
        CHECK(client.read() == "+PONG\r\n");
    }
    SECTION("in place of every answer") {
        f.proxy.nonsense("HTTP/1.1 400 Bad Request\r\n\r\n");
        auto client = f.raw_client();
        client.send("SET a b\r\n");
        CHECK(client.read() == "HTTP/1.1 400 Bad Request\r\n\r\n");
        CHECK(f.server.command({"GET", "a"}).is_nil());
        f.proxy.heal();
        client.send("PING\r\n");
        CHECK(client.read() == "+PONG\r\n");
    }
}

TEST_CASE("test acts between a request and its reply", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    auto client = f.client();
    client.command({"SET", "a", "old"});
    SECTION("on the server") {
        f.proxy.set_on_request([&](std::string_view bytes) {
            if (bytes.find("GET") != bytes.npos) f.server.command({"SET", "a", "new"});
        });
        CHECK(client.command({"GET", "a"}).text == "new");
    }
    SECTION("on the proxy itself") {
        f.proxy.set_on_request([&](std::string_view) { f.proxy.reset(); });
        CHECK_THROWS_AS(client.command({"GET", "a"}), std::system_error);
        f.proxy.set_on_request({});
        CHECK(f.serves());
    }
    SECTION("so that the request is lost on its way") {
        f.proxy.set_on_request([&](std::string_view) { f.proxy.blackhole(); });
        client.send({"SET", "a", "new"});
        CHECK_FALSE(client.wait(20ms));
        CHECK(f.server.command({"GET", "a"}).text == "old");
    }
}

TEST_CASE("proxy with nothing to do uses no processor time", "[harness][redis]") {
    if (no_redis_server()) return;
    Fixture f;
    auto client = f.client();
    client.command({"PING"});
    SECTION("idle") {}
    SECTION("black hole with requests waiting and a client gone") {
        f.proxy.blackhole();
        client.send({"PING"});
        auto other = f.client();
        other.send({"PING"});
    }
    SECTION("late replies") {
        f.proxy.delay(10s);
        client.send({"PING"});
    }
    SECTION("server paused, client gone, requests on their way") {
        f.server.pause();
        auto other = f.client();
        other.send({"SET", "a", std::string(100'000, 'x')});
    }
    std::this_thread::sleep_for(20ms);
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(50ms);
    CHECK(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC < 0.02);
}

TEST_CASE("proxy leaves neither thread nor descriptor behind", "[harness][redis]") {
    if (no_redis_server()) return;
    RedisServer server;
    std::thread([] {}).join();
    const auto descriptors = support::open_descriptors(), threads = support::running_threads();
    {
        FaultProxy proxy(server.port());
        RedisClient client("", proxy.port());
        client.command({"PING"});
        proxy.delay(10s);
        client.send({"PING"});
    }
    CHECK(eventually([&] { return support::running_threads() == threads; }));
    CHECK(support::open_descriptors() == descriptors);
}

TEST_CASE("faults come and go while many clients talk", "[harness][redis][concurrent]") {
    if (no_redis_server()) return;
    Fixture f;
    std::atomic<bool> done = false;
    std::atomic<std::size_t> served = 0, wrong = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&, name = "client" + std::to_string(i)] {
            while (!done) {
                try {
                    auto client = f.client();
                    for (int k = 0; k < 20 && !done; ++k)
                        if (client.command({"ECHO", name}).text == name)
                            ++served;
                        else
                            ++wrong;
                } catch (const std::exception&) {  // refused, cut, reset
                }
            }
        });
    for (int round = 0; round < 10; ++round) {
        f.proxy.trickle(1us);
        f.proxy.cut_reply_after(5, 3);
        f.proxy.reset();
        f.proxy.delay(100us);
        f.proxy.refuse();
        std::this_thread::sleep_for(1ms);
        f.proxy.blackhole();
        f.proxy.accept();
        std::this_thread::sleep_for(1ms);
        f.proxy.heal();
        const std::size_t before = served;
        CHECK(eventually([&] { return served > before + 10; }));
    }
    done = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(eventually([&] { return f.proxy.open() == 0; }));
}
