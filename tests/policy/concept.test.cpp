#include <cstddef>

#include "drey/policy/adaptive.hpp"
#include "drey/policy/driver.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/policy/w_tiny_lfu.hpp"
#include "support/catch.hpp"

namespace {

using drey::EvictionPolicy;
using drey::Hash;
using drey::OnHit;
using drey::Slot;
using drey::Weight;
using PaperS3Fifo = drey::BasicS3Fifo<drey::S3FifoTuning{.promote_at = 2}>;

static_assert(EvictionPolicy<drey::Fifo> && drey::Fifo::on_hit == OnHit::nothing);
static_assert(EvictionPolicy<drey::Random> && drey::Random::on_hit == OnHit::nothing);
static_assert(EvictionPolicy<drey::Lru> && drey::Lru::on_hit == OnHit::reorders);
static_assert(EvictionPolicy<drey::Mru> && drey::Mru::on_hit == OnHit::reorders);
static_assert(EvictionPolicy<drey::Lfu> && drey::Lfu::on_hit == OnHit::reorders);
static_assert(EvictionPolicy<drey::Sieve> && drey::Sieve::on_hit == OnHit::marks);
static_assert(EvictionPolicy<drey::S3Fifo> && drey::S3Fifo::on_hit == OnHit::marks);
static_assert(EvictionPolicy<PaperS3Fifo>);
static_assert(EvictionPolicy<drey::Adaptive> && drey::Adaptive::on_hit == OnHit::marks);
static_assert(EvictionPolicy<drey::WTinyLfu> && drey::WTinyLfu::on_hit == OnHit::reorders);

// A hook that is nearly right would be ignored: these must be seen.
static_assert(drey::HasLentMarks<drey::Sieve> && drey::HasLentMarks<drey::S3Fifo> &&
              drey::HasLentMarks<drey::Adaptive> && drey::HasSamples<drey::Adaptive>);
static_assert(drey::HasMoves<drey::Fifo> && drey::HasMoves<drey::Lru> &&
              drey::HasMoves<drey::Mru> && drey::HasMoves<drey::Lfu> &&
              drey::HasMoves<drey::Random> && drey::HasMoves<drey::Sieve> &&
              drey::HasMoves<drey::S3Fifo>);
static_assert(drey::HasValidation<drey::Fifo> && drey::HasValidation<drey::Lfu> &&
              drey::HasValidation<drey::Sieve> && drey::HasValidation<drey::S3Fifo>);
static_assert(drey::HasSeed<drey::Random>);
static_assert(drey::HasPrefetch<drey::Lru> && drey::HasPrefetch<drey::Mru> &&
              drey::HasPrefetch<drey::Lfu> && drey::HasPrefetch<drey::WTinyLfu> &&
              !drey::HasPrefetch<drey::Fifo>);
static_assert(drey::HasHashes<drey::Adaptive> && drey::HasHashes<drey::WTinyLfu> &&
              !drey::HasHashes<drey::S3Fifo>);
static_assert(drey::HasMoves<drey::Adaptive> && drey::HasMoves<drey::WTinyLfu> &&
              drey::HasWeights<drey::Adaptive> && drey::HasWeights<drey::WTinyLfu> &&
              drey::HasValidation<drey::Adaptive> && drey::HasValidation<drey::WTinyLfu>);
static_assert(drey::HasBudget<drey::S3Fifo> && drey::HasAdmission<drey::S3Fifo> &&
              drey::HasWeights<drey::S3Fifo> && drey::HasGhosts<drey::S3Fifo>);

/// The least a policy can be, and what the near misses below spoil.
struct Plain {
    static constexpr OnHit on_hit = OnHit::nothing;
    void grow(std::size_t) {}
    void inserted(Slot, Hash) noexcept {}
    void erased(Slot) noexcept {}
    Slot evict() noexcept { return 0; }
};
static_assert(EvictionPolicy<Plain>);
static_assert(!drey::HasMoves<Plain> && !drey::HasWeights<Plain> && !drey::HasValidation<Plain>);

struct WithWeights {
    static constexpr OnHit on_hit = OnHit::nothing;
    void grow(std::size_t) {}
    void inserted(Slot, Hash, Weight) noexcept {}
    void erased(Slot) noexcept {}
    Slot evict() noexcept { return 0; }
};
static_assert(EvictionPolicy<WithWeights>);

struct Hittable : Plain {
    static constexpr OnHit on_hit = OnHit::marks;
    void hit(Slot, Hash) noexcept {}
};
static_assert(EvictionPolicy<Hittable>);

struct NoEvict {
    static constexpr OnHit on_hit = OnHit::nothing;
    void grow(std::size_t) {}
    void inserted(Slot, Hash) noexcept {}
    void erased(Slot) noexcept {}
};
static_assert(!EvictionPolicy<NoEvict>);

struct EvictMayThrow : Plain {
    Slot evict() { return 0; }
};
static_assert(!EvictionPolicy<EvictMayThrow>);

struct EvictByHash : NoEvict {
    template <class HashOf>
    Slot evict(HashOf&&) noexcept {
        return 0;
    }
};
static_assert(EvictionPolicy<EvictByHash> && drey::HasHashes<EvictByHash>);

struct EvictByHashMayThrow : NoEvict {
    template <class HashOf>
    Slot evict(HashOf&&) {
        return 0;
    }
};
static_assert(!EvictionPolicy<EvictByHashMayThrow>);

struct EvictReturnsNothing : Plain {
    void evict() noexcept {}
};
static_assert(!EvictionPolicy<EvictReturnsNothing>);

struct InsertedMayThrow : Plain {
    void inserted(Slot, Hash) {}
};
static_assert(!EvictionPolicy<InsertedMayThrow>);

struct ErasedMayThrow : Plain {
    void erased(Slot) {}
};
static_assert(!EvictionPolicy<ErasedMayThrow>);

struct NoGrow : Plain {
    void grow(std::size_t) = delete;
};
static_assert(!EvictionPolicy<NoGrow>);

struct NoWordOnHits : NoEvict {
    Slot evict() noexcept { return 0; }
    static void on_hit();
};
static_assert(!EvictionPolicy<NoWordOnHits>);

struct MissingHit : Plain {
    static constexpr OnHit on_hit = OnHit::marks;
};
static_assert(!EvictionPolicy<MissingHit>);

struct HitMayThrow : Plain {
    static constexpr OnHit on_hit = OnHit::reorders;
    void hit(Slot, Hash) {}
};
static_assert(!EvictionPolicy<HitMayThrow>);

struct NeedsAnArgument : Plain {
    explicit NeedsAnArgument(int) {}
};
static_assert(!EvictionPolicy<NeedsAnArgument>);

struct Immovable : Plain {
    Immovable() = default;
    Immovable(Immovable&&) = delete;
};
static_assert(!EvictionPolicy<Immovable>);

struct MovesMayThrow : Plain {
    void moved(Slot, Slot, Weight) {}
};
static_assert(EvictionPolicy<MovesMayThrow> && !drey::HasMoves<MovesMayThrow>);

struct AdmitsWithoutAnswer : Plain {
    void admit(Hash, Weight) noexcept {}
};
static_assert(EvictionPolicy<AdmitsWithoutAnswer> && !drey::HasAdmission<AdmitsWithoutAnswer>);

struct GhostsMayThrow : Plain {
    void evicted(Slot, Hash) {}
};
static_assert(EvictionPolicy<GhostsMayThrow> && !drey::HasGhosts<GhostsMayThrow>);

}  // namespace

TEST_CASE("the least policy is driven without any of the hooks") {
    drey::PolicyDriver<Plain> driver;
    driver.budget({.capacity = 1});
    driver.seed(1);
    driver.grow(1);
    CHECK(driver.admit(1, 1));
    driver.inserted(0, 1, 1);
    driver.hit(0, 1);
    driver.moved(0, 0, 1, 1);
    CHECK(driver.evict([](Slot) { return Hash{1}; }) == 0);
    CHECK(driver.validate());
}
