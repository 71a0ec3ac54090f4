#pragma once

#include <array>

#include "drey/memory/tags.hpp"
#include "drey/policy/mark_column.hpp"

namespace drey {

/// What a look-up reads of a group first: its tags and, if the policy is lent its marks, those, so
/// that a hit waits for one cache line in place of two.
template <bool Marked>
struct GroupHead {
    TagGroup tags;
};

template <>
struct alignas(LentMarks::stride) GroupHead<true> {
    TagGroup tags;
    std::array<Mark, TagGroup::places> marks{};
};
static_assert(TagGroup::places == LentMarks::run && sizeof(GroupHead<true>) == LentMarks::stride);

}  // namespace drey
