#include <cstdint>
#include <memory>

#include "drey/cache.hpp"
#include "support/catch.hpp"

/// A cache that lives as long as its process, as static ones do that outlive every user.

namespace {

using Cache = drey::Cache<std::uint64_t, std::shared_ptr<std::uint64_t>>;

/// So large that its entries are in memory that the allocator knows nothing of.
Cache& never_destroyed() {
    static Cache& cache = *new Cache({.capacity = 200'000});
    return cache;
}

}  // namespace

TEST_CASE("What a cache holds that is never destroyed is no leak") {
    // It is LeakSanitizer that checks this, when the process ends.
    Cache& cache = never_destroyed();
    for (std::uint64_t k = 0; k < 1000; ++k) cache.put(k, std::make_shared<std::uint64_t>(k));
    REQUIRE(cache.size() == 1000);
    REQUIRE(*cache.get(999).value() == 999);
}
