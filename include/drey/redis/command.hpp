#pragma once

#include <hiredis/hiredis.h>

#include <array>
#include <cstddef>
#include <initializer_list>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace drey::redis {

/// One command as the server reads it, formatted by hiredis. Arguments may hold any bytes. Throws
/// std::bad_alloc.
class Command {
public:
    Command(std::initializer_list<std::string_view> arguments)
        : Command(std::span<const std::string_view>(arguments.begin(), arguments.size())) {}

    explicit Command(std::span<const std::string_view> arguments) {
        constexpr std::size_t few = 8;
        if (arguments.size() <= few) {
            std::array<const char*, few> texts;
            std::array<std::size_t, few> sizes;
            format(arguments, texts.data(), sizes.data());
        } else {
            std::vector<const char*> texts(arguments.size());
            std::vector<std::size_t> sizes(arguments.size());
            format(arguments, texts.data(), sizes.data());
        }
    }

    Command(Command&& other) noexcept
        : bytes_(std::exchange(other.bytes_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Command& operator=(Command&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Command() {
        if (bytes_ != nullptr) redisFreeCommand(bytes_);
    }

    std::string_view bytes() const noexcept { return {bytes_, size_}; }

private:
    void format(std::span<const std::string_view> arguments, const char** texts,
                std::size_t* sizes) {
        for (std::size_t i = 0; i < arguments.size(); ++i) {
            texts[i] = arguments[i].data() != nullptr ? arguments[i].data() : "";
            sizes[i] = arguments[i].size();
        }
        const auto size =
            redisFormatCommandArgv(&bytes_, static_cast<int>(arguments.size()), texts, sizes);
        if (size < 0) throw std::bad_alloc();
        size_ = static_cast<std::size_t>(size);
    }

    char* bytes_ = nullptr;
    std::size_t size_ = 0;
};

/// The most bytes one argument may have: Redis' default for proto-max-bulk-len.
inline constexpr std::size_t most_argument_bytes = std::size_t{512} << 20;

}  // namespace drey::redis
