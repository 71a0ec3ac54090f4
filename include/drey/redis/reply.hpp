#pragma once

#include <hiredis/hiredis.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drey/error.hpp"

namespace drey::redis {

/// What the server answered to one command.
struct Reply {
    enum class Type { nil, status, error, integer, text, array, other };

    bool is_nil() const noexcept { return type == Type::nil; }
    bool is_status() const noexcept { return type == Type::status; }
    bool is_error() const noexcept { return type == Type::error; }
    bool is_integer() const noexcept { return type == Type::integer; }
    bool is_text() const noexcept { return type == Type::text; }
    bool is_array() const noexcept { return type == Type::array; }

    Type type = Type::nil;
    long long integer = 0;
    std::string text;             // of status, error and text
    std::vector<Reply> elements;  // of an array
};

/// What an error reply means: its first word is a code by convention.
inline Errc meaning_of(std::string_view error) noexcept {
    // Redis 6 wraps what failed within a script.
    if (error.starts_with("ERR Error running script"))
        if (const std::size_t inner = error.find(": -"); inner != error.npos)
            return meaning_of(error.substr(inner + 3));
    if (error.starts_with("ERR ACL failure in script") ||
        error.starts_with("ERR The user executing the script can't"))
        return Errc::denied;
    const std::string_view code = error.substr(0, error.find(' '));
    if (code == "LOADING" || code == "BUSY" || code == "MASTERDOWN" || code == "CLUSTERDOWN" ||
        code == "TRYAGAIN" || error.starts_with("ERR max number of clients"))
        return Errc::unavailable;
    if (code == "NOAUTH" || code == "WRONGPASS" || code == "NOPERM" || code == "DENIED")
        return Errc::denied;
    if (code == "READONLY") return Errc::read_only;
    if (code == "OOM") return Errc::out_of_memory;
    if (code == "WRONGTYPE") return Errc::wrong_type;
    return Errc::command_failed;
}

/// Turns bytes, in whatever pieces they come, into replies. The parsing is hiredis'; the objects
/// are ours, so that what a lying server announces costs no memory before it is sent.
class ReplyReader {
public:
    ReplyReader() : reader_(redisReaderCreateWithFunctions(functions())) {
        if (reader_ == nullptr) throw std::bad_alloc();
        reader_->privdata = &root_;
    }
    ReplyReader(const ReplyReader&) = delete;
    ReplyReader& operator=(const ReplyReader&) = delete;

    /// Takes more bytes. False once they cannot be a reply; nothing can be read from then on.
    bool feed(std::string_view bytes) {
        return redisReaderFeed(reader_.get(), bytes.data(), bytes.size()) == REDIS_OK;
    }

    /// The next reply if it is complete, moved out of the reader.
    std::optional<Reply> next() {
        void* reply = nullptr;
        if (redisReaderGetReply(reader_.get(), &reply) != REDIS_OK || reply == nullptr) return {};
        return std::exchange(root_, Reply{});
    }

    /// Right after `next` gave a reply: whether there is more than that one.
    bool has_more() const noexcept { return reader_->pos < reader_->len; }

    /// Whether what came was not a reply.
    bool failed() const noexcept { return reader_->err != 0; }

private:
    /// Where the object of this task goes: into its array, or as the reply itself. Arrays grow as
    /// their elements come. That moves no array which hiredis still points to: while one is being
    /// read, the one around it does not grow.
    template <class Make>
    static void* place(const redisReadTask* task, Make&& make) noexcept {
        try {
            Reply* into = static_cast<Reply*>(task->privdata);
            if (task->parent != nullptr) {
                auto& siblings = static_cast<Reply*>(task->parent->obj)->elements;
                into = &siblings.emplace_back();
            } else {
                *into = Reply{};
            }
            make(*into);
            return into;
        } catch (...) {
            return nullptr;  // hiredis reports that there is no memory
        }
    }

    static void* make_text(const redisReadTask* task, char* text, std::size_t size) {
        return place(task, [&](Reply& reply) {
            reply.type = task->type == REDIS_REPLY_ERROR    ? Reply::Type::error
                         : task->type == REDIS_REPLY_STATUS ? Reply::Type::status
                         : task->type == REDIS_REPLY_STRING ? Reply::Type::text
                                                            : Reply::Type::other;
            reply.text.assign(text, size);
        });
    }

    static void* make_integer(const redisReadTask* task, long long value) {
        return place(task, [&](Reply& reply) {
            reply.type = Reply::Type::integer;
            reply.integer = value;
        });
    }

    static void* make_nil(const redisReadTask* task) {
        return place(task, [](Reply&) {});
    }

    /// No command's reply is deeper. hiredis 0.14 refuses more itself; later ones do not, and to
    /// destroy a million nested arrays takes a stack as deep.
    static bool is_too_deep(const redisReadTask* task) noexcept {
        int depth = 0;
        for (; task != nullptr; task = task->parent) ++depth;
        return depth > 8;
    }

    template <class Size>  // int in hiredis 0.14, size_t later
    static void* make_array(const redisReadTask* task, Size size) {
        if (is_too_deep(task)) return nullptr;
        return place(task, [&](Reply& reply) {
            // Only so much on the server's word.
            reply.elements.reserve(std::min(static_cast<std::size_t>(size), std::size_t{256}));
            reply.type = task->type == REDIS_REPLY_ARRAY ? Reply::Type::array : Reply::Type::other;
        });
    }

    /// Types of RESP3, which we never ask for; hiredis 1 reads them all the same.
    template <class... Unused>
    static void* make_other(const redisReadTask* task, Unused...) {
        return place(task, [](Reply& reply) { reply.type = Reply::Type::other; });
    }

    template <class Functions>
    static Functions make_functions() {
        Functions table{};
        table.createString = make_text;
        table.createArray = make_array;
        table.createInteger = make_integer;
        table.createNil = make_nil;
        table.freeObject = [](void*) {};  // all objects are parts of root_
        if constexpr (requires { table.createDouble; }) table.createDouble = make_other;
        if constexpr (requires { table.createBool; }) table.createBool = make_other;
        return table;
    }

    static redisReplyObjectFunctions* functions() {
        static auto table = make_functions<redisReplyObjectFunctions>();
        return &table;
    }

    struct Free {
        void operator()(redisReader* reader) const noexcept { redisReaderFree(reader); }
    };

    Reply root_;  // the reply that is being read
    std::unique_ptr<redisReader, Free> reader_;
};

}  // namespace drey::redis
