// expect: drey: a part of this key has no text.*to_key

#include "drey/key.hpp"

struct Point {
    int x, y;
};

auto key = drey::key("point", Point{1, 2});
