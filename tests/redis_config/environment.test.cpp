#include <chrono>
#include <cstdlib>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "drey/redis/environment.hpp"
#include "support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using drey::RedisOptions;

using Variables = std::map<std::string, std::string>;

RedisOptions options_from(const Variables& variables) {
    return drey::redis_options_from_env([&](const std::string& name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return {};
        return found->second;
    });
}

std::string uri_from(const Variables& variables) { return options_from(variables).uri; }

drey::Ttl ttl_from(const std::string& text) {
    return options_from({{"CACHE_DEFAULT_TTL_SECONDS", text}}).ttl;
}

std::string refusal(const Variables& variables) {
    try {
        options_from(variables);
        return {};
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
}

}  // namespace

TEST_CASE("empty environment gives the default options", "[redis][environment]") {
    CHECK(uri_from({}) == RedisOptions{}.uri);
    CHECK(options_from({}).ttl == drey::never);
    CHECK(options_from({}).prefix == RedisOptions{}.prefix);
}

TEST_CASE("single variables compose a uri", "[redis][environment]") {
    CHECK(uri_from({{"REDIS_HOST", "cache"}}) == "redis://cache:6379/0");
    CHECK(uri_from({{"REDIS_HOST", "::1"}}) == "redis://[::1]:6379/0");
    CHECK(uri_from({{"REDIS_HOST", "[::1]"}}) == "redis://[::1]:6379/0");
    CHECK(uri_from({{"REDIS_PORT", "1"}}) == "redis://localhost:1/0");
    CHECK(uri_from({{"REDIS_DB", "15"}}) == "redis://localhost:6379/15");
    CHECK(uri_from({{"REDIS_PASSWORD", "word"}}) == "redis://:word@localhost:6379/0");
    CHECK(uri_from({{"REDIS_USERNAME", "me"}, {"REDIS_PASSWORD", "word"}}) ==
          "redis://me:word@localhost:6379/0");
    CHECK(uri_from({{"REDIS_PASSWORD", "a/b@c:d?e#f%g h"}}) ==
          "redis://:a%2Fb%40c%3Ad%3Fe%23f%25g%20h@localhost:6379/0");
}

TEST_CASE("what REDIS_URL names it decides, the rest the variables fill in",
          "[redis][environment]") {
    const auto with = [](const std::string& url) {
        return uri_from({{"REDIS_URL", url},
                         {"REDIS_HOST", "other"},
                         {"REDIS_PORT", "1"},
                         {"REDIS_DB", "2"},
                         {"REDIS_USERNAME", "me"},
                         {"REDIS_PASSWORD", "word"}});
    };
    CHECK(with("redis://") == "redis://me:word@other:1/2");
    CHECK(with("rediss://") == "rediss://me:word@other:1/2");
    CHECK(with("redis://h") == "redis://me:word@h:1/2");
    CHECK(with("redis://:7") == "redis://me:word@other:7/2");
    CHECK(with("redis://h:7/9") == "redis://me:word@h:7/9");
    CHECK(with("redis://h:7?db=0") == "redis://me:word@h:7/0");
    CHECK(with("redis://you@h:7/9") == "redis://you:word@h:7/9");
    CHECK(with("redis://you:secret@h:7/9") == "redis://you:secret@h:7/9");
    // A password is never sent with a user that it was not written with.
    CHECK(with("redis://:secret@h:7/9") == "redis://:secret@h:7/9");
    CHECK(with("unix:///a%20b") == "unix://me:word@/a%20b?db=2");
    CHECK(with("unix://:secret@/a?db=9") == "unix://:secret@/a?db=9");
}

TEST_CASE("variable that is not used is not judged", "[redis][environment]") {
    const Variables wrong{{"REDIS_HOST", "?"}, {"REDIS_PORT", "?"}, {"REDIS_DB", "?"}};
    const auto with = [&](const std::string& url) {
        Variables variables = wrong;
        variables["REDIS_URL"] = url;
        return uri_from(variables);
    };
    CHECK(with("redis://h:1/2") == "redis://h:1/2");
    CHECK(with("unix:///a?db=3") == "unix:///a?db=3");
}

