#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "drey/detail/fence.hpp"
#include "drey/types.hpp"

#if defined(__SSE2__) && !DREY_THREAD_SANITIZER
#include <emmintrin.h>
#endif

namespace drey {

/// One byte of a key's hash, never 0: what a published entry shows of itself.
using Tag = std::uint8_t;

/// The tag of a place with no published entry.
inline constexpr Tag no_tag = 0;

/// Bits of the hash that choose neither the shard nor the home, as the highest do.
constexpr Tag tag_of(Hash h) noexcept {
    const auto tag = static_cast<Tag>(h >> 16);
    static_assert(no_tag == 0);
    return static_cast<Tag>(tag + (tag < 1));
}

/// What an entry shows that remembers an absence: another tag than that of a value of the same
/// key, whatever the hash. So who looks for values alone, as the quickest calls do, never finds
/// one, and need not know that there are absences.
constexpr Tag absent_tag_of(Hash h) noexcept { return tag_of(~h); }

/// The tags of 16 neighbouring places. A tag is the one word by which an entry is published and
/// withdrawn: readers look at tags without a lock while one writer, under the shard's, stores them.
class alignas(16) TagGroup {
public:
    static constexpr std::size_t places = 16;

    /// The places whose tag is `wanted`, as bits. For readers it only nominates: every decision to
    /// take an entry rests on an atomic load of its tag made afterwards. That nothing was nominated
    /// can be relied on for what happened before, and after a `load_fence`.
    std::uint32_t match(Tag wanted) const noexcept {
#if defined(__SSE2__) && !DREY_THREAD_SANITIZER
        // Each byte is read whole; that is all we ask of it.
        const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(tags_.data()));
        const __m128i same = _mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(wanted)));
        return static_cast<std::uint32_t>(_mm_movemask_epi8(same));
#else
        std::uint32_t found = 0;
        for (std::size_t i = 0; i < places; ++i)
            found |= static_cast<std::uint32_t>(tags_[i].load(detail::before_load_fence) == wanted)
                     << i;
        return found;
#endif
    }

    /// The places with a published entry, as bits.
    std::uint32_t published() const noexcept { return match(no_tag) ^ 0xffffu; }

    std::atomic<Tag>& operator[](std::size_t place) noexcept { return tags_[place]; }
    const std::atomic<Tag>& operator[](std::size_t place) const noexcept { return tags_[place]; }

private:
    std::array<std::atomic<Tag>, places> tags_{};
};
/// The tag of one of the cells of groups that lie side by side, counted through.
inline const std::atomic<Tag>& tag_of_cell(const TagGroup* groups, std::size_t cell) noexcept {
    return groups[cell / TagGroup::places][cell % TagGroup::places];
}
static_assert(sizeof(TagGroup) == TagGroup::places && sizeof(std::atomic<Tag>) == sizeof(Tag),
              "drey: a byte must be lock-free");

}  // namespace drey
