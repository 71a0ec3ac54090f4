// One cache shared by two translation units, each of which includes the whole library.
#include <drey/drey.hpp>

void fill(drey::Cache<int, int>& cache);

int main() {
    drey::Cache<int, int> cache{{.capacity = 10}};
    fill(cache);
    return cache.get(1) == 2 && !cache.get(3) ? 0 : 1;
}
