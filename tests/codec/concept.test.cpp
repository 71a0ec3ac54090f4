#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "drey/codec/codec.hpp"
#include "support/catch.hpp"

namespace {

using drey::CodecFor;
using drey::detail::codec_id;
using drey::detail::decode_with;
using drey::detail::encode_with;

struct User {
    std::string name;
    bool operator==(const User&) const = default;
};

struct UserCodec {
    static void encode(const User& user, std::string& out) { out += user.name; }
    static std::optional<User> decode(std::string_view bytes) { return User{std::string(bytes)}; }
};
static_assert(CodecFor<UserCodec, User>);
static_assert(!CodecFor<UserCodec, int>);
static_assert(codec_id<UserCodec> == 0xff);

struct AnyCodec {
    static constexpr std::uint8_t codec_id = 77;
    template <class T>
    static void encode(const T&, std::string&) {}
    template <class T>
    static std::optional<T> decode(std::string_view) {
        return T{};
    }
};
static_assert(CodecFor<AnyCodec, User> && CodecFor<AnyCodec, int>);
static_assert(codec_id<AnyCodec> == 77);

struct NoEncode {
    static std::optional<User> decode(std::string_view) { return {}; }
};
static_assert(!CodecFor<NoEncode, User>);

struct NoDecode {
    static void encode(const User&, std::string&) {}
};
static_assert(!CodecFor<NoDecode, User>);

struct DecodeWithoutDoubt : NoDecode {
    static User decode(std::string_view) { return {}; }
};
static_assert(!CodecFor<DecodeWithoutDoubt, User>);

struct DecodesAnother : NoDecode {
    static std::optional<std::string> decode(std::string_view) { return {}; }
};
static_assert(!CodecFor<DecodesAnother, User>);

struct EncodeChangesTheValue : NoEncode {
    static void encode(User&, std::string&) {}
};
static_assert(!CodecFor<EncodeChangesTheValue, User>);

struct EncodeNeedsAnObject : NoEncode {
    void encode(const User&, std::string&) {}
};
static_assert(!CodecFor<EncodeNeedsAnObject, User>);

struct WithState : UserCodec {
    int level = 9;
};
static_assert(!CodecFor<WithState, User>);
static_assert(!CodecFor<int, User>);

/// A codec of what cannot be copied.
struct PointerCodec {
    static void encode(const std::unique_ptr<int>& number, std::string& out) {
        out += std::to_string(*number);
    }
    static std::optional<std::unique_ptr<int>> decode(std::string_view bytes) {
        return std::make_unique<int>(std::stoi(std::string(bytes)));
    }
};
static_assert(CodecFor<PointerCodec, std::unique_ptr<int>>);

template <class Exception>
struct Throwing {
    static void encode(const User&, std::string& out) {
        out += "half of it";
        throw Exception();
    }
    static std::optional<User> decode(std::string_view) { throw Exception(); }
};
struct Rejected : std::exception {};

}  // namespace

TEST_CASE("codec of one's own makes the round trip") {
    std::string bytes = "before ";
    encode_with<UserCodec>(User{"Ada"}, bytes);
    CHECK(bytes == "before Ada");
    CHECK(decode_with<UserCodec, User>("Ada") == User{"Ada"});
}

TEST_CASE("value that only moves makes the round trip") {
    std::string bytes;
    encode_with<PointerCodec>(std::make_unique<int>(42), bytes);
    CHECK(**decode_with<PointerCodec, std::unique_ptr<int>>(bytes) == 42);
}

TEST_CASE("exception from decode means that there is no value") {
    CHECK(decode_with<Throwing<Rejected>, User>("Ada") == std::nullopt);
    CHECK(decode_with<PointerCodec, std::unique_ptr<int>>("not a number") == std::nullopt);
}

TEST_CASE("memory that runs out in decode is not the bytes' fault") {
    CHECK_THROWS_AS((decode_with<Throwing<std::bad_alloc>, User>("Ada")), std::bad_alloc);
}

TEST_CASE("encode that throws leaves the output as it was") {
    std::string bytes = "before";
    CHECK_THROWS_AS(encode_with<Throwing<Rejected>>(User{"Ada"}, bytes), Rejected);
    CHECK(bytes == "before");
}
