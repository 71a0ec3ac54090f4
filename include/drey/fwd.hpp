#pragma once

#include "drey/hash.hpp"
#include "drey/policy/adaptive.hpp"

/// The public templates and their defaults, once.
namespace drey {

/// Eviction policy of caches that do not name one.
using DefaultPolicy = Adaptive;

template <class Policy = DefaultPolicy, class Hasher = DefaultHash, class Equal = DefaultEqual>
struct Memory;

template <class Policy = DefaultPolicy, class Hasher = DefaultHash, class Equal = DefaultEqual>
struct Local;

template <class K, class V, class Backend = DefaultPolicy>
class Cache;

template <class K, class V>
class AnyCache;

}  // namespace drey
