// expect: a mark counts to 1, 2 or 3

#include "drey/policy/marks.hpp"

template class drey::Marks<4>;
