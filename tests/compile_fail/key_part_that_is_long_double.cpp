// expect: drey: a part of this key has no text.*float, double

#include "drey/key.hpp"

auto key = drey::key("price", 1.0L);
