// expect: drey: a batch writer returns nothing, or drey::Unwritten<K>

#include "drey/cache.hpp"
#include "drey/writing/write_behind.hpp"

void put(drey::Cache<int, int>& cache) {
    drey::write_behind(cache,
                       [](std::span<const drey::Write<int, int>> batch) { return batch.size(); },
                       {.on_failure = [](const auto&) {}});
}
