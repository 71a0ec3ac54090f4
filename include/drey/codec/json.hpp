#pragma once

#if !__has_include(<nlohmann/json.hpp>)
#error "drey: drey/codec/json.hpp needs nlohmann_json (Debian: nlohmann-json3-dev)"
#endif

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/codec/codec.hpp"

/// Codecs through nlohmann_json, for every type that it can convert: by to_json and from_json or an
/// adl_serializer, and the containers of the standard library. (std::optional from 3.12 on; with an
/// older one write the adl_serializer. Were it here, it would clash with yours.)
///
/// `encode` throws rather than store what would come back as something else, or not at all: in
/// Json text that is not UTF-8 (nlohmann::json::type_error 316), NaN, infinity and byte strings; in
/// every format what nests deeper than `deepest_json`. A `put` throws the same.
///
/// `decode` refuses whatever follows the value, and numbers for text and the reverse. A number that
/// does not fit the type that is asked for is cast to it, as nlohmann_json does: raise the schema
/// when a member becomes narrower.
namespace drey {

/// How many arrays and objects may be inside each other, in what is written as in what is read.
/// nlohmann_json reads MessagePack and CBOR, writes all formats and converts recursively: without a
/// bound, a megabyte of '[' overflows the stack.
inline constexpr std::size_t deepest_json = 512;

namespace detail {

/// Whether T, or what it is a container of, only refers to what it should hold.
template <class T>
consteval bool holds_references() {
    bool found = refers<T>;
    // nlohmann::json and std::filesystem::path are containers of themselves.
    if constexpr (requires { typename T::value_type; })
        if constexpr (!std::is_same_v<typename T::value_type, T>)
            found |= holds_references<typename T::value_type>();
    if constexpr (requires { typename T::mapped_type; })
        found |= refers<typename T::key_type> || holds_references<typename T::mapped_type>();
    return found;
}

/// Whether nlohmann_json can convert T both ways. It would also lend pointers and views into the
/// document, which is gone when `decode` returns.
template <class T>
concept JsonValue =
    !holds_references<T>() && requires(const T& value, const nlohmann::json& document) {
    nlohmann::json(value);
    { document.template get<T>() } -> std::same_as<T>;
};

/// Builds the document of what the parser tells, and stops the parser where it nests too deep.
/// nlohmann_json's own builder has no bound, and believes the lengths that a document declares.
class JsonBuilder {
public:
    using json = nlohmann::json;

    bool null() { return add(nullptr); }
    bool boolean(bool value) { return add(value); }
    bool number_integer(json::number_integer_t value) { return add(value); }
    bool number_unsigned(json::number_unsigned_t value) { return add(value); }
    bool number_float(json::number_float_t value, const json::string_t&) { return add(value); }
    bool string(json::string_t& value) { return add(std::move(value)); }
    bool binary(json::binary_t& value) { return add(std::move(value)); }

    bool start_array(std::size_t) { return open(json::array()); }
    bool end_array() { return close(); }
    bool start_object(std::size_t) { return open(json::object()); }
    bool end_object() { return close(); }
    bool key(json::string_t& name) {
        member_ = &(*open_.back())[std::move(name)];
        return true;
    }

    bool parse_error(std::size_t, const std::string&, const json::exception&) { return false; }

    json&& take() { return std::move(document_); }

private:
    bool add(json value) {
        place(std::move(value));
        return true;
    }

    bool open(json value) {
        if (open_.size() == deepest_json) return false;
        open_.push_back(place(std::move(value)));
        return true;
    }

    bool close() {
        open_.pop_back();
        return true;
    }

    json* place(json&& value) {
        if (open_.empty()) return &(document_ = std::move(value));
        if (open_.back()->is_array()) return &open_.back()->emplace_back(std::move(value));
        return &(*member_ = std::move(value));
    }

