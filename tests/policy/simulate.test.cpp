#include "drey/simulate.hpp"

#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "drey/policy/fifo.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "support/catch.hpp"

namespace {

using drey::Hash;
using drey::Replay;
using drey::Simulation;
using drey::Weight;

/// Remembers what it was told, in order.
class Witness {
public:
    static constexpr drey::OnHit on_hit = drey::OnHit::marks;
    static inline std::vector<char> calls;

    void grow(std::size_t) {}
    bool admit(Hash h, Weight) noexcept {
        calls.push_back('a');
        return h != 13;
    }
    void inserted(drey::Slot s, Hash) noexcept {
        calls.push_back('i');
        last_ = s;
    }
    void erased(drey::Slot) noexcept { calls.push_back('x'); }
    void hit(drey::Slot, Hash) noexcept { calls.push_back('h'); }
    drey::Slot evict() noexcept {
        calls.push_back('e');
        return last_;
    }
    void evicted(drey::Slot, Hash) noexcept { calls.push_back('g'); }

private:
    drey::Slot last_ = 0;
};

std::vector<char> calls(const char* text) {
    return {text, text + std::char_traits<char>::length(text)};
}

}  // namespace

TEST_CASE("a simulated request is a look-up, and on a miss an insertion") {
    Simulation<drey::Lru> lru({.capacity = 2});
    CHECK_FALSE(lru.access(1));
    CHECK_FALSE(lru.access(2));
    CHECK(lru.access(1));
    CHECK_FALSE(lru.access(3));
    CHECK(lru.contains(1));
    CHECK_FALSE(lru.contains(2));
    CHECK(lru.result() == Replay{.requests = 4, .misses = 3, .missed_weight = 3});
    CHECK(lru.validate());
}

TEST_CASE("a simulation asks for admission, then for victims, then inserts") {
    Witness::calls.clear();
    Simulation<Witness> simulation({.capacity = 1});
    simulation.access(1);
    CHECK(Witness::calls == calls("ai"));
    simulation.access(1);
    CHECK(Witness::calls == calls("aih"));
    simulation.access(2);
    CHECK(Witness::calls == calls("aihaegi"));
    simulation.access(13);
    CHECK(Witness::calls == calls("aihaegia"));
    CHECK(simulation.contains(2));
    CHECK(simulation.erase(2));
    CHECK(Witness::calls == calls("aihaegiax"));
}

TEST_CASE("what is heavier than a simulation's capacity is a miss and evicts nothing") {
    Simulation<drey::Fifo> fifo({.capacity = 10, .weighed = true});
    fifo.access(1, 10);
    CHECK_FALSE(fifo.access(2, 11));
    CHECK_FALSE(fifo.access(2, ~Weight{0}));
    CHECK(fifo.contains(1));
    CHECK(fifo.size() == 1);
    CHECK(fifo.result().misses == 3);
}

TEST_CASE("a simulation evicts as many as make room") {
    Simulation<drey::Fifo> fifo({.capacity = 10, .weighed = true});
    for (Hash h = 0; h < 5; ++h) fifo.access(h, 2);
    fifo.access(9, 5);
    CHECK(fifo.used() == 9);
    CHECK(fifo.size() == 3);
    CHECK(fifo.contains(3));
    CHECK_FALSE(fifo.contains(2));
}

TEST_CASE("a simulation with less capacity keeps what its policy would keep") {
    Simulation<drey::Lru> lru({.capacity = 5});
    for (Hash h = 0; h < 5; ++h) lru.access(h);
    lru.access(0);
    lru.set_capacity(2);
    CHECK(lru.size() == 2);
    CHECK(lru.contains(4));
    CHECK(lru.contains(0));
    lru.set_capacity(0);
    CHECK(lru.size() == 0);
    CHECK_FALSE(lru.access(4));
    CHECK_FALSE(lru.access(4));
}

TEST_CASE("a simulation holds any hashes, well mixed or not, through any operations") {
    std::random_device entropy;
    for (int round = 0; round < 20; ++round) {
        const std::uint32_t seed = round < 10 ? static_cast<std::uint32_t>(round) : entropy();
        INFO("seed " << seed);
        std::mt19937 random(seed);
        // Neighbours in the low bits, or in the high ones.
        const auto shift = static_cast<unsigned>(random() % 53);
        Simulation<drey::Fifo> fifo({.capacity = ~Weight{0}});
        std::set<Hash> model;
        for (int i = 0; i < 5000; ++i) {
            const Hash h = Hash{random() % 2000} << shift;
            if (random() % 3 == 0) {
                REQUIRE(fifo.erase(h) == (model.erase(h) == 1));
            } else {
                REQUIRE(fifo.access(h) == !model.insert(h).second);
            }
            REQUIRE(fifo.size() == model.size());
            if (i % 500 == 0) REQUIRE(fifo.validate());
        }
        for (Hash h = 0; h < 2000; ++h)
            REQUIRE(fifo.contains(h << shift) == model.contains(h << shift));
    }
}

TEST_CASE("simulate replays a stream as a simulation does request by request") {
    std::mt19937 random(7);
    std::vector<Hash> keys;
    std::vector<Weight> weights;
    for (int i = 0; i < 3000; ++i) {
        keys.push_back(random() % 300 * 0x9e3779b97f4a7c15);
        weights.push_back(1 + keys.back() % 7);
    }
    Simulation<drey::S3Fifo> unit({.capacity = 50});
    Simulation<drey::S3Fifo> weighed({.capacity = 200, .weighed = true});
    for (std::size_t i = 0; i < keys.size(); ++i) {
        unit.access(keys[i]);
        weighed.access(keys[i], weights[i]);
    }
    CHECK(drey::simulate<drey::S3Fifo>(keys, 50) == unit.result());
    CHECK(drey::simulate<drey::S3Fifo>(keys, weights, 200) == weighed.result());
    CHECK(unit.result().miss_ratio() > 0.5);
    CHECK(drey::simulate<drey::S3Fifo>({}, 50).miss_ratio() == 0.0);
}
