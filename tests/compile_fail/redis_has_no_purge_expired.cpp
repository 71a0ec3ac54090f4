// expect: drey: this backend has no purge_expired: its server does that

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

std::size_t f(Cache& cache) { return cache.purge_expired(); }