    json document_;
    json* member_ = nullptr;   // where the value of the latest key goes
    std::vector<json*> open_;  // from outside in; an open one is the last of its parent, which
                               // therefore does not move it
};

using JsonFormat = nlohmann::json::input_format_t;

inline void check_json(const nlohmann::json::binary_t& bytes, JsonFormat format) {
    if (format == JsonFormat::json)
        throw std::domain_error("drey: JSON has no byte strings; MessagePack and Cbor do");
    // nlohmann_json writes a subtype as a tag, and by default refuses tags when it reads.
    if (bytes.has_subtype() && (format == JsonFormat::cbor || bytes.subtype() > 0xff))
        throw std::domain_error("drey: this subtype of a byte string would not be read back");
}

/// Throws if the document could not be read back as what it is.
inline void check_json(const nlohmann::json& document, JsonFormat format, std::size_t depth = 0) {
    using Kind = nlohmann::json::value_t;
    switch (document.type()) {
        case Kind::array:
        case Kind::object:
            if (depth == deepest_json)
                throw std::length_error("drey: a value nests deeper than drey::deepest_json");
            for (const nlohmann::json& inner : document) check_json(inner, format, depth + 1);
            break;
        case Kind::number_float:
            if (format == JsonFormat::json && !std::isfinite(document.get<double>()))
                throw std::domain_error(
                    "drey: JSON has neither NaN nor infinity; MessagePack and Cbor do");
            break;
        case Kind::binary:
            check_json(document.get_binary(), format);
            break;
        case Kind::discarded:
            throw std::invalid_argument("drey: a discarded nlohmann::json");
        default:
            break;
    }
}

template <class T>
nlohmann::json to_json_document(const T& value, JsonFormat format) {
    nlohmann::json document(value);
    check_json(document, format);
    return document;
}

template <class T>
std::optional<T> from_json_document(std::string_view bytes, JsonFormat format) {
    JsonBuilder builder;
    if (!nlohmann::json::sax_parse(bytes.begin(), bytes.end(), &builder, format))
        return std::nullopt;
    const nlohmann::json document = builder.take();
    // Not an error but an answer: another shape than T's. What else a from_json throws is for the
    // caller of `decode`.
    try {
        return std::optional<T>(std::in_place, document.get<T>());
    } catch (const nlohmann::json::exception&) {
        return std::nullopt;
    }
}

/// Whether these bytes, if they are CBOR, have no strings of indefinite length. to_cbor never
/// writes them, but nlohmann_json reads them, chunk within chunk without a bound, which RFC 8949
/// (3.2.3) forbids. Goes from head to head; what is not CBOR is left to the parser.
inline bool has_only_definite_strings(std::string_view bytes) noexcept {
    while (!bytes.empty()) {
        const auto head = static_cast<unsigned char>(bytes.front());
        const unsigned kind = head >> 5, info = head & 31;
        const bool is_string = kind == 2 || kind == 3;
        bytes.remove_prefix(1);
        std::uint64_t argument = info;
        if (info == 31) {
            if (is_string) return false;
            continue;
        }
        if (info >= 24) {
            const std::size_t size = std::size_t{1} << (info - 24);
            if (info > 27 || bytes.size() < size) return true;
            argument = 0;
            for (std::size_t at = 0; at != size; ++at)
                argument = argument << 8 | static_cast<unsigned char>(bytes[at]);
            bytes.remove_prefix(size);
        }
        if (!is_string) continue;
        if (argument > bytes.size()) return true;
        bytes.remove_prefix(static_cast<std::size_t>(argument));
    }
    return true;
}

}  // namespace detail

/// Codec: JSON as text, compact. The one that a person can read in the store.
struct Json {
    static constexpr std::uint8_t codec_id = 2;

    template <class T>
    static consteval void check() {
        static_assert(!detail::holds_references<T>(),
                      "drey: drey::Json and its like refuse pointers, references and views: store "
                      "what they refer to");
        static_assert(detail::holds_references<T>() || detail::JsonValue<T>,
                      "drey: nlohmann_json cannot convert this type: write to_json and from_json "
                      "beside it, or specialise nlohmann::adl_serializer");
    }

    template <detail::JsonValue T>
    static void encode(const T& value, std::string& out) {
        out += detail::to_json_document(value, detail::JsonFormat::json).dump();
    }

    template <detail::JsonValue T>
    static std::optional<T> decode(std::string_view bytes) {
        // To the parser a zero byte is the end, whatever comes after it. JSON escapes it in text.
        if (bytes.find('\0') != bytes.npos) return std::nullopt;
        return detail::from_json_document<T>(bytes, detail::JsonFormat::json);
    }
};

/// Codec: MessagePack (https://msgpack.org), JSON's model in fewer bytes. Takes every float and any
/// text.
struct MessagePack {
    static constexpr std::uint8_t codec_id = 3;

    template <class T>
    static consteval void check() {
        Json::check<T>();
    }

    template <detail::JsonValue T>
    static void encode(const T& value, std::string& out) {
        nlohmann::json::to_msgpack(detail::to_json_document(value, detail::JsonFormat::msgpack),
                                   out);
    }

    template <detail::JsonValue T>
    static std::optional<T> decode(std::string_view bytes) {
        return detail::from_json_document<T>(bytes, detail::JsonFormat::msgpack);
    }
};

/// Codec: CBOR (RFC 8949), JSON's model in fewer bytes. Takes every float and any text.
struct Cbor {
    static constexpr std::uint8_t codec_id = 4;

    template <class T>
    static consteval void check() {
        Json::check<T>();
    }

    template <detail::JsonValue T>
    static void encode(const T& value, std::string& out) {
        nlohmann::json::to_cbor(detail::to_json_document(value, detail::JsonFormat::cbor), out);
    }

    template <detail::JsonValue T>
    static std::optional<T> decode(std::string_view bytes) {
        if (!detail::has_only_definite_strings(bytes)) return std::nullopt;
        return detail::from_json_document<T>(bytes, detail::JsonFormat::cbor);
    }
};

}  // namespace drey
