// Loaders for rows that may not exist, and loaders that know how long what they loaded will keep.

#include <drey/drey.hpp>

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "expect.hpp"

using namespace std::chrono_literals;
using example::expect;

struct User {
    std::string name;
    bool is_guest = false;
};

class Database {
public:
    std::optional<User> find(int id) {
        ++queries;
        const auto row = rows.find(id);
        if (row == rows.end()) return std::nullopt;
        return row->second;
    }

    std::map<int, User> rows = {{1, {.name = "Ada"}}, {2, {.name = "someone", .is_guest = true}}};
    int queries = 0;
};

int main() {
    Database db;
    drey::ManualClock clock;  // so that the example need not wait

    // A loader may return an optional; then so does get_or_load.
    {
        drey::Cache<int, User> users{{.capacity = 100}};
        const auto find = [&](int id) -> std::optional<User> {
            const std::optional<User> user =
                users.get_or_load(id, [&](int missed) { return db.find(missed); });
            return user;
        };
        expect(find(1)->name == "Ada", "a user who exists is found");
        expect(!find(99).has_value(), "one who does not is no error");
        find(1);
        find(99);
        expect(db.queries == 3,
               "that there is no such row is not remembered unless you say so: the next call asks "
               "again");
    }

    // Should it be remembered, against those who keep asking for what does not exist? Then say for
    // how long.
    {
        drey::Cache<int, User> users{
            {.capacity = 100, .ttl = 10min, .loading = {.negative_ttl = 5s}, .clock = clock}};
        const auto find = [&](int id) {
            return users.get_or_load(id, [&](int missed) { return db.find(missed); });
        };
        db.queries = 0;
        for (int i = 0; i < 1000; ++i) find(99);
        expect(!find(99).has_value(), "a user who does not exist is not found");
        expect(db.queries == 1, "and a thousand requests for one are one query");
        expect(users.find(99).is_absent() && users.find(98).is_miss(),
               "find tells what does not exist from what is not known");

        db.rows[99] = {.name = "Grace"};
        users.erase(99);
        expect(find(99)->name == "Grace", "who signs up is found at once, if the cache is told");

        db.queries = 0;
        find(1);
        find(100);
        clock.advance(6s);
        find(1);
        find(100);
        expect(db.queries == 3,
               "after 6 s the user is still known, and the absence asked for again");
    }

    // The TTL may come from what was loaded.
    {
        drey::Cache<int, User> users{{.capacity = 100, .ttl = 10min, .clock = clock}};
        const auto load = [&](int id) {
            User user = db.find(id).value();
            const drey::PutOptions options =
                user.is_guest ? drey::PutOptions{.ttl = 30s} : drey::PutOptions{};
            return drey::Loaded<User>{std::move(user), options};
        };
        expect(users.get_or_load(1, load).name == "Ada", "get_or_load returns the value itself");
        users.get_or_load(2, load);
        clock.advance(1min);
        expect(users.contains(1) && !users.contains(2),
               "a guest is kept for 30 s, others as the cache says");
    }
}
