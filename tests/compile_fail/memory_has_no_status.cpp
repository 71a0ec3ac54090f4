// expect: drey: this backend has no status: it is in this process

#include <drey/drey.hpp>

void f(drey::Cache<int, int>& cache) { cache.status(); }
