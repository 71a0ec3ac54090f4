// expect: must say what a hit does to it

#include "drey/policy/driver.hpp"

struct Policy {
    void grow(std::size_t) {}
    void inserted(drey::Slot, drey::Hash) noexcept {}
    void erased(drey::Slot) noexcept {}
    drey::Slot evict() noexcept { return 0; }
};

template class drey::PolicyDriver<Policy>;
