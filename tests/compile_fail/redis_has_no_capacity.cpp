// expect: drey: this backend has no capacity of its own.*maxmemory

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

std::size_t f(const Cache& cache) { return cache.capacity(); }
