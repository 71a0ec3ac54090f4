// expect: static void touch\(drey::Mark\) noexcept

#include "drey/policy/driver.hpp"

struct Policy {
    static constexpr drey::OnHit on_hit = drey::OnHit::marks;
    void grow(std::size_t) {}
    void inserted(drey::Slot, drey::Hash) noexcept {}
    void erased(drey::Slot) noexcept {}
    drey::Slot evict() noexcept { return 0; }
    void hit(drey::Slot, drey::Hash) noexcept {}
    void lend(const drey::LentMarks&) {}
};

template class drey::PolicyDriver<Policy>;
