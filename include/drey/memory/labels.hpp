#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "drey/hash.hpp"
#include "drey/terms.hpp"

namespace drey {

/// The tags that users give to entries. Here they are labels, since a tag is something else in this
/// folder (tags.hpp).
///
/// To invalidate a label visits no entries. Time is how often that was done; an entry has its
/// labels and the time at which its value was obtained, and has been dropped if one of them was
/// invalidated after that.
///
/// Labels that no entry has are forgotten, so memory is bounded by what is stored. So that a load
/// that began before such a label was invalidated still finds it out, that time is kept for all
/// forgotten labels of a cell together. Two of a cell doom each other's loads, which costs a load
/// and no correctness.
///
/// Invariants (checked by `validate`)
/// - Each label in the map is in a set, as often as it counts.
/// - No label, and no cell, was invalidated after now.
///
/// Why nothing old is found. Making a set and invalidating take turns, by the mutex. If a set was
/// made first, its label is in the map until the set is gone, so `invalidate` marks it, and whoever
/// asks after that finds the mark. If it was made later, it begins with the mark, from the label or
/// its cell, and that counts against a value obtained before.
///
/// Thread-safe.
class Labels {
    struct Label {
        explicit Label(TagTime at) noexcept : dropped_at(at) {}
        std::atomic<TagTime> dropped_at;
        std::size_t uses = 0;  // the mutex's
    };

    /// Salted, as labels may be chosen by who wants them to collide.
    struct TextHash {
        using is_transparent = void;
        std::uint64_t salt;
        std::size_t operator()(std::string_view text) const noexcept {
            return static_cast<std::size_t>(detail::hash_bytes(text, salt));
        }
    };
    using Map = std::unordered_map<std::string, Label, TextHash, std::equal_to<>>;

public:
    explicit Labels(std::uint64_t salt) : map_(0, TextHash{salt}) {}

    /// The labels of one entry. Immutable, but for what becomes of the labels.
    class Set {
    public:
        /// Whether a label was invalidated since the value was obtained. Acquire, paired with the
        /// release in `invalidate`: who sees that sees what the invalidator did before.
        bool is_dropped() const noexcept {
            return std::any_of(labels_.begin(), labels_.end(), [&](const auto* label) {
                return label->second.dropped_at.load(std::memory_order_acquire) > obtained_at_;
            });
        }

        TagTime now() const noexcept { return all_.now(); }

        std::size_t size() const noexcept { return labels_.size(); }

        /// Their texts, which stay as they are as long as the set is there.
        std::vector<std::string> texts() const {
            std::vector<std::string> texts;
            texts.reserve(labels_.size());
            for (const auto* label : labels_) texts.push_back(label->first);
            return texts;
        }

    private:
        friend class Labels;
        Set(Labels& all, TagTime obtained_at) : all_(all), obtained_at_(obtained_at) {}

        Labels& all_;
        TagTime obtained_at_;
        std::vector<Map::value_type*> labels_;
    };

    struct Release {
        void operator()(Set* set) const noexcept {
            set->all_.release(*set);
            delete set;
        }
    };
    using Owner = std::unique_ptr<Set, Release>;

    /// Acquire, paired with the release in `invalidate`: a value that is obtained after this is
    /// what the database had when the last label was invalidated, or newer.
    TagTime now() const noexcept { return now_.load(std::memory_order_acquire); }

    /// The labels for an entry whose value was obtained at that time, or now. May throw
    /// std::bad_alloc, changing nothing.
    Owner make(std::span<const std::string> texts, TagTime obtained_at) {
        Owner set(new Set(*this, obtained_at));
        set->labels_.reserve(texts.size());
        const std::lock_guard lock(mutex_);
        set->obtained_at_ = std::min(obtained_at, now_.load(std::memory_order_relaxed));
        for (const std::string& text : texts) {
            auto& label = *map_.try_emplace(text, cell_of(text)).first;
            ++label.second.uses;
            set->labels_.push_back(&label);
        }
        return set;
    }

    /// Drops all that has the label, and what was obtained before and will have it. O(1), without
    /// allocation. Release: see `now` and `is_dropped`.
    void invalidate(std::string_view text) noexcept {
        const std::lock_guard lock(mutex_);
        const TagTime now = now_.load(std::memory_order_relaxed) + 1;
        now_.store(now, std::memory_order_release);
        if (const auto known = map_.find(text); known != map_.end()) {
            known->second.dropped_at.store(now, std::memory_order_release);
        } else {
            cell_of(text) = now;
        }
    }

    /// How many labels entries have.
    std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return map_.size();
    }

    /// For tests. `uses`: how many labels all sets have together. Linear.
    bool validate(std::size_t uses) const {
        const std::lock_guard lock(mutex_);
        const TagTime now = now_.load(std::memory_order_relaxed);
        std::size_t counted = 0;
        for (const auto& [text, label] : map_) {
            if (label.uses == 0 || label.dropped_at.load(std::memory_order_relaxed) > now)
                return false;
            counted += label.uses;
        }
        return counted == uses &&
               std::all_of(cells_.begin(), cells_.end(), [&](TagTime at) { return at <= now; });
    }

private:
    static constexpr std::size_t cells = 1024;

    TagTime& cell_of(std::string_view text) noexcept {
        return cells_[map_.hash_function()(text) % cells];
    }

    void release(const Set& set) noexcept {
        const std::lock_guard lock(mutex_);
        for (auto* label : set.labels_) {
            if (--label->second.uses != 0) continue;
            TagTime& cell = cell_of(label->first);
            cell = std::max(cell, label->second.dropped_at.load(std::memory_order_relaxed));
            map_.erase(map_.find(label->first));
        }
    }

    mutable std::mutex mutex_;
    std::atomic<TagTime> now_{0};
    Map map_;
    std::array<TagTime, cells> cells_{};  // when a label that is not in the map was invalidated
};

/// The labels of a cache, made when the first is used. Thread-safe.
class LazyLabels {
public:
    explicit LazyLabels(std::uint64_t salt) noexcept : salt_(salt) {}
    LazyLabels(const LazyLabels&) = delete;
    LazyLabels& operator=(const LazyLabels&) = delete;
    ~LazyLabels() { delete labels_.load(std::memory_order_relaxed); }

    /// Null until then. Acquire: what it points to was made by another thread.
    Labels* if_any() const noexcept { return labels_.load(std::memory_order_acquire); }

    Labels& get() {
        if (Labels* labels = if_any()) return *labels;
        auto fresh = std::make_unique<Labels>(salt_);
        Labels* other = nullptr;
        if (labels_.compare_exchange_strong(other, fresh.get(), std::memory_order_acq_rel,
                                            std::memory_order_acquire))
            return *fresh.release();
        return *other;
    }

    TagTime now() const noexcept {
        const Labels* labels = if_any();
        return labels == nullptr ? 0 : labels->now();
    }

private:
    const std::uint64_t salt_;
    std::atomic<Labels*> labels_{nullptr};
};

}  // namespace drey
