// expect: drey: the codec must have, for this value type: static std::optional<T> decode

#include <drey/redis.hpp>

#include <string>

struct Codec {
    static void encode(const int& value, std::string& out) { out += std::to_string(value); }
};

drey::Cache<int, int, drey::Redis<Codec>> cache{{}};
