// expect: drey: a batch writer must be callable with std::span<const drey::Write<K, V>>

#include "drey/cache.hpp"
#include "drey/writing/write_behind.hpp"

void put(drey::Cache<int, int>& cache) {
    drey::write_behind(cache, [](int, int) {}, {.on_failure = [](const auto&) {}});
}
