// expect: success

// If this fails, the snippets beside it fail for a reason that is not theirs.
#include "drey/policy/driver.hpp"

struct Good {
    static constexpr drey::OnHit on_hit = drey::OnHit::marks;
    void grow(std::size_t) {}
    void inserted(drey::Slot, drey::Hash) noexcept {}
    void erased(drey::Slot) noexcept {}
    void hit(drey::Slot, drey::Hash) noexcept {}
    bool admit(drey::Hash, drey::Weight) noexcept { return true; }
    drey::Slot evict() noexcept { return 0; }
};

template class drey::PolicyDriver<Good>;
