// As main.cpp, over Redis: but that no server is there, so every look-up is a miss and every load
// still brings its value.
#include <drey/redis.hpp>

#include <map>
#include <string>

using Users = drey::Cache<std::string, std::map<std::string, int>, drey::Redis<drey::Json>>;

void fill(Users& users);

int main() {
    // Nothing listens at port 1, and if something did, it would not be Redis.
    Users users{{.uri = "redis://127.0.0.1:1/0", .prefix = "users"}};
    fill(users);
    const auto loaded = users.get_or_load("42", [] {
        return std::map<std::string, int>{{"a", 1}};
    });
    return !users.get("42") && loaded.at("a") == 1 && !users.status().connected ? 0 : 1;
}
