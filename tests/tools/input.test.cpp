#include "bench/hit_ratio/input.hpp"

#include <zlib.h>
#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "bench/hit_ratio/log_keys.hpp"
#include "bench/hit_ratio/trace.hpp"
#include "drey/types.hpp"
#include "support/catch.hpp"

namespace {

using namespace hit_ratio;
using Catch::Matchers::ContainsSubstring;

/// A file that is gone after the test.
class File {
public:
    File(const std::string& name, std::string_view content)
        : path_(std::filesystem::temp_directory_path() /
                ("drey-" + std::to_string(getpid()) + "-" + name)) {
        std::ofstream(path_, std::ios::binary) << content;
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() { std::filesystem::remove(path_); }

    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

std::string plain(std::string_view text) { return std::string(text); }

std::string zstd(std::string_view text) {
    std::string result(ZSTD_compressBound(text.size()), '\0');
    const std::size_t size =
        ZSTD_compress(result.data(), result.size(), text.data(), text.size(), 1);
    REQUIRE_FALSE(ZSTD_isError(size));
    result.resize(size);
    return result;
}

std::string gzip(std::string_view text) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string result(deflateBound(&stream, static_cast<uLong>(text.size())), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(result.data());
    stream.avail_out = static_cast<uInt>(result.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    result.resize(stream.total_out);
    deflateEnd(&stream);
    return result;
}

struct Encoding {
    const char* name;
    std::string (*encode)(std::string_view);
};
constexpr Encoding encodings[] = {{"plain", &plain}, {"zstd", &zstd}, {"gzip", &gzip}};
constexpr std::span<const Encoding> compressions = std::span(encodings).subspan(1);

std::string content_of(const File& file) {
    std::string content;
    for_each_piece(file.path(), [&](std::span<const char> piece) {
        content.append(piece.data(), piece.size());
    });
    return content;
}

/// What is said of a file that is refused.
template <class Read>
std::string refusal(Read&& read) {
    try {
        read();
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "nothing";
}

/// More than is read or decompressed at once.
std::string long_text() {
    std::string text;
    for (unsigned i = 0; i < 60'000; ++i) text += std::to_string(i * 2654435761u) + "\n";
    return text;
}

std::string records(std::initializer_list<std::uint32_t> numbers) {
    std::string bytes;
    for (const std::uint32_t number : numbers)
        for (unsigned shift = 0; shift < 32; shift += 8)
            bytes += static_cast<char>(number >> shift & 0xff);
    return bytes;
}

}  // namespace

TEST_CASE("a compressed file reads as what was compressed, whatever it is called", "[tools]") {
    const std::string text = long_text();
    for (const auto& [name, encode] : encodings) {
        INFO(name);
        CHECK(content_of(File("log.txt", encode(text))) == text);
        // What was appended to a compressed file is compressed by itself.
        CHECK(content_of(File("log.txt", encode(text) + encode("more\n"))) == text + "more\n");
    }
}

TEST_CASE("a compressed file that was cut off is an error that says so", "[tools]") {
    const std::string text = long_text();
    for (const auto& [name, encode] : compressions) {
        const std::string whole = encode(text);
        for (const std::size_t length : {std::size_t{12}, whole.size() / 2, whole.size() - 1}) {
            INFO(name << ", " << length << " of " << whole.size());
            const File cut("cut.txt", std::string_view(whole).substr(0, length));
            const std::string said = refusal([&] { content_of(cut); });
            CHECK_THAT(said, ContainsSubstring(cut.path().string() + ": is truncated"));
        }
    }
}

TEST_CASE("a compressed file that was damaged is an error that says so", "[tools]") {
    for (const auto& [name, encode] : compressions) {
        INFO(name);
        std::string damaged = encode(long_text());
        for (std::size_t i = 20; i < 200; ++i) damaged[i] = static_cast<char>(~damaged[i]);
        const File file("damaged.txt", damaged);
        CHECK_THAT(refusal([&] { content_of(file); }),
                   ContainsSubstring(": is no valid " + std::string(name)));
    }
}

TEST_CASE("a file that is empty or not there is an error that says so", "[tools]") {
    const File empty("empty.txt", "");
    CHECK_THAT(refusal([&] { content_of(empty); }), ContainsSubstring(": is empty"));
    const auto read_nothing = [] { for_each_piece("/nowhere/log", [](std::span<const char>) {}); };
    CHECK_THAT(refusal(read_nothing), ContainsSubstring("/nowhere/log: cannot be opened: No such"));
    for (const auto& [name, encode] : compressions) {
        INFO(name);
        const File nothing("nothing.u32", encode(""));
        CHECK(content_of(nothing).empty());
        CHECK_THAT(refusal([&] { read_trace(nothing.path()); }),
                   ContainsSubstring(": holds no requests"));
    }
}

TEST_CASE("bad lines of a compressed log are counted, and the first told", "[tools]") {
    const std::string log = "a,1\nb,2\nc\nd,4\n,\ne,5\n";
    for (const auto& [name, encode] : encodings) {
        INFO(name);
        std::vector<drey::Hash> keys;
        LogReader reader({.format = Format::csv, .column = 2},
                         [&](drey::Hash key) { keys.push_back(key); });
        const File file("log.csv", encode(log));
        for_each_piece(file.path(), [&](std::span<const char> piece) { reader.read(piece); });
        reader.finish();
        CHECK(keys.size() == 4);
        CHECK(reader.bad_lines().count == 2);
        CHECK(reader.bad_lines().first == 3);
    }
}

TEST_CASE("a trace is read whole, with its sizes, or refused", "[tools]") {
    for (const auto& [name, encode] : encodings) {
        INFO(name);
        const Trace ids = read_trace(File("t.u32", encode(records({7, 8, 7}))).path());
        CHECK(ids.ids == std::vector<std::uint32_t>{7, 8, 7});
        CHECK(ids.distinct == 2);
        CHECK_FALSE(ids.sized());
        const Trace sized = read_trace(File("t.u32s", encode(records({7, 100, 8, 200}))).path());
        CHECK(sized.ids == std::vector<std::uint32_t>{7, 8});
        CHECK(sized.sizes == std::vector<std::uint32_t>{100, 200});

        const File cut("cut.u32", encode(records({7, 8}).substr(0, 7)));
        CHECK_THAT(refusal([&] { read_trace(cut.path()); }),
                   ContainsSubstring("holds 7 bytes, which is no multiple of 4: truncated?"));
        const File odd("odd.u32s", encode(records({7, 100, 8})));
        CHECK_THAT(refusal([&] { read_trace(odd.path()); }),
                   ContainsSubstring("holds 12 bytes, which is no multiple of 8: truncated?"));
    }
    const File text("t.txt", "7\n");
    CHECK_THAT(refusal([&] { read_trace(text.path()); }), ContainsSubstring("neither .u32 nor"));
}
