// expect: drey: this backend has no erase_if.*it has erase_matching

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

std::size_t f(Cache& cache) {
    return cache.erase_if([](int, int) { return true; });
}
