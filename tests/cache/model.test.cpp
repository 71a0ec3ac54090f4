#include "cache/episode.hpp"
#include "drey/drey.hpp"
#include "support/catch.hpp"

TEMPLATE_TEST_CASE("cache of numbers does what the model says", "[model]", drey::Fifo, drey::Lru,
                   drey::Mru, drey::Lfu, drey::Random, drey::Sieve, drey::S3Fifo, drey::Adaptive,
                   drey::WTinyLfu) {
    const auto wrong =
        model::run<TestType, TestType, model::Numbers>(model::random_seed(), model::operations());
    if (!wrong.empty()) FAIL(wrong);
    SUCCEED();
}
