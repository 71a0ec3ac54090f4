// expect: drey: this backend has no invalidate_tag.*it has erase_matching

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

void f(Cache& cache) { cache.invalidate_tag("a"); }
