#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"
#include "writing/behind.hpp"

using Log = std::vector<std::string>;
using drey::Resting;

TEST_CASE("a full queue refuses new keys to who will not wait, and takes new values for its own") {
    Behind b({.flush_every = 1h, .max_queue = 2});
    CHECK(b.behind.try_put(1, "a"));
    CHECK(b.behind.try_erase(2));
    CHECK_FALSE(b.behind.try_put(3, "c"));
    CHECK_FALSE(b.behind.try_erase(3));
    CHECK_FALSE(b.cache.contains(3));
    CHECK(b.behind.try_put(2, "b"));
    CHECK(b.behind.try_erase(1));
    b.behind.flush();
    CHECK(b.behind.try_put(3, "c"));
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=-", "2=b", "3=c"});
    CHECK(b.behind.stats().queued == 5);
}

TEST_CASE("a refused put leaves in the cache what was there") {
    Behind b({.flush_every = 1h, .max_queue = 1});
    b.cache.put(2, "old");
    b.behind.put(1, "a");
    CHECK_FALSE(b.behind.try_put(2, "new"));
    CHECK_FALSE(b.behind.try_erase(2));
    CHECK(b.cache.get(2) == "old");
}

TEST_CASE("a full queue throws if told to") {
    Behind b({.flush_every = 1h, .max_queue = 1, .when_full = drey::WhenFull::throws});
    b.behind.put(1, "a");
    b.behind.put(1, "b");
    CHECK_THROWS_AS(b.behind.put(2, "c"), drey::WriteQueueFull);
    CHECK_THROWS_AS(b.behind.erase(2), drey::WriteQueueFull);
    CHECK_FALSE(b.cache.contains(2));
    CHECK(b.behind.stats().queued == 2);
}

TEST_CASE("who finds the queue full and nobody writing writes a batch") {
    Behind b({.flush_every = 1h, .max_batch = 2, .max_queue = 3});
    for (int key = 1; key <= 4; ++key) b.behind.put(key, "a");
    CHECK(b.database.log() == Log{"1=a", "2=a"});
    CHECK(b.behind.get(4) == "a");
    CHECK(b.behind.stats().pending == 2);
}

TEST_CASE("keys that are being written take room, until they are", "[concurrent]") {
    Behind b({.flush_every = 0s, .max_batch = 2, .max_queue = 2});
    support::Gate writing, tried;
    bool had_room = true;
    b.behind.put(1, "a");
    b.behind.put(2, "a");
    b.database.before_batch = [&] {
        writing.open();
        tried.wait();
    };
    std::thread writer([&] { b.behind.poll(); });
    writing.wait();
    had_room = b.behind.try_put(3, "a");
    std::thread putter([&] { b.behind.put(4, "a"); });  // waits for the batch
    tried.open();
    putter.join();
    writer.join();
    b.database.before_batch = nullptr;
    CHECK_FALSE(had_room);
    CHECK(b.behind.get(4) == "a");
    b.behind.flush();
    CHECK(b.database.log() == Log{"1=a", "2=a", "4=a"});
}

TEST_CASE("who waits for room while the database is down gets it when a write is given up",
          "[concurrent]") {
    Behind b({.flush_every = 0s,
              .max_queue = 1,
              .retry = {.attempts = 3, .first_delay = 1min, .max_delay = 1h}});
    b.database.refused = {1};
    b.behind.put(1, "a");
    std::atomic<bool> done = false;
    std::thread putter([&] {
        b.behind.put(2, "b");
        done = true;
    });
    while (!done) {
        b.pass(1s);
        std::this_thread::yield();
    }
    putter.join();
    CHECK(b.lost.size() == 1);
    CHECK(b.clock.now() >= 3min);
    b.behind.flush();
    CHECK(b.database.log() == Log{"2=b"});
}
