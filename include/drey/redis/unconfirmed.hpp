#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace drey::redis {

/// Keys that were invalidated or overwritten here without the server confirming it: what it holds
/// for them may be old, so they read as misses until their removal is confirmed. Thread-safe; while
/// there are none, which is always when all is well, a look costs one relaxed load.
///
/// Bounded, since a server may be gone for long: beyond `most` keys the newest are not kept, and
/// only counted.
class Unconfirmed {
public:
    static constexpr std::size_t most = std::size_t{1} << 20;

    struct Entry {
        std::string key;
        std::uint64_t number;
    };

    bool any() const noexcept { return any_.load(std::memory_order_relaxed); }

    void add(std::string_view key) {
        const std::lock_guard lock(mutex_);
        if (keys_.size() >= most && !keys_.contains(std::string(key))) {
            ++lost_;
            return;
        }
        keys_[std::string(key)] = ++last_number_;
        any_.store(true, std::memory_order_relaxed);
    }

    bool contains(std::string_view key) const {
        if (!any()) return false;
        const std::lock_guard lock(mutex_);
        return keys_.contains(std::string(key));
    }

    /// Up to `count` of them, others each time if there are more: to be removed from the server and
    /// then confirmed.
    std::vector<Entry> some(std::size_t count) {
        std::vector<Entry> entries;
        const std::lock_guard lock(mutex_);
        const std::size_t buckets = keys_.bucket_count();
        for (std::size_t i = 0; i < buckets && entries.size() < count; ++i) {
            bucket_ = (bucket_ + 1) % buckets;
            for (auto at = keys_.begin(bucket_); at != keys_.end(bucket_) && entries.size() < count;
                 ++at)
                entries.push_back({at->first, at->second});
        }
        return entries;
    }

    /// The server has removed it. If it was added again meanwhile, it stays.
    void confirm(const Entry& entry) {
        const std::lock_guard lock(mutex_);
        const auto at = keys_.find(entry.key);
        if (at != keys_.end() && at->second == entry.number) keys_.erase(at);
        any_.store(!keys_.empty(), std::memory_order_relaxed);
    }

    std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return keys_.size();
    }

    /// How many there was no room for.
    std::uint64_t lost() const {
        const std::lock_guard lock(mutex_);
        return lost_;
    }

private:
    std::atomic<bool> any_{false};
    mutable std::mutex mutex_;
    std::unordered_map<std::string, std::uint64_t> keys_;  // when it was added last
    std::uint64_t last_number_ = 0;
    std::size_t bucket_ = 0;  // looked at last
    std::uint64_t lost_ = 0;
};

}  // namespace drey::redis
