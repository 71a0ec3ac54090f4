#include <drey/drey.hpp>

void fill(drey::Cache<int, int>& cache) { cache.put(1, 2); }
