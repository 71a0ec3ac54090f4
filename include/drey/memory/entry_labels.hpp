#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "drey/detail/stable_column.hpp"
#include "drey/memory/labels.hpp"
#include "drey/types.hpp"

namespace drey {

/// Which labels a shard's entries have. Nothing is stored until the first entry with a label comes;
/// from then on 8 bytes a slot, and what its labels take.
///
/// Readers read it without a lock, as plain memory, by the same rules as notes (notes.hpp): it is
/// written before the slot is published, and cleared after the last reader has let go.
///
/// Invariant: a slot that holds no entry has no labels. So who makes an entry without any need do
/// nothing.
///
/// All for the holder of the shard's lock, except `in_use`, `of` and `is_dropped`; and `clear`, for
/// who destroys the entry.
class EntryLabels {
public:
    EntryLabels() = default;
    EntryLabels(const EntryLabels&) = delete;
    EntryLabels& operator=(const EntryLabels&) = delete;
    ~EntryLabels() {
        for (Slot s = 0; s < made_; ++s) clear(s);
    }

    /// Acquire, paired with the release in `grow`: a reader may hold an entry that is older than
    /// the column, and must then see its chunks.
    bool in_use() const noexcept { return in_use_.load(std::memory_order_acquire); }

    /// The labels of the entry in s, which the caller protects; null if it has none.
    const Labels::Set* of(Slot s) const noexcept { return in_use() ? (*column_)[s] : nullptr; }

    /// Whether the entry in s, which the caller protects, is as good as gone.
    bool is_dropped(Slot s) const noexcept {
        const Labels::Set* set = of(s);
        return set != nullptr && set->is_dropped();
    }

    /// Slots below may have labels.
    std::size_t size() const noexcept { return made_; }

    /// Makes room for slots below n; from now on labels are in use. May throw std::bad_alloc,
    /// leaving what was there as it was.
    void grow(std::size_t n) {
        if (n <= made_) return;
        if (column_ == nullptr) column_ = std::make_unique<Column>();
        column_->grow(n);
        for (; made_ < n; ++made_) column_->emplace(static_cast<Slot>(made_), nullptr);
        in_use_.store(true, std::memory_order_release);
    }

    /// Takes over the labels of an entry that is about to be published.
    void set(Slot s, Labels::Set* set) noexcept {
        if (set != nullptr) (*column_)[s] = set;
    }

    void clear(Slot s) noexcept {
        if (in_use()) Labels::Owner(std::exchange((*column_)[s], nullptr));
    }

private:
    using Column = detail::StableColumn<Labels::Set*>;

    std::atomic<bool> in_use_{false};
    std::size_t made_ = 0;  // slots below have an element
    std::unique_ptr<Column> column_;
};

}  // namespace drey
