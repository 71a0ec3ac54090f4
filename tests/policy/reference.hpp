#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "drey/simulate.hpp"

/// The eviction policies once more, as plainly as they can be said: no slots, no columns, no
/// tricks, nothing shared with the library but the types of numbers. What the fast ones must agree
/// with.
namespace reference {

using drey::Hash;
using drey::Replay;
using drey::Weight;

struct Request {
    Hash key = 0;
    Weight weight = 1;
};

class Cache {
public:
    explicit Cache(Weight capacity) : capacity_(capacity) {}
    virtual ~Cache() = default;

    Replay replay(const std::vector<Request>& requests) {
        Replay result;
        for (const Request& r : requests) {
            ++result.requests;
            if (held_.contains(r.key)) {
                hit(r.key);
                continue;
            }
            ++result.misses;
            result.missed_weight += r.weight;
            if (r.weight > capacity_ || !admit(r.key, r.weight)) continue;
            while (used_ + r.weight > capacity_) {
                const Hash key = victim();
                used_ -= held_.at(key);
                held_.erase(key);
            }
            held_[r.key] = r.weight;
            used_ += r.weight;
            insert(r.key);
        }
        return result;
    }

protected:
    virtual bool admit(Hash, Weight) { return true; }
    virtual void hit(Hash) = 0;
    virtual void insert(Hash) = 0;
    virtual Hash victim() = 0;  // chooses, and forgets

    std::map<Hash, Weight> held_;
    Weight used_ = 0;
    Weight capacity_;
};

/// FIFO, LRU, MRU and LFU: whoever ranks lowest leaves.
class Ranked : public Cache {
public:
    struct History {
        std::uint64_t inserted = 0;
        std::uint64_t touched = 0;
        std::uint64_t count = 0;
    };
    using Before = std::function<bool(const History&, const History&)>;

    Ranked(Weight capacity, Before leaves_before) : Cache(capacity), before_(leaves_before) {}

private:
    void hit(Hash key) override {
        ++history_[key].count;
        history_[key].touched = ++now_;
    }
    void insert(Hash key) override {
        ++now_;
        history_[key] = {now_, now_, 1};
    }
    Hash victim() override {
        const auto least = std::min_element(
            history_.begin(), history_.end(),
            [&](const auto& a, const auto& b) { return before_(a.second, b.second); });
        const Hash key = least->first;
        history_.erase(least);
        return key;
    }

    Before before_;
    std::map<Hash, History> history_;
    std::uint64_t now_ = 0;
};

class Sieve : public Cache {
public:
    using Cache::Cache;

private:
    struct Entry {
        Hash key;
        bool visited;
    };
    void hit(Hash key) override {
        std::find_if(queue_.begin(), queue_.end(), [&](auto& e) { return e.key == key; })->visited =
            true;
    }
    void insert(Hash key) override { queue_.push_back({key, false}); }
    Hash victim() override {
        while (true) {
            if (hand_ == queue_.end()) hand_ = queue_.begin();
            if (!hand_->visited) break;
            hand_->visited = false;
            ++hand_;
        }
        const Hash key = hand_->key;
        hand_ = queue_.erase(hand_);
        return key;
    }

    std::list<Entry> queue_;  // oldest first; its end stands for no hand
    std::list<Entry>::iterator hand_ = queue_.end();
};

class S3Fifo : public Cache {
public:
    S3Fifo(Weight capacity, unsigned promote_at, bool refuse_heavy)
        : Cache(capacity), promote_at_(promote_at), refuse_heavy_(refuse_heavy) {}

private:
    bool admit(Hash key, Weight weight) override {
        returns_ = std::any_of(ghost_.begin(), ghost_.end(), [&](auto& g) { return g.key == key; });
        ghost_.remove_if([&](auto& g) { return g.key == key; });
        return !refuse_heavy_ || weight <= small_most();
    }
    void hit(Hash key) override { ++hits_[key]; }
    void insert(Hash key) override {
        hits_[key] = 0;
        (returns_ ? main_ : small_).push_front(key);
    }
    Hash victim() override {
        while (true) {
            if (weight_of(main_) > capacity_ - small_most() || small_.empty()) {
                const Hash key = main_.back();
                main_.pop_back();
                if (hits_[key] == 0) return key;
                hits_[key] = std::min(hits_[key], 3u) - 1;
                main_.push_front(key);
            } else {
                // The choice between the queues is made once for each victim, not for each move.
                while (!small_.empty()) {
                    const Hash key = small_.back();
                    small_.pop_back();
                    if (hits_[key] < promote_at_) {
                        remember(key);
                        return key;
                    }
                    hits_[key] = 0;
                    main_.push_front(key);
                }
            }
        }
    }

