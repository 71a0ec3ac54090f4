#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "drey/policy/mark_column.hpp"
#include "drey/types.hpp"

/// What an eviction policy is, and how the store drives one.
///
/// A policy decides who leaves. It knows slots and hashes, never keys, values, time or locks, and
/// keeps what it must remember in dense columns, indexed by slot. The store calls every member
/// under the shard's lock, except what hits call of a policy that only marks.
namespace drey {

/// What a hit does to a policy; the store picks the cheapest safe way to deliver it.
enum class OnHit {
    nothing,   ///< hits are not delivered at all
    marks,     ///< `hit` (or `touch`, see HasLentMarks) runs without a lock, from many threads at
               ///< once and beside every other member: it may touch atomics that never move, such
               ///< as drey::Marks, and no more; a late one may come for a slot that has just left
    reorders,  ///< `hit` runs under the shard's lock; maybe some time after the hit, but before any
               ///< other member. A thread's come in their order. Of threads that use the cache at
               ///< once they come in any, a few get lost, and a late one may come for an entry that
               ///< has taken the place of the one that was hit
};

/// How much a policy may hold, for policies that give their queues shares of it.
struct Budget {
    Weight capacity = 0;   ///< in entries, or in the weigher's unit
    bool weighed = false;  ///< whether weights may differ from 1
};

namespace detail {

/// So many hundredths, rounded down, without overflow.
constexpr Weight percent(Weight of, unsigned parts) noexcept {
    return of / 100 * parts + of % 100 * parts / 100;
}

/// The class that declares a member.
template <class Class, class Member>
std::type_identity<Class> class_of(Member Class::*);

template <class P>
concept HitsAsItLends = requires {
    requires std::same_as<decltype(class_of(&P::hit)), decltype(class_of(&P::lend))>;
};

template <class P>
concept Inserts = requires(P p, Slot s, Hash h) {
    requires noexcept(p.inserted(s, h));
};

template <class P>
concept InsertsWithWeight = requires(P p, Slot s, Hash h, Weight w) {
    requires noexcept(p.inserted(s, h, w));
};

template <class P>
concept Evicts = requires(P p) {
    requires noexcept(p.evict());
    { p.evict() } -> std::same_as<Slot>;
};

template <class P>
concept EvictsByHash = requires(P p, Hash (&hash_of)(Slot) noexcept) {
    requires noexcept(p.evict(hash_of));
    { p.evict(hash_of) } -> std::same_as<Slot>;
};

template <class P>
concept Hits = requires(P p, Slot s, Hash h) {
    requires noexcept(p.hit(s, h));
};

}  // namespace detail

/// A default-constructible, movable class with these members. n, s and h are a number of slots, a
/// slot and the hash of the key in it.
///
///     static constexpr drey::OnHit on_hit;   what a hit does
///     void grow(n);                          slots below n may come; the only call that may throw
///     void inserted(s, h) noexcept;          s was published
///     void erased(s) noexcept;               s left for another reason than eviction
///     drey::Slot evict() noexcept;           choose one that is held, and forget it
///     void hit(s, h) noexcept;               unless on_hit is `nothing`
///
/// `evict` is called only while the policy holds something, and before the newcomer is `inserted`:
/// the other order makes MRU and LFU throw out the newcomer, and costs SIEVE up to half as many
/// misses again. A policy that needs to know more declares one of the hooks below.
template <class P>
concept EvictionPolicy = std::default_initializable<P> && std::movable<P> &&
    requires(P p, Slot s, std::size_t n) {
    { P::on_hit } -> std::convertible_to<OnHit>;
    p.grow(n);
    requires noexcept(p.erased(s));
} &&(detail::Evicts<P> ||
     detail::EvictsByHash<P>)&&(detail::Inserts<P> ||
                                detail::InsertsWithWeight<P>)&&(P::on_hit == OnHit::nothing ||
                                                                detail::Hits<P>);

/// `void budget(Budget)`: told before the first insertion and whenever the capacity changes. May
/// throw, and then has changed nothing.
template <class P>
concept HasBudget = requires(P p, Budget b) {
    p.budget(b);
};

/// `void seed(std::uint64_t) noexcept`: a random number of its own, or what `.seed` fixed.
template <class P>
concept HasSeed = requires(P p, std::uint64_t x) {
    requires noexcept(p.seed(x));
};

/// `bool admit(h, w) noexcept`: a new key asks for room; false turns it away. Called once for each
/// insertion, before the evictions that make room for it. An insertion that then runs out of memory
/// does not follow.
template <class P>
concept HasAdmission = requires(P p, Hash h, Weight w) {
    requires noexcept(p.admit(h, w));
    { p.admit(h, w) } -> std::same_as<bool>;
};

/// `void inserted(s, h, w) noexcept`, instead of `inserted(s, h)`: policies that account weights.
template <class P>
concept HasWeights = detail::InsertsWithWeight<P>;

/// `void moved(from, to, w) noexcept`: the entry was overwritten, its successor lives in slot `to`
/// and weighs w; `from` is forgotten. It is followed by a hit on `to`. A policy without it sees
/// `erased(from)`, `inserted(to)` instead. (Values that fit a word are overwritten in place: only a
/// hit.)
template <class P>
concept HasMoves = requires(P p, Slot s, Weight w) {
    requires noexcept(p.moved(s, s, w));
};

/// `drey::Slot evict(hash_of) noexcept`, a template, instead of `evict()`: policies that compare
/// keys. `hash_of(s)` is the hash of the key in s, which is held; it is not free, as it may have to
/// be computed from the entry.
template <class P>
concept HasHashes = detail::EvictsByHash<P>;

/// `void evicted(s, h) noexcept`: follows each `evict`, with the hash of the key that left, for
/// policies that remember whom they evicted.
template <class P>
concept HasGhosts = requires(P p, Slot s, Hash h) {
    requires noexcept(p.evicted(s, h));
};

/// `static void touch(drey::Mark) noexcept` and `void lend(const drey::LentMarks&)`, of a policy
/// that marks: all that a hit does to it is to touch its slot's mark. Then the store keeps the
/// marks, where hits find them without asking the policy, and hits call `touch` instead of `hit`.
/// Before `grow` asks for more slots it lends the policy their marks. `lend` may throw, and then
/// has changed nothing. (Where no store lends any, as in simulations, the policy uses marks of its
/// own.) Who derives from such a policy and has a `hit` of its own has no marks lent, unless it has
/// its own `lend` too.
template <class P>
concept HasLentMarks = requires(P p, Mark mark, const LentMarks& marks) {
    requires detail::HitsAsItLends<P>;
    requires(P::on_hit == OnHit::marks);
    requires noexcept(P::touch(mark));
    p.lend(marks);
};

/// `void sample(h) noexcept`, `void sample_by(factor) noexcept` and `drey::Hash samples_below()
/// const noexcept`, of a policy whose marks are lent and that wants to know of some keys when they
/// are hit: of those for which `h * factor` is below that, where the factor is odd and what the
/// store says after `seed`. Their hits call `sample`, too, by the rules of `touch`. What it is
/// below may change with `budget`; else it may get lower, and `sample` may then still be called.
template <class P>
concept HasSamples = requires(P p, const P c, Hash h) {
    requires noexcept(p.sample(h));
    requires noexcept(p.sample_by(h));
    requires noexcept(c.samples_below());
    { c.samples_below() } -> std::same_as<Hash>;
};

/// `void prefetch(std::span<const drey::Slot>) const noexcept`: `hit` is about to be called for
/// these, which are held. It may ask for the memory that they will touch, to wait for it but once.
template <class P>
concept HasPrefetch = requires(const P p, std::span<const Slot> slots) {
    requires noexcept(p.prefetch(slots));
};

/// `void each_in_order(f) const`, a template: calls `f(s, hits)` for each slot held, so that a new
/// policy that is told of them in this order, by `inserted` and `hits` hits after each, would go on
/// as this one does, as far as that can be. For snapshots. A policy without it is told in any
/// order.
template <class P>
concept HasOrder = requires(const P p, void (*f)(Slot, unsigned)) {
    p.each_in_order(f);
};

/// `bool validate() const`: whether the policy's own invariants hold; for tests. Linear at most.
template <class P>
concept HasValidation = requires(const P p) {
    { p.validate() } -> std::same_as<bool>;
};

namespace detail {

/// Says in words what keeps `P` from being an eviction policy, or makes a hook be ignored.
template <class P>
consteval void check_policy() {
    static_assert(std::default_initializable<P>,
                  "drey: an eviction policy must be default-constructible (the cache makes one for "
                  "each shard)");
    static_assert(std::movable<P>, "drey: an eviction policy must be movable");
    static_assert(
        requires {
            { P::on_hit } -> std::convertible_to<OnHit>;
        },
        "drey: an eviction policy must say what a hit does to it: static constexpr drey::OnHit "
        "on_hit = ...");
    static_assert(
        requires(P p, std::size_t n) { p.grow(n); },
        "drey: an eviction policy must have: void grow(std::size_t slots)");
    static_assert(
        requires(P p, Slot s, Hash h) { p.inserted(s, h); } ||
            requires(P p, Slot s, Hash h, Weight w) { p.inserted(s, h, w); },
        "drey: an eviction policy must have: void inserted(drey::Slot, drey::Hash) noexcept");
    static_assert(
        requires(P p, Slot s) { p.erased(s); },
        "drey: an eviction policy must have: void erased(drey::Slot) noexcept");
    static_assert(
        requires(P p) {
            { p.evict() } -> std::same_as<Slot>;
        } ||
            requires(P p, Hash(&hash_of)(Slot) noexcept) {
                { p.evict(hash_of) } -> std::same_as<Slot>;
            },
        "drey: an eviction policy must have: drey::Slot evict() noexcept");
    if constexpr (requires {
                      { P::on_hit } -> std::convertible_to<OnHit>;
                  }) {
        static_assert(
            P::on_hit == OnHit::nothing || requires(P p, Slot s, Hash h) { p.hit(s, h); },
            "drey: an eviction policy whose on_hit is not `nothing` must have: void "
            "hit(drey::Slot, drey::Hash) noexcept");
        static_assert(
            P::on_hit == OnHit::nothing ||
                requires(P p, Slot s, Hash h) { requires noexcept(p.hit(s, h)); } ||
                !requires(P p, Slot s, Hash h) { p.hit(s, h); },
            "drey: hit of an eviction policy must be noexcept");
    }
    static_assert(
        HasWeights<P> || requires(P p, Slot s, Hash h) { requires noexcept(p.inserted(s, h)); } ||
            !requires(P p, Slot s, Hash h) { p.inserted(s, h); },
        "drey: inserted of an eviction policy must be noexcept (grow is the call that may throw)");
    static_assert(
        requires(P p, Slot s) { requires noexcept(p.erased(s)); } ||
            !requires(P p, Slot s) { p.erased(s); },
        "drey: erased of an eviction policy must be noexcept");
    static_assert(
        HasHashes<P> || requires(P p) { requires noexcept(p.evict()); } ||
            !(
                requires(P p) { p.evict(); } ||
                requires(P p, Hash(&hash_of)(Slot) noexcept) { p.evict(hash_of); }),
        "drey: evict of an eviction policy must be noexcept");
    // A hook that is nearly right would be ignored in silence.
    static_assert(
        HasWeights<P> || !requires(P p, Slot s, Hash h, Weight w) { p.inserted(s, h, w); },
        "drey: inserted(Slot, Hash, Weight) of an eviction policy must be noexcept");
    static_assert(
        HasSeed<P> || !requires(P p, std::uint64_t x) { p.seed(x); },
        "drey: seed(std::uint64_t) of an eviction policy must be noexcept");
    static_assert(
        HasAdmission<P> || !requires(P p, Hash h, Weight w) { p.admit(h, w); },
        "drey: admit(Hash, Weight) of an eviction policy must be noexcept and return bool");
    static_assert(
        HasMoves<P> || !requires(P p, Slot s, Weight w) { p.moved(s, s, w); },
        "drey: moved(Slot, Slot, Weight) of an eviction policy must be noexcept");
    static_assert(
        HasGhosts<P> || !requires(P p, Slot s, Hash h) { p.evicted(s, h); },
        "drey: evicted(Slot, Hash) of an eviction policy must be noexcept");
    // Nor one with other parameters. (An overloaded one has no single address and is not seen.)
    static_assert(
        HasBudget<P> || !requires { &P::budget; },
        "drey: budget of an eviction policy must be: void budget(drey::Budget)");
    static_assert(
        HasSeed<P> || !requires { &P::seed; },
        "drey: seed of an eviction policy must be: void seed(std::uint64_t) noexcept");
    static_assert(
        HasAdmission<P> || !requires { &P::admit; },
        "drey: admit of an eviction policy must be: bool admit(drey::Hash, drey::Weight) noexcept");
    static_assert(
        HasMoves<P> || !requires { &P::moved; },
        "drey: moved of an eviction policy must be: void moved(drey::Slot, drey::Slot, "
        "drey::Weight) noexcept");
    static_assert(
        HasGhosts<P> || !requires { &P::evicted; },
        "drey: evicted of an eviction policy must be: void evicted(drey::Slot, drey::Hash) "
        "noexcept");
    static_assert(
        HasLentMarks<P> || !requires { &P::lend; } || !detail::HitsAsItLends<P>,
        "drey: an eviction policy that has lend must have: void lend(const drey::LentMarks&), and "
        "static void touch(drey::Mark) noexcept");
    static_assert(
        HasSamples<P> || !requires { &P::sample_by; },
        "drey: an eviction policy that has sample_by must have: void sample_by(drey::Hash) "
        "noexcept, void sample(drey::Hash) noexcept, drey::Hash samples_below() const noexcept");
    static_assert(
        HasPrefetch<P> || !requires { &P::prefetch; },
        "drey: prefetch of an eviction policy must be: void prefetch(std::span<const drey::Slot>) "
        "const noexcept");
    static_assert(
        HasValidation<P> || !requires { &P::validate; },
        "drey: validate of an eviction policy must be: bool validate() const");
}

}  // namespace detail
}  // namespace drey
