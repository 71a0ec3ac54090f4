// expect: admit\(Hash, Weight\) of an eviction policy must be noexcept

#include "drey/policy/driver.hpp"

struct Policy {
    static constexpr drey::OnHit on_hit = drey::OnHit::nothing;
    void grow(std::size_t) {}
    void inserted(drey::Slot, drey::Hash) noexcept {}
    void erased(drey::Slot) noexcept {}
    bool admit(drey::Hash, drey::Weight) { return true; }
    drey::Slot evict() noexcept { return 0; }
};

template class drey::PolicyDriver<Policy>;
