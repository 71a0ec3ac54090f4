// expect: this backend has no advice

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

void f(Cache& cache) { cache.advice(); }
