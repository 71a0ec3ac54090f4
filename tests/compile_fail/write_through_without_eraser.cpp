// expect: drey: to erase, give write_through an eraser

#include "drey/cache.hpp"
#include "drey/writing/write_through.hpp"

void erase(drey::Cache<int, int>& cache) {
    auto through = drey::write_through(cache, [](int, int) {});
    through.erase(1);
}
