#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

/// The numbers by which the parts of the in-process store know an entry.
namespace drey {

/// Names one entry's place in a shard. Small, dense and reused: columns are indexed by it.
using Slot = std::uint32_t;

/// No slot.
inline constexpr Slot no_slot = ~Slot{0};

/// A key's salted 64-bit hash. Computed once per call, outside every lock, and passed down.
using Hash = std::uint64_t;

/// What an entry counts against the capacity: 1 each, or what the weigher said (bytes, usually).
using Weight = std::uint64_t;

// What the in-process store assumes of a machine; 32-bit and big-endian ones may well meet it. The
// order of bytes matters to nothing here but the hash of a text, which no other machine sees.
//
// Readers take no lock, so what they share with writers must not hide one: marks, words of the
// index, hazards, counts of hits, deadlines.
static_assert(std::atomic<std::uint8_t>::is_always_lock_free &&
                  std::atomic<std::uint32_t>::is_always_lock_free &&
                  std::atomic<const void*>::is_always_lock_free &&
                  std::atomic<std::uint64_t>::is_always_lock_free &&
                  std::atomic<std::int64_t>::is_always_lock_free,
              "drey: caches in process need lock-free atomics of up to 64 bits");
// Slots, and what is computed from them, are counted in size_t.
static_assert(sizeof(std::size_t) >= sizeof(Slot));
static_assert(std::endian::native == std::endian::little ||
              std::endian::native == std::endian::big);

}  // namespace drey
