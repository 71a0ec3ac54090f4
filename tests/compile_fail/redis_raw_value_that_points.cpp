// expect: drey: Raw refuses pointers, references and views

#include <drey/redis.hpp>

drey::Cache<int, const char*, drey::Redis<>> cache{{}};