TEST_CASE("empty variable counts as unset", "[redis][environment]") {
    CHECK(uri_from({{"REDIS_URL", ""},
                    {"REDIS_HOST", ""},
                    {"REDIS_PORT", ""},
                    {"REDIS_DB", ""},
                    {"REDIS_USERNAME", ""},
                    {"REDIS_PASSWORD", ""},
                    {"CACHE_DEFAULT_TTL_SECONDS", ""}}) == RedisOptions{}.uri);
    CHECK(ttl_from("") == drey::never);
}

TEST_CASE("default ttl is in seconds and may have a fraction", "[redis][environment]") {
    CHECK(ttl_from("300") == drey::Ttl(300s));
    CHECK(ttl_from("0.5") == drey::Ttl(500ms));
    CHECK(ttl_from(".25") == drey::Ttl(250ms));
    CHECK(ttl_from("7.") == drey::Ttl(7s));
    CHECK(ttl_from("0.3") == drey::Ttl(300ms));
    CHECK(ttl_from("1.000000001") == drey::Ttl(1'000'000'001ns));
    CHECK(ttl_from("007") == drey::Ttl(7s));
    CHECK(ttl_from("99999999999999999999") == drey::never);
    CHECK(ttl_from(std::string(10'000, '9')) == drey::never);
}

TEST_CASE("wrong value is refused by the name of its variable and not shown",
          "[redis][environment]") {
    struct Case {
        std::string name;
        std::vector<std::string> values;
    };
    const std::vector<Case> cases{
        {"REDIS_URL", {"Zx7Q", "http://Zx7Q", "redis://:Zx7Q/@h", "redis://h:Zx7Q"}},
        {"REDIS_HOST", {"Zx7Q:6379", "redis://Zx7Q", "/Zx7Q", "Zx7Q\n", "Zx7Q@h", "[Zx7Q]"}},
        {"REDIS_PORT", {"Zx7Q", "0", "65536", "-1", "+1", " 1", "tcp://Zx7Q:6379"}},
        {"REDIS_DB", {"Zx7Q", "-1", "1.0", "2147483648"}},
        {"CACHE_DEFAULT_TTL_SECONDS",
         {"Zx7Q", "0", "0.0", ".", "-1", "+1", "1e3", "0x10", "inf", "nan", " 1", "1 ", "1,5",
          "1.2.3", "60s", "0.0000000001", "0." + std::string(10'000, '9')}},
    };
    for (const auto& [name, values] : cases) {
        for (const std::string& value : values) {
            CAPTURE(name, value);
            const std::string said = refusal({{name, value}});
            CHECK_THAT(said, ContainsSubstring("drey: " + name));
            CHECK_THAT(said, !ContainsSubstring("Zx7Q"));
        }
    }
    CHECK_THAT(refusal({{"REDIS_URL", "redis://h:x"}}), ContainsSubstring("drey: REDIS_URL: port"));
}

TEST_CASE("address that Kubernetes puts into REDIS_PORT is explained", "[redis][environment]") {
    CHECK_THAT(refusal({{"REDIS_PORT", "tcp://10.0.0.1:6379"}}), ContainsSubstring("Kubernetes"));
    CHECK(uri_from({{"REDIS_URL", "redis://h:7"}, {"REDIS_PORT", "tcp://10.0.0.1:6379"}}) ==
          "redis://h:7/0");
}

TEST_CASE("environment of the process is where variables come from", "[redis][environment]") {
    const char* const before = std::getenv("REDIS_URL");
    const std::optional<std::string> kept =
        before != nullptr ? std::optional(before) : std::nullopt;
    ::setenv("REDIS_URL", "redis://of-the-process:7/8", 1);
    CHECK_THAT(drey::redis_options_from_env().uri, ContainsSubstring("@of-the-process:7/8") ||
                                                       ContainsSubstring("//of-the-process:7/8"));
    if (kept)
        ::setenv("REDIS_URL", kept->c_str(), 1);
    else
        ::unsetenv("REDIS_URL");
}
