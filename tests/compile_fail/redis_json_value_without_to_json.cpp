// expect: drey: nlohmann_json cannot convert this type: write to_json and from_json

#include <drey/json.hpp>
#include <drey/redis.hpp>

#include <string>

struct User {
    std::string name;
};

drey::Cache<int, User, drey::Redis<drey::Json>> cache{{}};
