// expect: must have: drey::Slot evict\(\) noexcept

#include "drey/policy/driver.hpp"

struct Policy {
    static constexpr drey::OnHit on_hit = drey::OnHit::nothing;
    void grow(std::size_t) {}
    void inserted(drey::Slot, drey::Hash) noexcept {}
    void erased(drey::Slot) noexcept {}
};

template class drey::PolicyDriver<Policy>;
