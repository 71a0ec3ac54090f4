#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "drey/redis/options.hpp"
#include "drey/redis/outcome.hpp"
#include "drey/redis/socket.hpp"
#include "drey/redis/transport.hpp"

namespace drey::redis {

/// TLS over a socket. OpenSSL works on memory and never sees the socket: its own writes raise
/// SIGPIPE and know no deadline.
class TlsStream final : public Transport {
public:
    TlsStream(std::unique_ptr<Socket> socket, SSL* ssl) : socket_(std::move(socket)), ssl_(ssl) {
        if (ssl == nullptr) throw std::bad_alloc();
        in_ = BIO_new(BIO_s_mem());
        out_ = BIO_new(BIO_s_mem());
        if (in_ == nullptr || out_ == nullptr) {
            BIO_free(in_);
            BIO_free(out_);
            throw std::bad_alloc();
        }
        BIO_set_mem_eof_return(in_, -1);  // empty means wait, not the end
        SSL_set_bio(ssl, in_, out_);
    }

    Outcome shake_hands(TimePoint deadline) {
        for (;;) {
            ERR_clear_error();
            const int done = SSL_connect(ssl_.get());
            // Even a failure has an alert for the server.
            if (Outcome flushed = flush(deadline); !flushed.ok()) return flushed;
            if (done == 1) return {};
            if (SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_READ) return refused();
            if (Outcome fed = feed(deadline); !fed.ok()) return fed;
            if (std::chrono::steady_clock::now() >= deadline) return Errc::timed_out;
        }
    }

    Outcome send(std::span<const std::string_view> parts, TimePoint deadline) override {
        for (std::string_view part : parts) {
            while (!part.empty()) {
                // A record at a time, so that a large value is not in memory twice.
                const auto size = static_cast<int>(std::min(part.size(), record_size));
                ERR_clear_error();
                if (SSL_write(ssl_.get(), part.data(), size) != size) return broken();
                part.remove_prefix(static_cast<std::size_t>(size));
                if (BIO_ctrl_pending(out_) < 4 * record_size) continue;
                if (Outcome flushed = flush(deadline); !flushed.ok()) return flushed;
            }
        }
        return flush(deadline);
    }

    Outcome receive(std::span<char> room, std::size_t& got, TimePoint deadline) override {
        for (;;) {
            ERR_clear_error();
            const int count = SSL_read(ssl_.get(), room.data(), static_cast<int>(room.size()));
            if (count > 0) {
                got = static_cast<std::size_t>(count);
                return {};
            }
            const int why = SSL_get_error(ssl_.get(), count);
            if (why == SSL_ERROR_ZERO_RETURN) return {Errc::disconnected, "closed by the server"};
            if (why != SSL_ERROR_WANT_READ) return broken();
            if (Outcome flushed = flush(deadline); !flushed.ok()) return flushed;
            if (Outcome fed = feed(deadline); !fed.ok()) return fed;
            // What comes may be TLS' own, for ever.
            if (std::chrono::steady_clock::now() >= deadline) return Errc::timed_out;
        }
    }

    void abort() noexcept override { socket_->abort(); }

    bool is_quiet() override {
        for (;;) {
            char byte = 0;
            ERR_clear_error();
            const int count = SSL_peek(ssl_.get(), &byte, 1);
            if (count > 0 || SSL_get_error(ssl_.get(), count) != SSL_ERROR_WANT_READ) return false;
            // What has come may be for TLS itself: session tickets do, when they like.
            const Outcome fed = feed(TimePoint{});
            if (!fed.ok()) return fed.error == Errc::timed_out;
        }
    }

private:
    static constexpr std::size_t record_size = std::size_t{16} << 10;

    struct Free {
        void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
    };

    Outcome flush(TimePoint deadline) {
        char* bytes = nullptr;
        const long size = BIO_get_mem_data(out_, &bytes);
        if (size <= 0) return {};
        const std::string_view part(bytes, static_cast<std::size_t>(size));
        Outcome sent = socket_->send({&part, 1}, deadline);
        (void)BIO_reset(out_);
        return sent;
    }

