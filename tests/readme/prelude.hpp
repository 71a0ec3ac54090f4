#pragma once

#include <drey/drey.hpp>

#include <chrono>
#include <coroutine>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
    std::map<int, User> load_many(std::span<const int>) { return {}; }
    void rename(const std::string&, const std::string&) {}
    void save(const std::string&, const User&) {}
    void set(const std::string&, int) {}
    void remove(const std::string&) {}
    std::optional<int> score(const std::string&) { return 1; }
};

inline std::string render(const std::string& url) { return url; }

inline int expensive_route(int from, int to) { return to - from; }

inline void log(const std::string&, const std::string&) {}

struct ThreadPool {
    void post(const std::function<void()>& task) { task(); }
};

/// A coroutine that nobody waits for.
struct Task {
    struct promise_type {
        Task get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() {}
    };
};
