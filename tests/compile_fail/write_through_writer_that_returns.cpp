// expect: drey: a writer returns nothing; it says that it failed by throwing

#include "drey/cache.hpp"
#include "drey/writing/write_through.hpp"

void put(drey::Cache<int, int>& cache) {
    drey::write_through(cache, [](int, int) { return false; });
}
