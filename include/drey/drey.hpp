#pragma once

/// The core of drey: everything that needs nothing but the standard library and threads.
#include "drey/any_cache.hpp"
#include "drey/cache.hpp"
#include "drey/error.hpp"
#include "drey/fwd.hpp"
#include "drey/memoize.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lfu.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/marks.hpp"
#include "drey/policy/mru.hpp"
#include "drey/policy/policy.hpp"
#include "drey/policy/random.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "drey/policy/sieve.hpp"
#include "drey/policy/slot_rings.hpp"
#include "drey/version.hpp"
