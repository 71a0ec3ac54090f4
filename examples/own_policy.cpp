// An eviction policy of one's own, used like those of the library. A policy sees slot numbers and
// hashes only: the cache keeps keys, values, time and locks to itself.

#include <drey/drey.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "expect.hpp"
#include "zipf.hpp"

using example::expect;

/// Second chance, also known as CLOCK (Corbató, "A paging experiment with the Multics system",
/// 1968): first in, first out, but what was hit since its last turn gets another one.
class SecondChance {
public:
    // A hit only sets a mark, so the cache delivers it without a lock.
    static constexpr drey::OnHit on_hit = drey::OnHit::marks;

    void grow(std::size_t slots) {  // the only call that may throw
        queue_.grow(slots);
        used_.grow(slots);
    }

    void inserted(drey::Slot s, drey::Hash) noexcept {
        used_.start(s);
        queue_.push_front(0, s);
        ++size_;
    }

    void erased(drey::Slot s) noexcept {
        queue_.erase(s);
        --size_;
    }

    void hit(drey::Slot s, drey::Hash) noexcept { used_.touch(s); }

    drey::Slot evict() noexcept {
        drey::Slot oldest = queue_.back(0);
        // At most one turn: other threads may go on marking while this looks for a victim.
        for (std::size_t left = size_; left > 0 && used_.get(oldest) != 0; --left) {
            used_.set(oldest, 0);
            queue_.erase(oldest);
            queue_.push_front(0, oldest);
            oldest = queue_.back(0);
        }
        erased(oldest);
        return oldest;
    }

private:
    drey::SlotRings<1> queue_;  // newest in front
    drey::Marks<1> used_;       // a bit a slot, safe to set from any thread
    std::size_t size_ = 0;
};

static_assert(drey::EvictionPolicy<SecondChance>);

template <class Policy>
double hit_ratio(const std::vector<std::uint32_t>& stream) {
    drey::Cache<std::uint32_t, std::uint32_t, Policy> cache{{.capacity = 500}};
    for (const std::uint32_t key : stream) {
        const std::uint32_t value = cache.get_or_load(key, [](std::uint32_t k) { return k * 2; });
        if (value != key * 2) expect(false, "every value belongs to its key");
    }
    expect(cache.size() == cache.capacity(), "the cache is full, and no fuller");
    expect(cache.validate(), "and sound");
    return cache.stats().hit_ratio();
}

int main() {
    // What the policy says it does, at a size where one can follow it.
    drey::Cache<char, int, SecondChance> small{{.capacity = 3}};
    for (const char key : {'a', 'b', 'c'}) small.put(key, 0);
    small.get('a');
    small.put('d', 0);
    expect(small.contains('a') && !small.contains('b'),
           "'a' was used and gets a second chance, 'b' leaves");
    small.put('e', 0);
    small.put('f', 0);
    expect(!small.contains('c') && !small.contains('a'),
           "then 'c', and 'a', whose chance is used up");

    // And what it is worth on traffic where some keys are popular.
    const auto stream = example::zipf_stream(10'000, 0.99, 100'000, 1);
    const double fifo = hit_ratio<drey::Fifo>(stream);
    const double second_chance = hit_ratio<SecondChance>(stream);
    std::printf("\nhit ratio: FIFO %.3f, second chance %.3f\n", fifo, second_chance);
    expect(second_chance > fifo + 0.03, "second chance does better than FIFO");
}
