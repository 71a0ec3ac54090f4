#pragma once

#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// The bytes of a file or of standard input, decompressed if they are zstd or gzip, which they say
/// themselves by how they begin.
namespace hit_ratio {

/// Standard input, where a file is named.
inline const std::filesystem::path standard_input = "-";

/// What messages call it.
inline std::string name_of(const std::filesystem::path& file) {
    return file == standard_input ? "standard input" : file.string();
}

namespace detail {

[[noreturn]] inline void fail(const std::filesystem::path& file, std::string_view what) {
    throw std::runtime_error(name_of(file) + ": " + std::string(what));
}

class ZstdStream {
public:
    ZstdStream() : stream_(ZSTD_createDStream()), output_(ZSTD_DStreamOutSize()) {
        if (!stream_) throw std::bad_alloc();
    }

    template <class Take>
    void decompress(std::span<const char> bytes, const std::filesystem::path& file, Take&& take) {
        ZSTD_inBuffer from{bytes.data(), bytes.size(), 0};
        bool output_was_full = false;
        while (from.pos < from.size || output_was_full) {
            ZSTD_outBuffer to{output_.data(), output_.size(), 0};
            still_expected_ = ZSTD_decompressStream(stream_.get(), &to, &from);
            if (ZSTD_isError(still_expected_))
                fail(file, std::string("is no valid zstd: ") + ZSTD_getErrorName(still_expected_));
            take(std::span<const char>(output_.data(), to.pos));
            output_was_full = to.pos == to.size && still_expected_ != 0;
        }
    }

    bool is_complete() const noexcept { return still_expected_ == 0; }

private:
    struct Free {
        void operator()(ZSTD_DStream* stream) const noexcept { ZSTD_freeDStream(stream); }
    };
    std::unique_ptr<ZSTD_DStream, Free> stream_;
    std::vector<char> output_;
    std::size_t still_expected_ = 1;  // what zstd says of an unfinished frame
};

class GzipStream {
public:
    GzipStream() : output_(1 << 17) {
        if (inflateInit2(&stream_, 15 + 16) != Z_OK) throw std::bad_alloc();
    }
    GzipStream(const GzipStream&) = delete;
    GzipStream& operator=(const GzipStream&) = delete;
    ~GzipStream() { inflateEnd(&stream_); }

    template <class Take>
    void decompress(std::span<const char> bytes, const std::filesystem::path& file, Take&& take) {
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
        stream_.avail_in = static_cast<uInt>(bytes.size());
        bool output_was_full = false;
        while (stream_.avail_in > 0 || output_was_full) {
            if (complete_) {  // a file may be of several members
                inflateReset(&stream_);
                complete_ = false;
            }
            stream_.next_out = reinterpret_cast<Bytef*>(output_.data());
            stream_.avail_out = static_cast<uInt>(output_.size());
            const int result = inflate(&stream_, Z_NO_FLUSH);
            if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
                fail(file, std::string("is no valid gzip") +
                               (stream_.msg ? std::string(": ") + stream_.msg : ""));
            complete_ = result == Z_STREAM_END;
            take(std::span<const char>(output_.data(), output_.size() - stream_.avail_out));
            output_was_full = stream_.avail_out == 0 && !complete_;
        }
    }

    bool is_complete() const noexcept { return complete_; }

private:
    z_stream stream_{};
    std::vector<char> output_;
    bool complete_ = false;
};

inline bool begins_with(std::span<const char> bytes, std::string_view magic) noexcept {
    return bytes.size() >= magic.size() &&
           std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

}  // namespace detail

/// Calls `take(bytes)` for each piece of the content, decompressed, and `at(position)` with how far
/// that is in the file. Throws std::runtime_error that names the file.
template <class Take, class At>
void for_each_piece(const std::filesystem::path& file, Take&& take, At&& at) {
    using detail::fail;
    struct Close {
        void operator()(std::FILE* open) const noexcept {
            if (open != stdin) std::fclose(open);
        }
    };
    const std::unique_ptr<std::FILE, Close> in(
        file == standard_input ? stdin : std::fopen(file.c_str(), "rb"));
    if (!in) fail(file, std::string("cannot be opened: ") + std::strerror(errno));

    std::vector<char> buffer(1 << 17);
    std::unique_ptr<detail::ZstdStream> zstd;
    std::unique_ptr<detail::GzipStream> gzip;
    std::uint64_t position = 0;
    for (bool first = true;; first = false) {
        const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), in.get());
        if (std::ferror(in.get()))
            fail(file, std::string("cannot be read: ") + std::strerror(errno));
        if (count == 0) break;
        const std::span<const char> bytes(buffer.data(), count);
        if (first && detail::begins_with(bytes, "\x28\xb5\x2f\xfd"))
            zstd = std::make_unique<detail::ZstdStream>();
        if (first && detail::begins_with(bytes, "\x1f\x8b"))
            gzip = std::make_unique<detail::GzipStream>();
        if (zstd) {
            zstd->decompress(bytes, file, take);
        } else if (gzip) {
            gzip->decompress(bytes, file, take);
        } else {
            take(bytes);
        }
        at(position += count);
    }
    if (position == 0) fail(file, "is empty");
    if (zstd && !zstd->is_complete())
        fail(file, "is truncated: it ends in the middle of a zstd frame");
    if (gzip && !gzip->is_complete())
        fail(file, "is truncated: it ends in the middle of its gzip data");
}

template <class Take>
void for_each_piece(const std::filesystem::path& file, Take&& take) {
    for_each_piece(file, take, [](std::uint64_t) {});
}

}  // namespace hit_ratio
