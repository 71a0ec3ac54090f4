// expect: success

// If this fails, the snippets about Redis fail for a reason that is not theirs.
#include <drey/json.hpp>
#include <drey/redis.hpp>

#include <string>

struct User {
    std::string name;
};
void to_json(nlohmann::json& json, const User& user) { json = user.name; }
void from_json(const nlohmann::json& json, User& user) { json.get_to(user.name); }

struct Key {
    int a, b;
};
std::string to_key(const Key& key) { return std::to_string(key.a) + "-" + std::to_string(key.b); }

std::size_t f(drey::Cache<Key, User, drey::Redis<drey::Json>>& cache) {
    cache.put({1, 2}, {"Ada"});
    return cache.status().unconfirmed + cache.erase_matching("1*") + cache.size();
}
