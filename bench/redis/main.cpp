#include <hiredis/hiredis.h>

#include <drey/redis.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <latch>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/redis_server.hpp"

/// What drey costs over bare hiredis, on one server, in one run.
namespace {

constexpr const char* usage =
    R"usage(usage: redis [option...]

Starts a redis-server of its own and compares a drey::Cache over it with hand-written hiredis code,
side by side: raw values of 100 bytes, 10,000 keys. Every answer is checked.

  --metrics   one line "name value" for each figure that the project promises; the rest to stderr
  --quick     a tenth of the work
  --rounds N  rounds, of which the medians are shown (15)
)usage";

using Clock = std::chrono::steady_clock;
using Cache = drey::Cache<std::string, std::string, drey::Redis<>>;

constexpr std::size_t key_count = 10'000;
constexpr std::size_t value_size = 100;

std::string key_of(std::size_t i) { return "key:" + std::to_string(i % key_count); }

std::string value_of(const std::string& key) {
    std::string value = key;
    value.resize(value_size, '.');
    return value;
}

struct Data {
    std::vector<std::string> keys;
    std::vector<std::string> values;

    Data() {
        for (std::size_t i = 0; i < key_count; ++i) {
            keys.push_back(key_of(i));
            values.push_back(value_of(keys.back()));
        }
    }
};
const Data data;

[[noreturn]] void wrong(const char* who) {
    throw std::runtime_error(std::string(who) + " gave a wrong answer");
}

/// The order in which a thread goes through the keys.
std::size_t nth(std::size_t i, std::size_t thread) { return (i * 7919 + thread * 131) % key_count; }

// ---- what people write by hand -----------------------------------------------------------------

class Hiredis {
public:
    explicit Hiredis(const support::RedisServer& server, bool unix_socket = false)
        : context_(unix_socket ? redisConnectUnix(server.socket_path().c_str())
                               : redisConnect("127.0.0.1", server.port()),
                   redisFree) {
        if (context_ == nullptr || context_->err != 0)
            throw std::runtime_error("hiredis cannot connect");
    }

    void get(std::size_t i) {
        const std::string& key = data.keys[i];
        const Reply reply = command("GET bare:%b", key.data(), key.size());
        if (reply->type != REDIS_REPLY_STRING ||
            std::string(reply->str, static_cast<std::size_t>(reply->len)) != data.values[i])
            wrong("hiredis");
    }

    void set(std::size_t i) {
        const std::string& key = data.keys[i];
        const std::string& value = data.values[i];
        const Reply reply =
            command("SET bare:%b %b", key.data(), key.size(), value.data(), value.size());
        if (reply->type != REDIS_REPLY_STATUS) wrong("hiredis");
    }

    void get_hundred(std::size_t first) {
        std::vector<std::string> names;
        for (std::size_t i = 0; i < 100; ++i)
            names.push_back("bare:" + data.keys[(first + i) % key_count]);
        std::vector<const char*> texts{"MGET"};
        std::vector<std::size_t> sizes{4};
        for (const auto& name : names) {
            texts.push_back(name.data());
            sizes.push_back(name.size());
        }
        const Reply reply(
            static_cast<redisReply*>(redisCommandArgv(
                context_.get(), static_cast<int>(texts.size()), texts.data(), sizes.data())),
            freeReplyObject);
        if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 100) wrong("hiredis");
        std::vector<std::optional<std::string>> values;
        for (std::size_t i = 0; i < 100; ++i) {
            const redisReply* const one = reply->element[i];
            if (one->type == REDIS_REPLY_STRING)
                values.emplace_back(std::string(one->str, static_cast<std::size_t>(one->len)));
            else
                values.emplace_back();
        }
        for (std::size_t i = 0; i < 100; ++i)
            if (values[i] != data.values[(first + i) % key_count]) wrong("hiredis");
    }

private:
    using Reply = std::unique_ptr<redisReply, void (*)(void*)>;

    template <class... Args>
    Reply command(const char* format, Args... args) {
        Reply reply(static_cast<redisReply*>(redisCommand(context_.get(), format, args...)),
                    freeReplyObject);
        if (!reply) throw std::runtime_error(context_->errstr);
        return reply;
    }

    std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
};

// ---- drey --------------------------------------------------------------------------------------

class Drey {
public:
    explicit Drey(const std::string& uri, drey::RedisMode mode = drey::RedisMode::pipeline,
                  std::size_t connections = 0)
        : cache_{{.uri = uri,
                  .prefix = "drey",
                  .timeout = std::chrono::seconds(10),
                  .mode = mode,
                  .connections = connections,
                  .on_failure = drey::OnFailure::throws}} {}

