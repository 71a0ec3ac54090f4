// expect: drey: this backend has no validate

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

bool f(const Cache& cache) { return cache.validate(); }
