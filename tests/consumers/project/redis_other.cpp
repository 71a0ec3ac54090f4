#include <drey/redis.hpp>

#include <map>
#include <string>

void fill(drey::Cache<std::string, std::map<std::string, int>, drey::Redis<drey::Json>>& users) {
    users.put("42", {{"a", 1}});
}
