// expect: drey: this backend has no capacity of its own.*maxmemory

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

void f(Cache& cache) { cache.set_capacity(10); }
