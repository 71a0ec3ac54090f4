#pragma once

#include <drey/drey.hpp>

#include <chrono>
#include <optional>
#include <string>

// What the README's code takes for granted: an application with users in a database.

struct User {
    std::string name;
};

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
};

inline int expensive_route(int from, int to) { return to - from; }
