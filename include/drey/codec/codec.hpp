#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <new>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>

/// What a codec is: how values become bytes in a store outside this process, and bytes values.
///
/// A codec is a type without state. One for a single type of yours:
///
///     struct UserCodec {
///         static void encode(const User& user, std::string& out);             // appends
///         static std::optional<User> decode(std::string_view bytes);
///     };
///
/// One for many types has templates instead:
///
///     template <class T> static void encode(const T&, std::string& out);
///     template <class T> static std::optional<T> decode(std::string_view bytes);
///
/// `encode` may throw, and what it throws comes out of the `put`. `decode` answers nullopt to bytes
/// that `encode` did not write, and must not let any bytes at all do harm. What it throws means the
/// same, for as far as it derives from std::exception: an undecodable value is a miss. Memory that
/// ran out (std::bad_alloc) is not the bytes' fault, and passed on.
///
/// Both are called from many threads at once.
namespace drey {

namespace detail {

template <class C, class T>
concept Encodes = requires(const T& value, std::string& out) {
    C::encode(value, out);
};

template <class C, class T>
concept DecodesOne = requires(std::string_view bytes) {
    { C::decode(bytes) } -> std::same_as<std::optional<T>>;
};

template <class C, class T>
concept DecodesAny = requires(std::string_view bytes) {
    { C::template decode<T>(bytes) } -> std::same_as<std::optional<T>>;
};

template <class C>
concept HasCodecId = requires {
    { C::codec_id } -> std::convertible_to<std::uint8_t>;
};

/// Types that only refer to what is elsewhere in this process, where another one could not find it,
/// and a decoder would have nowhere to put it. (Ranges are borrowed whose elements outlive them:
/// string_view, span.)
template <class T>
inline constexpr bool refers = std::is_pointer_v<T> || std::is_member_pointer_v<T> ||
                               std::is_null_pointer_v<T> || std::ranges::enable_borrowed_range<T>;
template <class T>
inline constexpr bool refers<std::reference_wrapper<T>> = true;
template <class T>
inline constexpr bool refers<std::initializer_list<T>> = true;

/// The codec's id as the envelope keeps it, so that one codec never reads what another wrote:
/// `C::codec_id`, or 0xff. Those without one are told apart by the schema alone.
///
/// Ids below 64 belong to drey: 1 Raw, 2 Json, 3 MessagePack, 4 Cbor.
template <class C>
inline constexpr std::uint8_t codec_id = 0xff;
template <HasCodecId C>
inline constexpr std::uint8_t codec_id<C>{C::codec_id};

}  // namespace detail

/// C turns values of type T into bytes and back.
template <class C, class T>
concept CodecFor = std::is_empty_v<C> && detail::Encodes<C, T> &&
    (detail::DecodesOne<C, T> || detail::DecodesAny<C, T>);

namespace detail {

/// Says in words what keeps C from being a codec for T. A codec for many types may say it
/// itself, by static_asserts in a `template <class T> static consteval void check()`.
template <class C, class T>
consteval void check_codec() {
    static_assert(std::is_class_v<C>, "drey: a codec must be a class with static functions");
    if constexpr (std::is_class_v<C>) {
        static_assert(std::is_empty_v<C>,
                      "drey: a codec must have no state: static functions only");
        constexpr bool has_own_words = requires { C::template check<T>(); };
        if constexpr (has_own_words) C::template check<T>();
        static_assert(has_own_words || Encodes<C, T>,
                      "drey: the codec must have, for this value type: static void encode(const "
                      "T&, std::string& out)");
        static_assert(has_own_words || DecodesOne<C, T> || DecodesAny<C, T>,
                      "drey: the codec must have, for this value type: static std::optional<T> "
                      "decode(std::string_view bytes), or a template of it for any T");
        static_assert(
            HasCodecId<C> || !requires { C::codec_id; },
            "drey: codec_id of a codec must be: static constexpr std::uint8_t codec_id = ...");
        static_assert(codec_id<C> != 0, "drey: codec_id of a codec must not be 0, which is nobody");
    }
}

/// Appends the value's bytes. Throws what the codec throws, and then `out` is as it was.
template <class C, class T>
void encode_with(const T& value, std::string& out) {
    check_codec<C, T>();
    const std::size_t before = out.size();
    try {
        C::encode(value, out);
    } catch (...) {
        out.resize(before);
        throw;
    }
}

/// The value; nothing if the codec cannot make one of these bytes.
template <class C, class T>
std::optional<T> decode_with(std::string_view bytes) {
    check_codec<C, T>();
    try {
        if constexpr (DecodesAny<C, T>) {
            return C::template decode<T>(bytes);
        } else {
            return C::decode(bytes);
        }
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

}  // namespace detail
}  // namespace drey
