// expect: drey: this backend has no synchronize

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

void f(Cache& cache) { cache.synchronize(); }
