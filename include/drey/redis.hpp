#pragma once

/// The component `redis`: caches on a Redis server. Needs hiredis; rediss:// needs OpenSSL too.
#include "drey/backend/redis.hpp"
#include "drey/drey.hpp"
#include "drey/redis/environment.hpp"
#if defined(DREY_WITH_JSON)
#include "drey/json.hpp"
#endif