    Outcome feed(TimePoint deadline) {
        std::size_t got = 0;
        if (Outcome came = socket_->receive(raw_, got, deadline); !came.ok()) return came;
        if (BIO_write(in_, raw_.data(), static_cast<int>(got)) != static_cast<int>(got))
            throw std::bad_alloc();
        return {};
    }

    static std::string reason() {
        const char* const text = ERR_reason_error_string(ERR_peek_last_error());
        return text != nullptr ? text : "unknown";
    }

    Outcome refused() const {
        const long verdict = SSL_get_verify_result(ssl_.get());
        if (verdict != X509_V_OK)
            return {Errc::tls, std::string("the server's certificate: ") +
                                   X509_verify_cert_error_string(verdict)};
        return {Errc::tls, reason()};
    }

    static Outcome broken() { return {Errc::tls, reason()}; }

    std::unique_ptr<Socket> socket_;
    std::unique_ptr<SSL, Free> ssl_;
    BIO* in_ = nullptr;  // both are the SSL's
    BIO* out_ = nullptr;
    std::array<char, record_size> raw_;
};

/// Whom we trust and who we are, for all connections to one server. Thread-safe once made.
class TlsContext {
public:
    /// Throws std::invalid_argument that names the option whose file cannot be used.
    TlsContext(const TlsOptions& options, const std::string& host)
        : context_(SSL_CTX_new(TLS_client_method())),
          name_(options.server_name.empty() ? host : options.server_name) {
        if (context_ == nullptr) throw std::bad_alloc();
        SSL_CTX* const context = context_.get();
        SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
        SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_verify(context, options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
        verifies_ = options.verify;

        const auto must = [](bool good, const char* field) {
            ERR_clear_error();
            if (!good)
                throw std::invalid_argument(std::string("drey: ") + field +
                                            " cannot be read or is not what it should be");
        };
        const auto text = [](const std::string& path) {
            return path.empty() ? nullptr : path.c_str();
        };
        if (!options.ca_file.empty())
            must(SSL_CTX_load_verify_locations(context, text(options.ca_file), nullptr) == 1,
                 "tls.ca_file");
        if (!options.ca_path.empty())
            must(SSL_CTX_load_verify_locations(context, nullptr, text(options.ca_path)) == 1,
                 "tls.ca_path");
        if (options.ca_file.empty() && options.ca_path.empty())
            SSL_CTX_set_default_verify_paths(context);
        if (!options.cert_file.empty()) {
            must(SSL_CTX_use_certificate_chain_file(context, text(options.cert_file)) == 1,
                 "tls.cert_file");
            must(SSL_CTX_use_PrivateKey_file(context, text(options.key_file), SSL_FILETYPE_PEM) ==
                         1 &&
                     SSL_CTX_check_private_key(context) == 1,
                 "tls.key_file");
        }
    }

    /// Makes the socket secure, or says why it cannot be.
    std::unique_ptr<Transport> secure(std::unique_ptr<Socket> socket, TimePoint deadline,
                                      Outcome& outcome) const {
        auto stream = std::make_unique<TlsStream>(std::move(socket), make());
        outcome = stream->shake_hands(deadline);
        if (!outcome.ok()) return nullptr;
        return stream;
    }

private:
    struct Free {
        void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
    };

    static bool is_address(const std::string& name) {
        in6_addr room;
        return ::inet_pton(AF_INET, name.c_str(), &room) == 1 ||
               ::inet_pton(AF_INET6, name.c_str(), &room) == 1;
    }

    /// Checks the name it was asked to trust; without that any valid certificate would do.
    SSL* make() const {
        SSL* const ssl = SSL_new(context_.get());
        if (ssl == nullptr) throw std::bad_alloc();
        bool good = true;
        if (is_address(name_)) {
            if (verifies_)
                good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name_.c_str()) == 1;
        } else {
            good = SSL_set_tlsext_host_name(ssl, const_cast<char*>(name_.c_str())) == 1;
            if (verifies_) good = SSL_set1_host(ssl, name_.c_str()) == 1 && good;
        }
        if (!good) {
            SSL_free(ssl);
            throw std::bad_alloc();
        }
        return ssl;
    }

    std::unique_ptr<SSL_CTX, Free> context_;
    const std::string name_;
    bool verifies_ = true;
};

}  // namespace drey::redis
