/// TLS: that it works, that it trusts nobody by mistake, and that its faults are like any others.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "redis_faults/faulty.hpp"

using namespace faults;
using Catch::Matchers::ContainsSubstring;

namespace {

const support::TlsFiles& files() {
    static const support::TlsFiles made;
    return made;
}

/// A server with TLS, behind a proxy that sees only what is encrypted.
class Secure {
public:
    RedisServer server;
    FaultProxy proxy{server.tls_port()};
    drey::ManualClock clock{1h};
    ErrorLog errors;

    explicit Secure(std::vector<std::string> arguments = {})
        : server({.arguments = std::move(arguments), .password = "secret", .tls = &files()}) {
        server.command({"PING"});
    }

    drey::RedisOptions options(drey::Ttl timeout = ample) {
        return {.uri = "rediss://:secret@localhost:" + std::to_string(proxy.port()),
                .connect_timeout = timeout,
                .timeout = timeout,
                .breaker = {.failures = 1000},
                .tls = {.ca_file = files().ca_file()},
                .on_error = [this](const drey::Error& error) { errors.add(error); },
                .clock = clock};
    }

    /// What must be so if no connection can be made.
    void check_fails(drey::RedisOptions options, Errc kind = Errc::tls) {
        Cache cache(std::move(options));
        CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
        CHECK_FALSE(cache.put("key", "value"));
        const auto found = cache.find("key");
        INFO(errors.last().reason);
        CHECK(found.error() == kind);
        CHECK_FALSE(cache.status().connected);
        CHECK(server.command({"EXISTS", "drey:key"}).integer == 0);
        for (const auto& error : errors.all()) {
            CHECK(error.code == kind);
            CHECK(error.reason.find("secret") == std::string::npos);
        }
    }
};

bool works(Cache& cache) {
    return cache.put("works", "value") && cache.get("works") == "value" &&
           cache.erase("works") == 1;
}

/// Another certificate for localhost, made by openssl.
class OtherCertificate {
public:
    enum class Kind { self_signed, expired };

    explicit OtherCertificate(Kind kind) {
        std::vector<std::string> request{"openssl",
                                         "req",
                                         "-newkey",
                                         "ec",
                                         "-pkeyopt",
                                         "ec_paramgen_curve:prime256v1",
                                         "-nodes",
                                         "-subj",
                                         "/CN=other",
                                         "-addext",
                                         "subjectAltName=DNS:localhost",
                                         "-keyout",
                                         key()};
        if (kind == Kind::self_signed) {
            run(request, {"-x509", "-out", certificate()});
            return;
        }
        run(request, {"-new", "-out", folder_ / "request"});
        const std::string ca = files().ca_file(), ca_key = ca.substr(0, ca.size() - 3) + "key";
        run({"openssl", "x509", "-req", "-in", folder_ / "request", "-out", certificate()},
            {"-CA", ca, "-CAkey", ca_key, "-copy_extensions", "copyall", "-days", "-1"});
    }
    std::vector<std::string> arguments() const {
        return {"--tls-cert-file", certificate(), "--tls-key-file", key()};
    }
    std::string certificate() const { return folder_ / "crt"; }
    std::string key() const { return folder_ / "key"; }

private:
    static void run(std::vector<std::string> arguments, const std::vector<std::string>& more) {
        arguments.insert(arguments.end(), more.begin(), more.end());
        REQUIRE(support::Process(arguments).wait() == 0);
    }

