#pragma once

#include <drey/drey.hpp>

#include <chrono>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

// What the README's code takes for granted: an application with users in a database.

struct User {
    std::string name;
};

#if defined(DREY_WITH_JSON)
inline void to_json(nlohmann::json& json, const User& user) { json = {{"name", user.name}}; }
inline void from_json(const nlohmann::json& json, User& user) { json.at("name").get_to(user.name); }
#endif

struct Tile {
    int height = 0;
};

struct Page {
    std::string html;
};

struct Database {
    template <class Id>
    User load(const Id&) {
        return {"Ada"};
    }
    std::optional<User> find(int) { return User{"Ada"}; }
    void rename(const std::string&, const std::string&) {}
    void save(const std::string&, const User&) {}
    void set(const std::string&, int) {}
    void remove(const std::string&) {}
    std::optional<int> score(const std::string&) { return 1; }
};

inline int expensive_route(int from, int to) { return to - from; }

inline void log(const std::string&, const std::string&) {}
