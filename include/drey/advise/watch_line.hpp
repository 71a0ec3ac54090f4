#pragma once

#include <algorithm>
#include <atomic>

#include "drey/types.hpp"

namespace drey {

/// Of which hits advisor and policy hear: of those on keys that come before their line in sampling
/// order, which is that of the hashes' products with an odd factor. Hits compare with the later of
/// the two lines, and only then see whose it is.
///
/// Thread-safe. Nothing follows from a hit that is told or not, so readers are relaxed.
class WatchLine {
public:
    explicit WatchLine(Hash seed) noexcept : factor_(seed | 1) {}

    Hash factor() const noexcept { return factor_; }
    Hash order(Hash h) const noexcept { return h * factor_; }

    /// Whether one of them may want to hear of a key with hash h.
    bool is_watched(Hash h) const noexcept {
        return order(h) < later_.load(std::memory_order_relaxed);
    }

    Hash advisors() const noexcept { return advisors_.load(std::memory_order_relaxed); }
    void set_advisors(Hash line) noexcept { set(advisors_, line); }
    void set_policys(Hash line) noexcept { set(policys_, line); }

private:
    /// Sequentially consistent: of two who set a line each at once, the one that stores the later
    /// line last has seen, or sees when it looks again, what both have set.
    void set(std::atomic<Hash>& mine, Hash line) noexcept {
        mine.store(line);
        for (;;) {
            const Hash later = std::max(advisors_.load(), policys_.load());
            later_.store(later);
            if (later == std::max(advisors_.load(), policys_.load())) return;
        }
    }

    const Hash factor_;
    std::atomic<Hash> later_{0};
    std::atomic<Hash> advisors_{0};
    std::atomic<Hash> policys_{0};
};

}  // namespace drey
