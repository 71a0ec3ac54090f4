#include "drey/policy/slot_queues.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "drey/policy/slot_links.hpp"
#include "support/catch.hpp"

namespace {

using drey::no_slot;
using drey::Slot;
using drey::SlotLinks;
using drey::SlotQueues;

SlotQueues queues_of(std::size_t slots) {
    SlotQueues queues;
    queues.grow(slots);
    return queues;
}

}  // namespace

TEST_CASE("a slot queue gives slots back in the order they came") {
    SlotQueues queues = queues_of(4);
    CHECK(queues.empty(0));
    CHECK(queues.oldest(0) == no_slot);
    for (const Slot s : {2u, 0u, 3u}) queues.push(0, s);
    queues.push(1, 1);
    CHECK(queues.validate());
    CHECK(queues.pop_oldest(0) == 2);
    CHECK(queues.pop_oldest(0) == 0);
    CHECK(queues.pop_oldest(0) == 3);
    CHECK(queues.empty(0));
    CHECK(queues.pop_oldest(1) == 1);
    CHECK(queues.validate());
}

TEST_CASE("the oldest slot of a queue becomes the newest when it is renewed") {
    SlotQueues queues = queues_of(3);
    for (const Slot s : {0u, 1u, 2u}) queues.push(1, s);
    queues.renew_oldest(1);
    CHECK(queues.pop_oldest(1) == 1);
    CHECK(queues.pop_oldest(1) == 2);
    queues.renew_oldest(1);  // the only one
    CHECK(queues.pop_oldest(1) == 0);
}

TEST_CASE("a slot queue is gone through from the oldest to the newest") {
    SlotQueues queues = queues_of(5);
    const auto in = [&](unsigned queue) {
        std::vector<Slot> slots;
        queues.each(queue, [&](Slot s) { slots.push_back(s); });
        return slots;
    };
    CHECK(in(0).empty());
    queues.push(0, 4);
    CHECK(in(0) == std::vector<Slot>{4});
    for (const Slot s : {2u, 0u, 3u}) queues.push(0, s);
    queues.renew_oldest(0);
    queues.push(1, 1);
    CHECK(in(0) == std::vector<Slot>{2, 0, 3, 4});
    CHECK(in(1) == std::vector<Slot>{1});
}

TEST_CASE("a slot knows its queue") {
    SlotQueues queues = queues_of(3);
    queues.push(0, 0);
    queues.push(1, 1);
    queues.push(1, 2);
    CHECK(queues.queue_of(0) == 0);
    CHECK(queues.queue_of(1) == 1);
    CHECK(queues.queue_of(2) == 1);
}

TEST_CASE("slot links keep what they were given, whatever the number of slots, and when it grows") {
    SlotLinks links;
    struct Written {
        Slot at;
        SlotLinks::Link link;
    };
    std::vector<Written> written;
    for (const std::size_t slots : {1u, 2u, 3u, 100u, 1u << 15, (1u << 15) + 2, (1u << 19) + 2}) {
        links.grow(slots);
        const auto last = static_cast<Slot>(slots - 1);
        for (const Slot at : {last, last / 2})
            if (written.empty() || at > written.back().at) written.push_back({at, {last, last, 0}});
        for (std::size_t i = 0; i < written.size(); ++i) {
            auto& [at, link] = written[i];
            link = {i % 2 == 0 ? last : 0, i % 2 == 0 ? 0 : last, i % 2 == 0 ? 1u : 0u};
            links.set(at, link);
        }
        links.set_older(written.back().at, written.back().link.older = last / 2);
        links.set_newer(written.back().at, written.back().link.newer = last / 3);
        links.grow(slots + 1);
        for (const auto& [at, link] : written) {
            CHECK(links.newer(at) == link.newer);
            CHECK(links.older(at) == link.older);
            CHECK(links.queue(at) == link.queue);
        }
    }
}

TEST_CASE("slot queues agree with deques through any operations") {
    std::random_device entropy;
    for (int round = 0; round < 30; ++round) {
        const std::uint32_t seed = round < 20 ? static_cast<std::uint32_t>(round) : entropy();
        INFO("seed " << seed);
        std::mt19937 random(seed);
        std::size_t slots = 1 + random() % 30;
        SlotQueues queues = queues_of(slots);
        std::array<std::deque<Slot>, 2> model;
        std::vector<Slot> free;
        for (Slot s = 0; s < slots; ++s) free.push_back(s);
        const auto take_free = [&] {
            std::swap(free[random() % free.size()], free.back());
            const Slot s = free.back();
            free.pop_back();
            return s;
        };
        for (int i = 0; i < 3000; ++i) {
            const unsigned queue = random() % 2;
            auto& held = model[queue];
            const auto dice = random() % 100;
            if (dice < 40 && !free.empty()) {
                const Slot s = take_free();
                queues.push(queue, s);
                held.push_back(s);
            } else if (dice < 55 && !held.empty()) {
                REQUIRE(queues.pop_oldest(queue) == held.front());
                free.push_back(held.front());
                held.pop_front();
            } else if (dice < 70 && !held.empty()) {
                queues.renew_oldest(queue);
                held.push_back(held.front());
                held.pop_front();
            } else if (dice < 85 && !held.empty()) {
                const std::size_t at = random() % held.size();
                queues.erase(held[at]);
                free.push_back(held[at]);
                held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
            } else if (dice < 98 && !held.empty() && !free.empty()) {
                const Slot to = take_free();
                Slot& from = held[random() % held.size()];
                queues.replace(from, to);
                free.push_back(from);
                from = to;
            } else if (dice == 99 && slots < 100) {
                queues.grow(slots + 5);
                for (int n = 0; n < 5; ++n) free.push_back(static_cast<Slot>(slots++));
            }
            for (const unsigned q : {0u, 1u}) {
                REQUIRE(queues.empty(q) == model[q].empty());
                if (!model[q].empty()) REQUIRE(queues.oldest(q) == model[q].front());
            }
            if (i % 50 == 0) REQUIRE(queues.validate());
        }
        for (const unsigned queue : {0u, 1u})
            for (const Slot s : model[queue]) REQUIRE(queues.pop_oldest(queue) == s);
    }
}
