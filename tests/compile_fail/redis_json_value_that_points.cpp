// expect: drey: drey::Json and its like refuse pointers

#include <drey/json.hpp>
#include <drey/redis.hpp>

#include <string_view>
#include <vector>

drey::Cache<int, std::vector<std::string_view>, drey::Redis<drey::Json>> cache{{}};
