// expect: drey: Raw takes strings, trivially copyable types, .*such as drey::Json

#include <drey/redis.hpp>

#include <string>

struct User {
    std::string name;
};

drey::Cache<int, User, drey::Redis<>> cache{{}};
