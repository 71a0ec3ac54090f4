// expect: drey: this backend has no erase_matching; it has erase_if

#include <drey/drey.hpp>

std::size_t f(drey::Cache<int, int>& cache) { return cache.erase_matching("1*"); }