    support::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("every call works over TLS", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s;
    auto options = s.options();
    options.mode = both_modes();
    if (GENERATE(false, true)) s.server.command({"CONFIG", "SET", "tls-protocols", "TLSv1.2"});
    const LeakCheck leak_check;
    {
        Cache cache(options);
        REQUIRE(cache.put("key", "value"));
        CHECK(cache.get("key") == "value");
        CHECK(cache.find("nothing").is_miss());
        CHECK(cache.contains("key"));
        CHECK(cache.put_if_absent("other", "value"));
        CHECK(cache.update("other", [](auto) { return std::optional("new"s); }));
        CHECK(cache.put_many({{"a", "1"}, {"b", "2"}}) == 2);
        CHECK(cache.get_many({"a", "nothing", "b"}) ==
              std::vector<std::optional<std::string>>{"1", std::nullopt, "2"});
        CHECK(cache.take("a") == "1");
        CHECK(cache.get_or_load("loaded", [] { return "loaded"s; }) == "loaded");
        CHECK(cache.get("loaded") == "loaded");
        CHECK(cache.put("large", large));
        CHECK((cache.get("large") == large));
        CHECK(cache.erase("large") == 1);
        CHECK(cache.size() == 4);
        CHECK(cache.erase_matching("b*") == 1);
        CHECK(cache.clear() == 3);
        const auto status = cache.status();
        CHECK(status.connected);
        CHECK(status.address == "localhost:" + std::to_string(s.proxy.port()));
        CHECK(s.errors.size() == 0);
        CHECK(s.proxy.accepted() == 1);
    }
    CHECK(eventually([&] { return s.proxy.open() == 0; }));
}

TEST_CASE("connection with TLS is not remade before what may not be repeated", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s;
    auto options = s.options();
    options.mode = both_modes();
    Cache cache(options);
    // The server's session tickets come when they like; they are no reply that nobody asked for.
    for (int i = 0; i < 50; ++i) {
        CHECK(cache.put_if_absent("key", "value"));
        CHECK(cache.take("key") == "value");
    }
    CHECK(s.proxy.accepted() == 1);
    SECTION("but is if it has ended") {
        s.proxy.reset();
        CHECK(cache.put_if_absent("key", "value"));
    }
    SECTION("or was ended by the server") {
        s.server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
        CHECK(eventually([&] { return s.proxy.open() == 0; }));
        CHECK(cache.put_if_absent("key", "value"));
    }
    CHECK(s.proxy.accepted() == 2);
    CHECK(s.errors.size() == 0);
}

TEST_CASE("certificate of an authority that is not trusted", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s;
    auto options = s.options();
    SECTION("because another is") {
        const support::TlsFiles other;
        options.tls.ca_file = other.ca_file();
        s.check_fails(options);
    }
    SECTION("because the system's are") {
        options.tls = {};
        s.check_fails(options);
    }
    CHECK_THAT(s.errors.last().reason, ContainsSubstring("certificate"));
}

TEST_CASE("certificate for another name", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s;
    auto options = s.options();
    const std::string port = std::to_string(s.proxy.port());
    SECTION("is refused") {
        options.tls.server_name =
            GENERATE("redis.example", "localhost.example", "127.0.0.2", "drey test server", "*");
        s.check_fails(options);
    }
    SECTION("is accepted for the name it has") {
        options.uri = "rediss://:secret@127.0.0.1:" + port;
        if (GENERATE(false, true)) options.tls.server_name = "localhost";
        Cache cache(options);
        CHECK(works(cache));
    }
}

TEST_CASE("certificate that is expired, or signed by itself", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    SECTION("expired") {
        const std::string ca = files().ca_file();
        const OtherCertificate other(OtherCertificate::Kind::expired);
        Secure s(other.arguments());
        s.check_fails(s.options());
        CHECK_THAT(s.errors.last().reason, ContainsSubstring("expired"));
    }
    SECTION("signed by itself") {
        const OtherCertificate other(OtherCertificate::Kind::self_signed);
        Secure s(other.arguments());
        s.check_fails(s.options());
        auto trusting = s.options();
        trusting.tls.ca_file = other.certificate();
        Cache cache(trusting);
        CHECK(works(cache));
    }
}

TEST_CASE("server is trusted blindly only where that is asked for", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    const OtherCertificate other(OtherCertificate::Kind::self_signed);
    Secure s(other.arguments());
    auto options = s.options();
    options.tls = {.server_name = "redis.example", .verify = false};
    Cache cache(options);
    CHECK(works(cache));
}

TEST_CASE("server that asks for a certificate", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s({"--tls-auth-clients", "yes"});
    auto options = s.options();
    SECTION("gets one") {
        options.tls.cert_file = files().client_cert();
        options.tls.key_file = files().client_key();
        Cache cache(options);
        CHECK(works(cache));
    }
    SECTION("gets none") {
        if (GENERATE(false, true)) s.server.command({"CONFIG", "SET", "tls-protocols", "TLSv1.2"});
        s.check_fails(options);
    }
    SECTION("gets another's") {
        const OtherCertificate other(OtherCertificate::Kind::self_signed);
        options.tls.cert_file = other.certificate();
        options.tls.key_file = other.key();
        s.check_fails(options);
    }
}

TEST_CASE("server without TLS where it is expected, and with it where it is not", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s;
    const auto kinds = {Errc::tls, Errc::timed_out, Errc::disconnected, Errc::protocol};
    auto options = s.options(brief);
    SECTION("without") {
        options.uri = "rediss://:secret@localhost:" + std::to_string(s.server.port());
    }
    SECTION("with") {
        options.uri = "redis://:secret@localhost:" + std::to_string(s.proxy.port());
        options.tls = {};
    }
    Cache cache(options);
    CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
    const auto found = cache.find("key");
    INFO(found.error().message());
    CHECK(std::ranges::any_of(kinds, [&](Errc kind) { return found.error() == kind; }));
}

TEST_CASE("server that speaks nonsense instead of TLS", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s;
    s.proxy.nonsense(GENERATE("HTTP/1.1 400 Bad Request\r\n\r\n"s, std::string(1000, '\xff'),
                              "\x15\x03\x03\x00\x02\x02\x28"s + std::string(1, '\0')));
    s.check_fails(s.options());
}

TEST_CASE("records that were tampered with are no values", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s;
    Cache cache(s.options(brief));
    REQUIRE(cache.put("key", "value"));
    s.proxy.corrupt([](std::string& bytes) { bytes.back() ^= 1; });
    CHECK(cache.find("key").is_failed());
    s.proxy.heal();
    s.proxy.reset();
    CHECK(cache.get("key") == "value");
}

TEST_CASE("TLS files that cannot be used are refused at once, by name", "[redis][tls]") {
    const std::string uri = "rediss://localhost:1";
    const auto with = [&](drey::TlsOptions tls) { Cache({.uri = uri, .tls = std::move(tls)}); };
    if (!support::TlsFiles::available()) return;
    const std::string none = "/nowhere/file";
    CHECK_THROWS_WITH(with({.ca_file = none}), ContainsSubstring("tls.ca_file"));
    CHECK_THROWS_AS(with({.ca_file = none}), std::invalid_argument);
    CHECK_THROWS_WITH(
        with({.ca_file = files().ca_file(), .cert_file = none, .key_file = files().client_key()}),
        ContainsSubstring("tls.cert_file"));
    CHECK_THROWS_WITH(with({.cert_file = files().client_cert(), .key_file = none}),
                      ContainsSubstring("tls.key_file"));
    CHECK_THROWS_WITH(with({.cert_file = files().client_cert(), .key_file = files().server_key()}),
                      ContainsSubstring("tls.key_file"));
    CHECK_THROWS_WITH(with({.ca_file = files().client_key()}), ContainsSubstring("tls.ca_file"));
    CHECK_NOTHROW(with({.ca_file = files().ca_file(),
                        .cert_file = files().client_cert(),
                        .key_file = files().client_key()}));
}

TEST_CASE("handshake that stalls takes no longer than a call may", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s;
    auto options = s.options(brief);
    SECTION("from its beginning") { s.proxy.blackhole(); }
    SECTION("in the middle") {
        s.proxy.corrupt([&](std::string&) { s.proxy.blackhole(); });
    }
    SECTION("by a server that hangs") { s.server.pause(); }
    SECTION("by trickling") { s.proxy.trickle(10ms); }
    Cache cache(options);
    CHECK(cache.find("key").error() == Errc::timed_out);
    CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
    s.server.resume();
    s.proxy.heal();
    CHECK(works(cache));
}

TEST_CASE("connection with TLS that breaks in the middle of large values", "[redis][tls]") {
    if (support::no_redis_server_with_tls()) return;
    std::size_t passed = 0;
    Secure s;
    auto options = s.options();
    options.mode = both_modes();
    const LeakCheck leak_check;
    Cache cache(options);
    REQUIRE(cache.put("key", large));
    SECTION("and is read again") {
        s.proxy.cut_reply_after(3'000'000, 1);
        CHECK((cache.get("key") == large));
        CHECK(s.errors.size() == 0);
    }
    SECTION("and is written again") {
        s.proxy.set_on_request([&](std::string_view bytes) {
            const std::size_t before = std::exchange(passed, passed + bytes.size());
            if (before < 3'000'000 && passed >= 3'000'000) s.proxy.reset();
        });
        // It is sent again, unless all of it had left us: then nobody knows, and it is removed.
        if (!cache.put("other", large)) {
            CHECK(s.errors.size() == 1);
            CHECK_FALSE(cache.get("other"));
            CHECK(cache.put("other", large));
        }
        CHECK((cache.get("other") == large));
    }
    SECTION("because the server is killed, writing") {
        s.server.pause();
        bool stored = true;
        std::thread writer([&] { stored = cache.put("key", large); });
        CHECK(eventually([&] { return s.proxy.request_bytes() > 200'000; }));
        s.proxy.refuse();
        s.server.kill();
        writer.join();
        CHECK_FALSE(stored);
        CHECK(s.errors.size() == 1);
    }
    SECTION("because the server is killed, reading") {
        s.proxy.corrupt([&](std::string& bytes) {
            const std::size_t before = std::exchange(passed, passed + bytes.size());
            if (before >= 1'000'000 || passed < 1'000'000) return;
            s.proxy.refuse();
            s.server.kill();
        });
        CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
        CHECK(s.errors.size() == 1);
    }
    if (!s.server.running()) {
        s.proxy.heal();
        s.proxy.refuse();
        s.server.start();
        s.server.command({"PING"});
        s.proxy.accept();
    }
    CHECK(works(cache));
    CHECK(cache.status().unconfirmed == 0);
}

TEST_CASE("threads share connections with TLS", "[redis][tls][concurrent]") {
    if (support::no_redis_server_with_tls()) return;
    Secure s;
    auto options = s.options();
    options.mode = both_modes();
    options.lease_wait = 50ms;
    Cache cache(options);
    support::Failures failures;
    std::atomic<bool> stop{false};
    std::atomic<std::size_t> calls{0};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 8; ++i)
        threads.emplace_back([&, i] {
            support::Random random(i);
            while (!stop) {
                const std::string key = std::to_string(random.below(20));
                const std::string value(random.below(3) == 0 ? 20'000 : 10, key.back());
                const auto right = [&](const std::string& found) {
                    return found.back() == key.back();
                };
                failures.expect(right(cache.get_or_load(key, [&] { return value; })));
                if (random.below(3) == 0) cache.erase(key);
                if (random.below(3) == 0) cache.put_if_absent(key, value);
                if (const auto found = cache.get(key)) failures.expect(right(*found));
                ++calls;
            }
        });
    for (int i = 0; i < 10; ++i) {
        const std::size_t seen = calls;
        CHECK(eventually([&] { return calls > seen + 20; }, 20s));
        s.proxy.reset();
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(failures.count() == 0);
    CHECK(works(cache));
}
