// expect: drey: keys outside this process are text.*to_key

#include <drey/redis.hpp>

struct Key {
    int a, b;
};

drey::Cache<Key, int, drey::Redis<>> cache{{}};