    Weight small_most() const { return std::max<Weight>(1, capacity_ / 10); }
    Weight weight_of(const std::list<Hash>& queue) const {
        Weight sum = 0;
        for (const Hash key : queue) sum += held_.at(key);
        return sum;
    }
    void remember(Hash key) {
        const Weight most = capacity_ * 9 / 10;
        const Weight weight = held_.at(key);
        if (weight > most) return;
        ghost_.push_front({key, weight});
        Weight sum = 0;
        auto end = ghost_.begin();
        while (end != ghost_.end() && sum + end->weight <= most) sum += (end++)->weight;
        ghost_.erase(end, ghost_.end());
    }

    unsigned promote_at_;
    bool refuse_heavy_;
    bool returns_ = false;
    std::list<Hash> small_;  // newest first, all three
    std::list<Hash> main_;
    std::list<Request> ghost_;
    std::map<Hash, unsigned> hits_;
};

/// `policy` is named as in the table of trace.test.cpp.
inline Replay replay(std::string_view policy, Weight capacity,
                     const std::vector<Request>& requests) {
    using H = Ranked::History;
    std::unique_ptr<Cache> cache;
    if (policy == "FIFO") {
        cache =
            std::make_unique<Ranked>(capacity, [](H a, H b) { return a.inserted < b.inserted; });
    } else if (policy == "LRU") {
        cache = std::make_unique<Ranked>(capacity, [](H a, H b) { return a.touched < b.touched; });
    } else if (policy == "MRU") {
        cache = std::make_unique<Ranked>(capacity, [](H a, H b) { return a.touched > b.touched; });
    } else if (policy == "LFU") {
        cache = std::make_unique<Ranked>(capacity, [](H a, H b) {
            return a.count != b.count ? a.count < b.count : a.touched < b.touched;
        });
    } else if (policy == "SIEVE") {
        cache = std::make_unique<Sieve>(capacity);
    } else if (policy == "S3-FIFO") {
        cache = std::make_unique<S3Fifo>(capacity, 2, true);
    } else if (policy == "S3-FIFO-t1") {
        cache = std::make_unique<S3Fifo>(capacity, 1, true);
    } else if (policy == "S3-FIFO-t1, heavy admitted") {
        cache = std::make_unique<S3Fifo>(capacity, 1, false);
    }
    return cache->replay(requests);
}

/// Integers only, so that every machine makes the same requests: skewed draws over 2,000 keys whose
/// favourites drift, and now and then a scan of keys never seen again.
inline std::vector<Request> generated_trace(std::size_t length) {
    std::uint64_t state = 42;
    const auto draw = [&state] {
        std::uint64_t x = state += 0x9e3779b97f4a7c15;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
        x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
        return x ^ (x >> 31);
    };
    std::vector<Request> requests;
    std::uint64_t fresh = 1'000'000;
    for (std::size_t i = 0; i < length; ++i) {
        const std::uint64_t u = draw() >> 48;
        const std::uint64_t rank = 2000 * u * u / 65536 * u >> 32;  // cubic: small ranks are likely
        const bool scanning = i % 4000 >= 3500;
        const std::uint64_t key = scanning ? fresh++ : rank + i / 5000 * 40;
        requests.push_back({key * 0xd6e8feb86659fd93, 1 + key * 2654435761 % 101});
    }
    return requests;
}

}  // namespace reference
