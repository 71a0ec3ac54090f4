// expect: evict of an eviction policy must be noexcept

#include "drey/policy/driver.hpp"

struct Policy {
    static constexpr drey::OnHit on_hit = drey::OnHit::nothing;
    void grow(std::size_t) {}
    void inserted(drey::Slot, drey::Hash) noexcept {}
    void erased(drey::Slot) noexcept {}
    drey::Slot evict() { return 0; }
};

template class drey::PolicyDriver<Policy>;
