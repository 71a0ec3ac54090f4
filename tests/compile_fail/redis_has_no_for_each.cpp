// expect: drey: this backend has no for_each

#include <drey/redis.hpp>

using Cache = drey::Cache<int, int, drey::Redis<>>;

void f(const Cache& cache) {
    cache.for_each([](int, int) {});
}
