#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "drey/memory/look.hpp"
#include "drey/memory/shards.hpp"

namespace drey {

/// The quick halves of the store's calls: what most calls are, done without a lock, without the
/// clock, and on a path so short that it is inlined into the caller. Each either does all of it or
/// nothing, and then says so; `Store` has the other halves. Each counts what it does.
///
/// Quick is a call whose key is in the newest block (or, for a miss, whose home tells that it is
/// nowhere), in a cache whose values never had a deadline or a tag, and whose guard has no reason
/// for the long way: see Readers::take_care.
template <class K, class V, class Policy, class Hasher, class Equal, class Sync>
class QuickStore : public Shards<K, V, Policy, Hasher, Equal, Sync> {
    using Base = Shards<K, V, Policy, Hasher, Equal, Sync>;

public:
    using Base::Base;

protected:
    using Base::advisor_;
    using Base::blocks_;
    using Base::counters_;
    using Base::pending_hits_;
    using Base::readers_;
    using Base::shard_number;
    using Base::shard_of;
    using Base::watch_line_;
    using typename Base::Item;
    using typename Base::Part;
    using QuickGuard = typename Sync::Readers::QuickGuard;

    /// A key that fits a register, by value: a reference would keep it in memory.
    template <class Q>
    using AsArgument = std::conditional_t<std::is_scalar_v<Q>, const Q, const Q&>;
    template <class T>
    using AsRvalue = std::conditional_t<std::is_scalar_v<T>, T, T&&>;

    /// What most hits are. The entry, protected; null if it was not so.
    template <class Q>
    [[gnu::always_inline]] const Item* hit_at_once(QuickGuard& guard, const Q& key, Hash h) {
        if (!guard) [[unlikely]]
            return nullptr;
        const Block& block = blocks_.newest();
        const Near near = find_at_once<AsArgument<Q>>(block, guard.hand(), key, h);
        if (near.item != nullptr) [[likely]] {
            counters_.own_hit(guard.lane());
            touch_at_once(guard.lane(), block, near, h);
            if (watch_line_.is_watched(h)) [[unlikely]]
                tell_of_hit(guard.lane(), h);
        }
        return near.item;
    }

    /// What most misses are.
    [[gnu::noinline]] bool missed_at_once(Hash h) noexcept {
        QuickGuard guard(readers_);  // protects nothing, but has the lane
        if (!guard || !shard_of(h).surely_lacks(h)) return false;
        counters_.own_miss(guard.lane());
        advise_of_miss(guard.lane(), h, Sampled::looked_up);
        return true;
    }

    /// What most puts are that overwrite, of values that are changed in place.
    template <class Q>
    [[gnu::always_inline]] bool overwrite_at_once(const Q& key, Hash h, V value) {
        QuickGuard guard(readers_);
        if (!guard) [[unlikely]] {
            readers_.know_thread();
            return false;
        }
        const Block& block = blocks_.newest();
        const Near near = find_at_once<AsArgument<Q>>(block, guard.hand(), key, h);
        if (near.item == nullptr) return false;
        const std::atomic<Tag>& shown = block.tag(near.cell);
        if (!shard_of(h).overwrite_at_once(guard, near.item, shown, tag_of(h), value)) return false;
        counters_.own_overwrite(guard.lane());
        touch_at_once(guard.lane(), block, near, h);
        if (Part::has_samples && watch_line_.is_watched(h)) [[unlikely]]
            shard_of(h).sample(h);
        return true;
    }

    /// Delivers a hit on an entry that a guard with this lane protects, or leaves it to who has the
    /// lock next.
    [[gnu::always_inline]] void touch(std::size_t lane, Slot s, Hash h) noexcept {
        if constexpr (Part::defers_hits)
            if (pending_hits_->add(lane, shard_number(h), s)) [[likely]]
                return;
        shard_of(h).touch(lane, s, h);
    }

    void advise_of_miss(std::size_t lane, Hash h, Sampled::Kind what) noexcept {
        if (advisor_) [[unlikely]]
            advisor_->missed(lane, watch_line_.order(h), what);
    }

    void advise_of_hit(std::size_t lane, Hash h) noexcept {
        if (watch_line_.order(h) < watch_line_.advisors()) [[unlikely]]
            advisor_->note(lane, watch_line_.order(h), Sampled::looked_up);
    }

private:
    using Hand = typename Sync::Readers::Hand;
    using Block = typename Part::Blocks::Block;

    /// An entry that a quick guard protects, and its cell in the newest block.
    struct Near {
        const Item* item = nullptr;
        std::size_t cell = 0;
    };

    /// Finds and protects the key's value where most are: in the newest block. What is not there
    /// may be elsewhere. Lock-free. Throws what the key's equality throws.
    template <class Argument>
    [[gnu::always_inline]] Near find_at_once(const Block& block, Hand hand, Argument key, Hash h) {
        const std::uint32_t home = block.home(h);
        const auto matches = [&](const Item& item) { return this->equal(item.key, key); };
        Near near;
        near.item =
            look_in<Item>(block.tags(), block.cells(), home, hand, tag_of(h), matches, near.cell);
        if (near.item != nullptr) [[likely]]
            return near;
        if (!block.overflows(home, h)) return {};
        return find_beyond_home<Argument>(block, hand, key, h);
    }

    /// Goes on where the key's home has told nothing of it. By value, and not inlined, so that
    /// nothing of the caller's need be in memory for its sake. Lock-free.
    template <class Argument>
    [[gnu::noinline]] Near find_beyond_home(const Block& block, Hand hand, Argument key, Hash h) {
        const auto matches = [&](const Item& item) { return this->equal(item.key, key); };
        const std::uint32_t first = shard_number(h) * block.groups();
        ProbePath path = block.path(h);
        while (block.overflows(first + path.group(), h) && path.next()) {
            Near near;
            near.item = look_in<Item>(block.tags(), block.cells(), first + path.group(), hand,
                                      tag_of(h), matches, near.cell);
            if (near.item != nullptr) return near;
        }
        return {};
    }

    /// What of `touch` every quick hit needs.
    [[gnu::always_inline]] void touch_at_once(std::size_t lane, const Block& block,
                                              const Near& near, Hash h) noexcept {
        if constexpr (Part::lends_marks) {
            Part::touch(block.mark(near.cell));
        } else {
            touch(lane, block.slot(shard_number(h), near.cell), h);
        }
    }

    /// The rest of it, and what the advisor wants to know.
    [[gnu::noinline]] void tell_of_hit(std::size_t lane, Hash h) noexcept {
        shard_of(h).sample(h);
        advise_of_hit(lane, h);
    }
};

}  // namespace drey
