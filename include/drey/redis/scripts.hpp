#pragma once

#include <string_view>

/// What the server must do in one step. Sent whole each time (EVAL, which the server caches by its
/// text): a digest alone would fail after each restart of the server.
namespace drey::redis::scripts {

/// Replaces what is at KEYS[1] if it still is what was seen: compares its first 36 bytes, which
/// hold a stamp that no two writes share, with ARGV[1], which is empty for nothing. Writes ARGV[2]
/// for ARGV[3] milliseconds (empty: for ever), or removes the key if ARGV[2] is empty. Returns 1 if
/// so.
inline constexpr std::string_view replace =
    "if redis.call('GETRANGE',KEYS[1],0,35)~=ARGV[1] then return 0 end "
    "if ARGV[2]=='' then redis.call('DEL',KEYS[1]) "
    "elseif ARGV[3]=='' then redis.call('SET',KEYS[1],ARGV[2]) "
    "else redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end "
    "return 1";

}  // namespace drey::redis::scripts
