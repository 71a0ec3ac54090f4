// expect: drey: this backend has no snapshot

#include <sstream>

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

void f(const Cache& cache) {
    std::ostringstream out;
    cache.snapshot(out);
}
