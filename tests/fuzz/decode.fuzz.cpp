#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "drey/codec/raw.hpp"
#include "drey/codec/sealed.hpp"
#ifdef DREY_WITH_JSON
#include "drey/json.hpp"
#endif

// Whatever a shared store may hold: each input is read as a whole envelope, and as the payload of
// one that is in order, by every codec for several types. Nothing may crash, and what was read as a
// value is one: written and read again, it is the same.

#ifdef DREY_WITH_JSON

#if NLOHMANN_JSON_VERSION_MAJOR == 3 && NLOHMANN_JSON_VERSION_MINOR < 12
template <class T>
struct nlohmann::adl_serializer<std::optional<T>> {
    static void to_json(json& document, const std::optional<T>& value) {
        if (value) {
            document = *value;
        } else {
            document = nullptr;
        }
    }
    static void from_json(const json& document, std::optional<T>& value) {
        if (document.is_null()) {
            value.reset();
        } else {
            value = document.get<T>();
        }
    }
};
#endif

namespace shop {

struct Article {
    std::string name;
    std::int64_t cents = 0;
    std::vector<std::string> tags;
    std::optional<double> weight;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Article, name, cents, tags, weight)

}  // namespace shop

#endif

namespace {

constexpr std::uint32_t schema = 1;
constexpr std::uint64_t stamp = 2;

void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

template <class Codec, class T>
std::string sealed(const T& value) {
    std::string bytes;
    drey::seal_value<Codec>(bytes, value, schema, stamp);
    return bytes;
}

/// Compared by their bytes, as a NaN does not equal itself.
template <class Codec, class T>
void read(std::string_view bytes) {
    drey::Undecodable why{};
    const auto value = drey::open_value<Codec, T>(bytes, schema, why);
    expect(value.has_value() == (why == drey::Undecodable::none), "a value or a reason, not both");
    if (!value) return;
    const std::string once = sealed<Codec>(*value);
    const auto again = drey::open_value<Codec, T>(once, schema, why);
    expect(again.has_value(), "what was written can be read");
    expect(sealed<Codec>(*again) == once, "what is read is what was written");
}

/// The types each codec can do, one by one.
template <class Codec, class... T>
void read_all(std::string_view input) {
    (read<Codec, T>(input), ...);

    std::string envelope;
    const std::size_t begin = drey::begin_envelope(envelope);
    envelope += input;
    drey::seal_envelope(envelope, begin,
                        {.codec = drey::detail::codec_id<Codec>, .schema = schema, .stamp = stamp});
    expect(drey::open_envelope(envelope).payload == input, "an envelope gives back its payload");
    (read<Codec, T>(envelope), ...);
}

void read_envelope(std::string_view input) {
    const auto opened = drey::open_envelope(input);
    if (!opened) return;
    std::string again;
    const std::size_t begin = drey::begin_envelope(again);
    if (opened.header.tagged)
        drey::append_envelope_tags(again, drey::read_envelope_tags(opened.tags));
    again += opened.payload;
    drey::seal_envelope(again, begin, opened.header);
    expect(again == input, "an envelope that opens is one that we could have written");
}

/// The header's fields from the input, so that every one of them gets past the checksum.
void read_resealed(std::string_view input) {
    if (input.size() < drey::envelope_header_size) return;
    std::string bytes(input);
    bytes.replace(0, 5, "drey\1");
    drey::detail::store_little(bytes.data() + 12, drey::detail::envelope_checksum(bytes, {}));
    read_envelope(bytes);
    read<drey::Raw, std::string>(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    read_envelope(input);
    read_resealed(input);
    read_all<drey::Raw, std::string, bool, std::int32_t, double, std::array<bool, 3>,
             std::vector<bool>, std::vector<std::uint16_t>>(input);
#ifdef DREY_WITH_JSON
    const auto read_documents = [&]<class Codec>(Codec) {
        read_all<Codec, nlohmann::json, std::string, std::int64_t, double, std::vector<std::string>,
                 std::map<std::string, std::vector<double>>,
                 std::optional<std::vector<std::optional<int>>>, shop::Article>(input);
    };
    read_documents(drey::Json());
    read_documents(drey::MessagePack());
    read_documents(drey::Cbor());
#endif
    return 0;
}
