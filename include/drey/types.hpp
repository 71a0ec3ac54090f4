#pragma once

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

}  // namespace drey
