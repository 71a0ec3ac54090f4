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

/// The same, if besides each of the tags KEYS[2], KEYS[3] and so on has the version ARGV[4],
/// ARGV[5] and so on.
inline constexpr std::string_view replace_tagged =
    "if redis.call('GETRANGE',KEYS[1],0,35)~=ARGV[1] then return 0 end "
    "for i=2,#KEYS do if redis.call('GET',KEYS[i])~=ARGV[i+2] then return 0 end end "
    "if ARGV[2]=='' then redis.call('DEL',KEYS[1]) "
    "elseif ARGV[3]=='' then redis.call('SET',KEYS[1],ARGV[2]) "
    "else redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end "
    "return 1";

/// Returns the versions of the tags KEYS. Those that do not exist are made, with the versions
/// ARGV[2], ARGV[3] and so on. All live for ARGV[1] milliseconds at least (empty: for ever), and a
/// minute more, as the entry is written later.
inline constexpr std::string_view capture_tags =
    "local versions={} "
    "local life=ARGV[1]~='' and ARGV[1]+60000 "
    "for i,tag in ipairs(KEYS) do "
    "local version=redis.call('GET',tag) "
    "if not version then version=ARGV[i+1] redis.call('SET',tag,version) "
    "if life then redis.call('PEXPIRE',tag,string.format('%.0f',life)) end "
    "else local left=redis.call('PTTL',tag) "
    "if left>=0 and not life then redis.call('PERSIST',tag) "
    "elseif left>=0 and left<life then "
    "redis.call('PEXPIRE',tag,string.format('%.0f',life)) end end "
    "versions[i]=version end "
    "return versions";

/// Removes the tag KEYS[1], and notes its number in the log KEYS[2] if there is one. A log that is
/// full is removed.
inline constexpr std::string_view invalidate_tag =
    "redis.call('DEL',KEYS[1]) "
    "local size=redis.call('HLEN',KEYS[2]) "
    "if size>4096 then redis.call('DEL',KEYS[2]) "
    "elseif size>0 then "
    "redis.call('HSET',KEYS[2],KEYS[1],redis.call('HINCRBY',KEYS[2],'last',1)) end "
    "return 1";

/// Returns who the log KEYS[1] is, and its last number; makes it if need be, as ARGV[1]. It goes if
/// nobody asks for a day: to whom a load takes longer than that, it is lost.
inline constexpr std::string_view mark_tag_log =
    "if redis.call('HSETNX',KEYS[1],'id',ARGV[1])==1 then "
    "redis.call('HSET',KEYS[1],'last',0) end "
    "redis.call('PEXPIRE',KEYS[1],86400000) "
    "return redis.call('HMGET',KEYS[1],'id','last')";

}  // namespace drey::redis::scripts
