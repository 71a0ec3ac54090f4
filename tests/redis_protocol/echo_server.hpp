#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "drey/redis/connection.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/reply.hpp"
#include "drey/redis/transport.hpp"
#include "redis_protocol/fake_transport.hpp"
#include "support/threads.hpp"

namespace fake {

/// How an EchoServer treats its connections; out of a thousand.
struct Weather {
    std::size_t refuses = 0;   ///< of attempts to connect
    std::size_t breaks = 0;    ///< of sends and waits: the connection
    std::size_t stalls = 0;    ///< of waits end as if the time were up
    std::size_t throws = 0;    ///< of sends and waits: no memory
    std::size_t nonsense = 0;  ///< of sends are answered by something else
};

/// A server that answers each command with its last argument, in pieces of random size, with what
/// the weather brings in between. Its random choices come from the seed, but for the order in which
/// threads make them.
class EchoServer {
public:
    explicit EchoServer(std::uint64_t seed, Weather weather = {})
        : random_(seed), weather_(weather) {}

    drey::redis::Dial dial() {
        return [this](TimePoint, Outcome& outcome) -> std::unique_ptr<drey::redis::Transport> {
            ++connects;
            pause();
            if (is_hit(weather_.refuses)) {
                outcome = {Errc::unreachable, "refused"};
                return nullptr;
            }
            return std::make_unique<Stream>(*this);
        };
    }

    std::atomic<std::size_t> connects{0};
    std::atomic<std::size_t> open{0};
    std::atomic<std::size_t> sends{0};
    std::atomic<std::size_t> commands{0};
    /// Two threads were in one connection at once.
    std::atomic<bool> was_shared{false};

private:
    class Stream final : public drey::redis::Transport {
    public:
        explicit Stream(EchoServer& server) : server_(server) { ++server_.open; }
        ~Stream() override { --server_.open; }

        Outcome send(std::span<const std::string_view> parts, TimePoint) override {
            const Alone alone(*this);
            ++server_.sends;
            server_.pause();
            // Only between replies: within one it might pass for data.
            if (pending_.empty() && server_.is_hit(server_.weather_.nonsense)) pending_ = "what?";
            for (const auto part : parts) (void)reader_.feed(part);
            while (const auto command = reader_.next()) {
                ++server_.commands;
                pending_ += bulk(command->elements.back().text);
            }
            return fate();
        }

        Outcome receive(std::span<char> room, std::size_t& got, TimePoint) override {
            const Alone alone(*this);
            server_.pause();
            if (Outcome outcome = fate(); !outcome.ok()) return outcome;
            if (pending_.empty() || server_.is_hit(server_.weather_.stalls)) return Errc::timed_out;
            const std::size_t most = std::min(room.size(), pending_.size());
            got = 1 + static_cast<std::size_t>(server_.below(most));
            pending_.copy(room.data(), got);
            pending_.erase(0, got);
            return {};
        }

        void abort() noexcept override {}
        bool is_quiet() override { return pending_.empty() && !broken_; }

    private:
        struct Alone {
            explicit Alone(Stream& of) : stream(of) {
                if (stream.busy_.exchange(true)) stream.server_.was_shared = true;
            }
            Alone(const Alone&) = delete;
            Alone& operator=(const Alone&) = delete;
            ~Alone() { stream.busy_ = false; }
            Stream& stream;
        };

        Outcome fate() {
            if (server_.is_hit(server_.weather_.throws)) throw std::bad_alloc();
            broken_ = broken_ || server_.is_hit(server_.weather_.breaks);
            if (broken_) return {Errc::disconnected, "cut"};
            return {};
        }

        EchoServer& server_;
        drey::redis::ReplyReader reader_;  // a command has the form of a reply
        std::string pending_;
        bool broken_ = false;
        std::atomic<bool> busy_{false};
    };

    std::size_t below(std::size_t n) {
        const std::lock_guard lock(mutex_);
        return static_cast<std::size_t>(random_.below(n));
    }
    bool is_hit(std::size_t of_a_thousand) {
        return of_a_thousand > 0 && below(1000) < of_a_thousand;
    }

    /// Lets others run, sometimes.
    void pause() {
        for (std::size_t turns = below(4); turns > 0; --turns) std::this_thread::yield();
    }

    std::mutex mutex_;
    support::Random random_;
    const Weather weather_;
};

}  // namespace fake
