// The first screen of the README: put and get, a TTL, loading on a miss, and what the cache
// counted.

#include <drey/drey.hpp>

#include <cstdio>
#include <string>
#include <thread>

#include "expect.hpp"

using namespace std::chrono_literals;
using example::expect;

struct User {
    std::string name;
};

// Stands for whatever is slow.
struct Database {
    int calls = 0;
    User load(const std::string& id) {
        ++calls;
        return {"user " + id};
    }
};

int main() {
    Database db;

    // In process, for any number of threads: at most 100,000 entries, each for 5 minutes.
    drey::Cache<std::string, User> users{{.capacity = 100'000, .ttl = 5min}};

    users.put("7", {"Ada"});
    expect(users.get("7")->name == "Ada", "what was put is found");
    expect(!users.get("8").has_value(), "what was not is not");

    // Cache-aside: from the cache, or on a miss from the loader, once.
    const auto load = [&](const std::string& id) { return db.load(id); };
    expect(users.get_or_load("42", load).name == "user 42", "a miss is loaded");
    expect(users.get_or_load("42", load).name == "user 42" && db.calls == 1,
           "and then it is a hit");

    // When the row changes, tell the cache, after the commit.
    users.erase("42");
    users.get_or_load("42", load);
    expect(db.calls == 2, "what was erased is loaded again");

    // An entry may have a TTL of its own.
    users.put("guest", {"Guest"}, {.ttl = 1ms});
    std::this_thread::sleep_for(2ms);
    expect(!users.contains("guest"), "an expired entry is gone");

    // Another eviction policy is one word.
    drey::Cache<int, std::string, drey::Lru> tiles{{.capacity = 2}};
    tiles.put(1, "a");
    tiles.put(2, "b");
    tiles.get(1);
    tiles.put(3, "c");
    expect(tiles.contains(1) && !tiles.contains(2), "LRU evicts what was not used for longest");

    const drey::Stats stats = users.stats();
    std::printf("\n%llu hits, %llu misses, hit ratio %.2f\n",
                static_cast<unsigned long long>(stats.hits),
                static_cast<unsigned long long>(stats.misses), stats.hit_ratio());
    expect(stats.hits == 2 && stats.misses == 3 && stats.loads == 2, "the cache counted all that");
}