    void get(std::size_t i) {
        if (cache_.get(data.keys[i]) != data.values[i]) wrong("drey");
    }
    void set(std::size_t i) {
        if (!cache_.put(data.keys[i], data.values[i])) wrong("drey");
    }
    void get_hundred(std::size_t first) {
        std::vector<std::string_view> keys;
        for (std::size_t i = 0; i < 100; ++i) keys.push_back(data.keys[(first + i) % key_count]);
        const auto values = cache_.get_many(keys);
        for (std::size_t i = 0; i < 100; ++i)
            if (values[i] != data.values[(first + i) % key_count]) wrong("drey");
    }

private:
    Cache cache_;
};

// ---- measuring ---------------------------------------------------------------------------------

/// Operations a second of `threads` threads, each doing `each` of them: `work(thread, i)`.
double rate(std::size_t threads, std::size_t each,
            const std::function<void(std::size_t, std::size_t)>& work) {
    if (threads == 1) {
        const auto begin = Clock::now();
        for (std::size_t i = 0; i < each; ++i) work(0, i);
        return static_cast<double>(each) /
               std::chrono::duration<double>(Clock::now() - begin).count();
    }
    std::latch ready(static_cast<std::ptrdiff_t>(threads + 1));
    std::vector<std::exception_ptr> errors(threads);
    std::vector<std::thread> running;
    for (std::size_t t = 0; t < threads; ++t)
        running.emplace_back([&, t] {
            ready.arrive_and_wait();
            try {
                for (std::size_t i = 0; i < each; ++i) work(t, i);
            } catch (...) {
                errors[t] = std::current_exception();
            }
        });
    ready.arrive_and_wait();
    const auto begin = Clock::now();
    for (auto& thread : running) thread.join();
    const std::chrono::duration<double> time = Clock::now() - begin;
    for (const auto& error : errors)
        if (error) std::rethrow_exception(error);
    return static_cast<double>(threads * each) / time.count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

/// Contenders that take turns; what each did in each round.
struct Match {
    struct Contender {
        std::string name;
        std::function<void(std::size_t, std::size_t)> work;  // thread, operation
        std::vector<double> rates = {};
        double sent = 0, received = 0;  // bytes an operation, by the server's account
    };

    std::string title;
    std::string metric;  // of the second against the first; empty: none
    std::size_t threads;
    std::size_t each;
    std::vector<Contender> contenders;
};

double server_counter(support::RedisServer& server, std::string_view name) {
    const std::string info = server.command({"INFO", "stats"}).text;
    const std::size_t at = info.find(std::string(name) + ":");
    if (at == std::string::npos) throw std::runtime_error("INFO stats has no " + std::string(name));
    return std::atof(info.c_str() + at + name.size() + 1);
}

void play(support::RedisServer& server, std::vector<Match>& matches, unsigned rounds) {
    for (unsigned round = 0; round < rounds; ++round)
        for (Match& match : matches)
            for (std::size_t turn = 0; turn < match.contenders.size(); ++turn) {
                // Who goes first changes, as the second finds warmer caches.
                auto& one = match.contenders[(turn + round) % match.contenders.size()];
                const double in = server_counter(server, "total_net_input_bytes");
                const double out = server_counter(server, "total_net_output_bytes");
                one.rates.push_back(rate(match.threads, match.each, one.work));
                const double calls = static_cast<double>(match.threads * match.each);
                // Our own questions to the server are in it, a few bytes in thousands of calls.
                one.sent = (server_counter(server, "total_net_input_bytes") - in) / calls;
                one.received = (server_counter(server, "total_net_output_bytes") - out) / calls;
            }
}

double ratio(const Match::Contender& one, const Match::Contender& other) {
    std::vector<double> ratios;
    for (std::size_t round = 0; round < one.rates.size(); ++round)
        ratios.push_back(one.rates[round] / other.rates[round]);
    return median(ratios);
}

void report(const std::vector<Match>& matches, std::FILE* to) {
    std::fprintf(to, "%-26s %-26s %12s %8s %14s %14s\n", "", "", "calls/s", "ratio", "bytes sent",
                 "bytes received");
    for (const Match& match : matches) {
        const char* title = match.title.c_str();
        for (const auto& one : match.contenders) {
            std::fprintf(to, "%-26s %-26s %12.0f %8.2f %14.0f %14.0f\n", title, one.name.c_str(),
                         median(one.rates), ratio(one, match.contenders.front()), one.sent,
                         one.received);
            title = "";
        }
    }
}

/// What the server's own benchmark gets out of it, which checks no answers.
void run_redis_benchmark(const support::RedisServer& server, std::FILE* to) {
    if (support::find_program("redis-benchmark").empty()) {
        std::fputs("redis-benchmark was not found\n", to);
        return;
    }
    std::fputs("\nredis-benchmark, 100-byte values, calls/s:\n", to);
    for (const char* clients : {"1", "16"}) {
        const support::TemporaryFolder folder;
        const std::string output = folder / "output";
        support::Process process({"redis-benchmark", "-p", std::to_string(server.port()), "-c",
                                  clients, "-n", "50000", "-d", "100", "-t", "get,set", "-q"},
                                 output);
        process.wait();
        std::ifstream file(output);
        for (std::string line; std::getline(file, line);) {
            const std::size_t begin = line.rfind('\r');
            if (begin != line.npos) line = line.substr(begin + 1);
            if (line.find("requests per second") != line.npos)
                std::fprintf(to, "  %2s connections  %s\n", clients, line.c_str());
        }
    }
}

struct Options {
    bool metrics = false;
    bool quick = false;
    unsigned rounds = 15;
};

void run(const Options& options) {
    support::RedisServer server;
    const std::size_t each = options.quick ? 1000 : 8000;

    Hiredis tcp(server), local(server, true);
    Drey our_tcp(server.uri()), our_local(server.socket_uri());
    for (std::size_t i = 0; i < key_count; ++i) {
        tcp.set(i);
        our_tcp.set(i);
    }
    std::vector<std::unique_ptr<Hiredis>> own;
    for (int i = 0; i < 16; ++i) own.push_back(std::make_unique<Hiredis>(server));
    Drey shared(server.uri());
    Drey pool(server.uri(), drey::RedisMode::pool, 16);

    const auto get = [](auto& client) {
        return [&](std::size_t thread, std::size_t i) { client.get(nth(i, thread)); };
    };
    const auto set = [](auto& client) {
        return [&](std::size_t thread, std::size_t i) { client.set(nth(i, thread)); };
    };
    const auto get_hundred = [](auto& client) {
        return [&](std::size_t, std::size_t i) { client.get_hundred(nth(i, 0)); };
    };

    std::vector<Match> matches;
    matches.push_back({"GET, TCP, 1 thread",
                       "redis.get.tcp.vs_hiredis",
                       1,
                       each,
                       {{"hiredis", get(tcp)}, {"drey", get(our_tcp)}}});
    matches.push_back({"SET, TCP, 1 thread",
                       "redis.set.tcp.vs_hiredis",
                       1,
                       each,
                       {{"hiredis", set(tcp)}, {"drey", set(our_tcp)}}});
    matches.push_back({"GET, unix socket, 1 thread",
                       "redis.get.unix.vs_hiredis",
                       1,
                       each,
                       {{"hiredis", get(local)}, {"drey", get(our_local)}}});
    matches.push_back({"SET, unix socket, 1 thread",
                       "redis.set.unix.vs_hiredis",
                       1,
                       each,
                       {{"hiredis", set(local)}, {"drey", set(our_local)}}});
    matches.push_back(
        {"GET, TCP, 16 threads",
         "redis.get.16t.vs_conn_per_thread",
         16,
         each / 8,
         {{"hiredis, 16 connections",
           [&](std::size_t thread, std::size_t i) { own[thread]->get(nth(i, thread)); }},
          {"drey, 1 connection", get(shared)},
          {"drey, pool of 16", get(pool)}}});
    matches.push_back(
        {"100 keys at once, 1 thread",
         "redis.mget.vs_hiredis",
         1,
         each / 20,
         {{"hiredis, MGET", get_hundred(tcp)}, {"drey, get_many", get_hundred(our_tcp)}}});

    play(server, matches, options.rounds);

    std::FILE* const table = options.metrics ? stderr : stdout;
    report(matches, table);
    run_redis_benchmark(server, table);
    if (options.metrics)
        for (const Match& match : matches)
            std::printf("%s %.3f\n", match.metric.c_str(),
                        ratio(match.contenders[1], match.contenders[0]));
}

}  // namespace

int main(int count, char** arguments) {
    try {
        Options options;
        for (int i = 1; i < count; ++i) {
            const std::string_view option = arguments[i];
            if (option == "--metrics") {
                options.metrics = true;
            } else if (option == "--quick") {
                options.quick = true;
            } else if (option == "--rounds" && i + 1 < count && std::atoi(arguments[i + 1]) > 0) {
                options.rounds = static_cast<unsigned>(std::atoi(arguments[++i]));
            } else {
                std::fputs(usage, option == "--help" ? stdout : stderr);
                return option == "--help" ? 0 : 2;
            }
        }
        run(options);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "redis: %s\n", error.what());
        return 1;
    }
}
