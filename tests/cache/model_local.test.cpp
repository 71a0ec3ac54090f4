#include "cache/episode.hpp"
#include "drey/drey.hpp"
#include "support/catch.hpp"

TEMPLATE_TEST_CASE("local cache does what the model says", "[model]", drey::Fifo, drey::Lru,
                   drey::Mru, drey::Lfu, drey::Random, drey::Sieve, drey::S3Fifo) {
    const auto wrong =
        model::run<TestType, drey::Local<TestType, model::NarrowHash>, model::Numbers, true>(
            model::random_seed(), model::operations());
    if (!wrong.empty()) FAIL(wrong);
    SUCCEED();
}
