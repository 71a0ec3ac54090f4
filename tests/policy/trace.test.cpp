#include <cstddef>
#include <string_view>
#include <vector>

#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/simulate.hpp"
#include "policy/reference.hpp"
#include "support/catch.hpp"

namespace {

using drey::Replay;
using drey::S3FifoTuning;
using drey::Weight;

struct Known {
    std::string_view policy;
    Weight capacity;
    bool weighed;
    std::uint64_t misses;
    Weight missed_weight;
};

// Of reference::generated_trace(20'000). The reference was checked against the miss counts that
// libCacheSim gives for public traces.
constexpr Known known[] = {
    {"FIFO", 20, false, 18504, 18504},
    {"FIFO", 100, false, 16481, 16481},
    {"FIFO", 500, false, 12177, 12177},
    {"FIFO", 400, true, 19228, 962644},
    {"FIFO", 4000, true, 16886, 855705},
    {"FIFO", 20000, true, 13004, 660541},
    {"LRU", 20, false, 18249, 18249},
    {"LRU", 100, false, 16091, 16091},
    {"LRU", 500, false, 11705, 11705},
    {"LRU", 400, true, 19139, 960004},
    {"LRU", 4000, true, 16530, 840053},
    {"LRU", 20000, true, 12453, 631404},
    {"MRU", 20, false, 19657, 19657},
    {"MRU", 100, false, 18939, 18939},
    {"MRU", 500, false, 15313, 15313},
    {"MRU", 400, true, 19688, 978468},
    {"MRU", 4000, true, 19038, 944733},
    {"MRU", 20000, true, 16322, 813047},
    {"LFU", 20, false, 18984, 18984},
    {"LFU", 100, false, 16704, 16704},
    {"LFU", 500, false, 11091, 11091},
    {"LFU", 400, true, 18714, 959386},
    {"LFU", 4000, true, 16817, 861898},
    {"LFU", 20000, true, 11846, 605942},
    {"SIEVE", 20, false, 17311, 17311},
    {"SIEVE", 100, false, 15545, 15545},
    {"SIEVE", 500, false, 10976, 10976},
    {"SIEVE", 400, true, 18089, 922626},
    {"SIEVE", 4000, true, 15507, 788234},
    {"SIEVE", 20000, true, 11694, 597819},
    {"S3-FIFO", 20, false, 16909, 16909},
    {"S3-FIFO", 100, false, 14693, 14693},
    {"S3-FIFO", 500, false, 10571, 10571},
    {"S3-FIFO", 400, true, 18196, 963533},
    {"S3-FIFO", 4000, true, 15109, 767335},
    {"S3-FIFO", 20000, true, 11418, 581495},
    {"S3-FIFO-t1", 20, false, 16908, 16908},
    {"S3-FIFO-t1", 100, false, 14672, 14672},
    {"S3-FIFO-t1", 500, false, 10556, 10556},
    {"S3-FIFO-t1", 400, true, 18202, 963583},
    {"S3-FIFO-t1", 4000, true, 15120, 766428},
    {"S3-FIFO-t1", 20000, true, 11354, 578913},
    {"S3-FIFO-t1, heavy admitted", 400, true, 17795, 907381},
    {"S3-FIFO-t1, heavy admitted", 4000, true, 15120, 766428},
    {"S3-FIFO-t1, heavy admitted", 20000, true, 11354, 578913},
};

template <class Policy>
Replay replay(const Known& row, const std::vector<reference::Request>& requests) {
    drey::Simulation<Policy> simulation({row.capacity, row.weighed});
    for (std::size_t i = 0; i < requests.size(); ++i) {
        simulation.access(requests[i].key, row.weighed ? requests[i].weight : 1);
        if (i % 1000 == 0) REQUIRE(simulation.validate());
    }
    return simulation.result();
}

Replay replay(const Known& row, const std::vector<reference::Request>& requests) {
    if (row.policy == "FIFO") return replay<drey::Fifo>(row, requests);
    if (row.policy == "LRU") return replay<drey::Lru>(row, requests);
    if (row.policy == "MRU") return replay<drey::Mru>(row, requests);
    if (row.policy == "LFU") return replay<drey::Lfu>(row, requests);
    if (row.policy == "SIEVE") return replay<drey::Sieve>(row, requests);
    if (row.policy == "S3-FIFO") {
        return replay<drey::BasicS3Fifo<S3FifoTuning{.promote_at = 2, .refuse_heavy = true}>>(
            row, requests);
    }
    if (row.policy == "S3-FIFO-t1") {
        return replay<drey::BasicS3Fifo<S3FifoTuning{.refuse_heavy = true}>>(row, requests);
    }
    return replay<drey::S3Fifo>(row, requests);
}

}  // namespace

TEST_CASE("every policy misses exactly the known requests of a generated trace") {
    const auto requests = reference::generated_trace(20'000);
    for (const Known& row : known) {
        CAPTURE(row.policy, row.capacity, row.weighed);
        const Replay result = replay(row, requests);
        CHECK(result.misses == row.misses);
        CHECK(result.missed_weight == row.missed_weight);
    }
}

TEST_CASE("the naive reference policies miss exactly the known requests of a generated trace") {
    const auto sized = reference::generated_trace(20'000);
    auto unit = sized;
    for (auto& request : unit) request.weight = 1;
    for (const Known& row : known) {
        CAPTURE(row.policy, row.capacity, row.weighed);
        const Replay result =
            reference::replay(row.policy, row.capacity, row.weighed ? sized : unit);
        CHECK(result.misses == row.misses);
        CHECK(result.missed_weight == row.missed_weight);
    }
}

TEST_CASE("every policy agrees with its naive reference at capacities from 1 to 25") {
    auto requests = reference::generated_trace(3'000);
    for (auto& request : requests) request.weight = 1;
    for (const std::string_view policy :
         {"FIFO", "LRU", "MRU", "LFU", "SIEVE", "S3-FIFO", "S3-FIFO-t1"}) {
        for (Weight capacity = 1; capacity <= 25; ++capacity) {
            CAPTURE(policy, capacity);
            CHECK(replay({policy, capacity, false, 0, 0}, requests) ==
                  reference::replay(policy, capacity, requests));
        }
    }
}
