/// Servers that say what no server of ours would say, and what must not get around.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "redis_faults/faulty.hpp"

using namespace faults;

namespace {

/// What a server may say instead of an answer.
std::vector<std::string> nonsense() {
    std::string random, nested, zeros(1000, '\0');
    support::Random next(42);
    for (int i = 0; i < 1000; ++i) random += static_cast<char>(next());
    random.front() = '\xff';  // "+" and the like might be the beginning of an answer
    for (int i = 0; i < 100'000; ++i) nested += "*1\r\n";
    return {
        random,
        zeros,
        nested,
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\x15\x03\x01\x00\x02\x02\x46",  // a TLS alert
        "$99999999999999999999\r\n",
        "$9223372036854775807\r\n",
        "$-2\r\n",
        "$18446744073709551615\r\nx",
        "*9223372036854775807\r\n",
        "*-2\r\n",
        ":12345678901234567890123456789\r\n",
        ":1x\r\n",
        "\r\n\r\n\r\n",
    };
}

/// Answers of the wrong kind.
const std::vector<std::string> misplaced{
    ":1\r\n", "+OK\r\n", "*0\r\n", "*1\r\n$1\r\nx\r\n", "*3\r\n:1\r\n$-1\r\n*1\r\n+x\r\n",
};

/// Checks that it is not in anything that a cache says.
class Secret {
public:
    explicit Secret(std::string text) : text_(std::move(text)) {}
    const std::string& text() const { return text_; }

    void check_kept(std::string_view what) const {
        INFO("it is in: " << what);
        CHECK(what.find(text_) == what.npos);
    }
    void check_kept(const drey::Error& error) const {
        check_kept(error.operation);
        check_kept(error.key);
        check_kept(error.reason);
        check_kept(error.code.message());
        check_kept(drey::RemoteError(error).what());
    }
    void check_kept(const drey::RedisStatus& status) const {
        check_kept(status.address);
        check_kept(status.server_version);
        if (status.last_error) check_kept(*status.last_error);
    }

private:
    std::string text_;
};

}  // namespace

TEST_CASE("server that speaks nonsense", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    f.make_connected(both_modes(), brief);
    for (const std::string& bytes : nonsense()) {
        INFO("begins with: " << bytes.substr(0, 20));
        f.proxy.nonsense(bytes);
        if (bytes == "$9223372036854775807\r\n" || bytes == "$18446744073709551615\r\nx" ||
            bytes == "*9223372036854775807\r\n") {
            // It may be waited for what is announced.
            f.check_fails({Errc::protocol, Errc::timed_out});
        } else {
            f.check_fails({Errc::protocol});
        }
        f.proxy.heal();
        f.check_recovers();
    }
}

TEST_CASE("server that announces gigabytes and sends nothing", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    f.make_connected(both_modes(), brief);
    f.proxy.nonsense(
        GENERATE("$4000000000\r\n"s, "*2000000000\r\n"s, "*1\r\n*1\r\n$4000000000\r\n"s));
    f.check_fails({Errc::timed_out, Errc::protocol});
    f.proxy.heal();
    f.check_recovers();
}

TEST_CASE("answers of the wrong kind are failures or misses, and never values", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = f.options();
    options.mode = both_modes();
    options.breaker.failures = 1000;
    options.timeout = 50ms;  // the proxy answers once where two commands came together
    Cache& cache = f.make(options);
    for (const std::string& bytes : misplaced) {
        INFO("it was: " << bytes);
        f.proxy.nonsense(bytes);
        CHECK(cache.find("key").is_failed());
        CHECK(cache.get("key") == std::nullopt);
        CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
        CHECK_FALSE(cache.contains("key"));
        CHECK(cache.get_many({"key", "other"}) ==
              std::vector<std::optional<std::string>>(2, std::nullopt));
        CHECK(cache.take("key") == std::nullopt);
        CHECK(cache.erase("key") == 0);
        CHECK_FALSE(cache.update("key", [](auto value) { return value; }));
        CHECK(cache.size() == 0);
        CHECK(cache.clear() == 0);
        CHECK_NOTHROW(cache.put("key", "value"));
        CHECK_NOTHROW(cache.put_many({{"key", "value"}, {"other", "value"}}));
        CHECK_NOTHROW(cache.put_if_absent("key", "value"));
        CHECK_NOTHROW(cache.status());
        f.proxy.heal();
        f.proxy.reset();
    }
    CHECK(eventually([&] { return f.works(); }));
}

TEST_CASE("load does not go round and round with a server that makes no sense", "[redis][faults]") {
    if (no_redis_server()) return;
    // Nothing is at the key, and yet nothing can be put there; or what is there is not ours, and
    // never goes away.
    const auto said = GENERATE("$-1\r\n"s, "$5\r\nhello\r\n"s);
    Faulty f;
    Cache& cache = f.make_connected(both_modes(), brief);
    f.proxy.nonsense(said);
    std::size_t requests = 0;
    f.proxy.set_on_request([&](std::string_view) { ++requests; });
    CHECK(cache.get_or_load("key", [] { return "loaded"s; }) == "loaded");
    f.proxy.set_on_request({});
    CHECK(requests < 100);
    CHECK(f.errors.size() < 100);
    f.proxy.heal();
    f.proxy.reset();
    f.check_recovers();
}

TEST_CASE("write is not taken for done if the answer makes no sense", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    Cache& cache = f.make_connected(both_modes(), brief);
    REQUIRE(cache.put("key", "old"));
    f.proxy.nonsense("*0\r\n");
    SECTION("put") { CHECK_FALSE(cache.put("key", "new")); }
    SECTION("put_many") { CHECK(cache.put_many({{"key", "new"}}) == 0); }
    SECTION("erase") { CHECK(cache.erase("key") == 0); }
    SECTION("update") {
        CHECK_FALSE(cache.update("key", [](auto) { return std::optional("new"s); }));
    }
    CHECK(f.errors.size() == 1);
    f.proxy.heal();
    f.proxy.reset();
    CHECK(cache.get("key") == std::nullopt);
}

TEST_CASE("random bytes in replies never become values", "[redis][faults]") {
    if (no_redis_server()) return;
    Faulty f;
    auto options = f.options();
    options.breaker.failures = 1'000'000;
    options.timeout = 30ms;  // what announces more than comes takes that long
    options.mode = both_modes();
    Cache& cache = f.make(options);
    REQUIRE(eventually([&] { return cache.put("key", "of key"); }));
    const char* const set = std::getenv("DREY_TEST_SEED");
    const std::uint64_t seed = set != nullptr ? std::stoull(set) : std::random_device{}();
    CAPTURE(seed);
    support::Random next(seed);
    f.proxy.corrupt([&](std::string& bytes) {
        for (int flips = 0; flips < 2; ++flips)
            bytes[next.below(bytes.size())] ^= static_cast<char>(1 << next.below(8));
    });
    for (std::size_t i = 0; i < support::ops(100); ++i) {
        const auto found = cache.get("key");
        CHECK((!found || found == "of key"));
        CHECK(cache.get_or_load("key", [] { return "of key"s; }) == "of key");
    }
    f.proxy.heal();
    f.proxy.reset();
    CHECK(eventually([&] { return f.works(); }));
}

// ---- secrets

TEST_CASE("password is told to nobody, whatever the server makes of it", "[redis][faults]") {
    // A code, by its looks; a word; and what has to be escaped in a uri.
    const Secret password(GENERATE("HUNTER"s, "hunter2"s, "hunt er:@/%"s));
    const std::string escaped =
        password.text() == "hunt er:@/%" ? "hunt%20er%3A%40%2F%25" : password.text();
    if (no_redis_server()) return;
    support::FaultProxy proxy(1);
    ErrorLog errors;
    const bool with_user = GENERATE(false, true);
    const std::string uri = (with_user ? "redis://user:" : "redis://:") + escaped +
                            "@127.0.0.1:" + std::to_string(proxy.port());
    const auto options = [&](drey::OnFailure on_failure) {
        return drey::RedisOptions{.uri = uri,
                                  .timeout = ample,
                                  .breaker = {.failures = 1000},
                                  .on_failure = on_failure,
                                  .on_error = [&](const drey::Error& error) { errors.add(error); }};
    };
    const std::string said = password.text();
    const auto answer = GENERATE_COPY(values<std::string>(
        {"-ERR unknown command 'AUTH', with args beginning with: '" + said + "'\r\n",
         "-" + said + "\r\n", "-" + said + " is wrong\r\n", "-WRONGPASS " + said + " is wrong\r\n",
         "-ERR " + said + "\r\n", "+" + said + "\r\n-ERR " + said + "\r\n",
         "$" + std::to_string(said.size()) + "\r\n" + said + "\r\n", said + "\r\n"}));
    CAPTURE(answer);
    proxy.nonsense(answer);
    Cache cache(options(drey::OnFailure::miss)), throwing(options(drey::OnFailure::throws));
    CHECK(cache.get("key") == std::nullopt);
    CHECK_FALSE(cache.put("key", "value"));
    CHECK(cache.take("key") == std::nullopt);
    password.check_kept(cache.status());
    try {
        throwing.get("key");
        FAIL("nothing was thrown");
    } catch (const drey::RemoteError& error) {
        password.check_kept(error.what());
        password.check_kept(error.error());
    }
    CHECK(errors.size() >= 4);
    for (const auto& error : errors.all()) password.check_kept(error);
}

TEST_CASE("password that a server repeats after it was let in is told to nobody",
          "[redis][faults]") {
    if (no_redis_server()) return;
    const Secret password("hunter2");
    Faulty f({.password = password.text()});
    Cache& cache = f.make_connected(RedisMode::pipeline, brief);
    f.proxy.nonsense("-ERR you said AUTH " + password.text() + "\r\n");
    CHECK(cache.get("key") == std::nullopt);
    CHECK_FALSE(cache.put("key", "value"));
    CHECK(cache.erase("key") == 0);
    password.check_kept(cache.status());
    CHECK(f.errors.size() >= 3);
    for (const auto& error : f.errors.all()) password.check_kept(error);
}

TEST_CASE("value is told to nobody by a server that does not know a command", "[redis][faults]") {
    if (no_redis_server()) return;
    const Secret value("the value");
    Faulty f({.arguments = {"--rename-command", "SET", "", "--rename-command", "EVAL", ""}});
    Cache& cache = f.make(both_modes());
    CHECK_FALSE(cache.put("key", value.text()));
    CHECK_FALSE(cache.put_if_absent("key", value.text()));
    CHECK(cache.put_many({{"key", value.text()}}) == 0);
    CHECK(cache.get_or_load("key", [&] { return value.text(); }) == value.text());
    CHECK(f.errors.size() == 4);
    for (const auto& error : f.errors.all()) {
        CHECK(error.code == Errc::command_failed);
        value.check_kept(error);
    }
    CHECK(cache.status().breaker == BreakerState::closed);
}
