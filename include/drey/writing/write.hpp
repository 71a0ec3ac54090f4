#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

/// What a write-behind queue, its batch writer and its owner tell each other.
namespace drey {

/// One write of a batch: the key's new value, or nothing if the key is to be erased. Refers to what
/// the queue holds while the batch writer runs.
template <class K, class V>
struct Write {
    const K& key;
    const std::optional<V>& value;
};

/// What a batch writer may return: the keys of its batch that it could not write, and why. All
/// others count as written.
template <class K>
struct Unwritten {
    struct Item {
        K key;
        std::exception_ptr why;
    };

    void add(K key, std::exception_ptr why = {}) {
        items.push_back({std::move(key), std::move(why)});
    }

    std::vector<Item> items;
};

/// The reason of a failure for which the batch writer gave none.
class NotWritten : public std::runtime_error {
public:
    NotWritten() : std::runtime_error("drey::NotWritten: the batch writer could not write a key") {}
};

/// A put or erase found as many keys waiting as may wait, and was not to block.
class WriteQueueFull : public std::runtime_error {
public:
    WriteQueueFull()
        : std::runtime_error("drey::WriteQueueFull: as many keys wait to be written as may wait") {}
};

/// Whether a flush waits for what has failed and rests until it is tried again.
enum class Resting {
    wait,   ///< until each is written or given up; the clock must go on
    report  ///< one attempt now, whatever the rest; what fails stays queued and is reported
};

/// A write on its way: made once, shared by the queue, readers and failures, never changed.
template <class K, class V>
struct PendingWrite {
    K key;
    std::optional<V> value;  // nothing: the key is to be erased
};

/// A write that could not be made. Owns its key and value; copies share them.
template <class K, class V>
class WriteFailure {
public:
    WriteFailure(std::shared_ptr<const PendingWrite<K, V>> write, std::exception_ptr why,
                 std::size_t attempts, bool is_final) noexcept
        : write_(std::move(write)), why_(std::move(why)), attempts_(attempts), final_(is_final) {}

    const K& key() const noexcept { return write_->key; }
    /// Nothing if the key was to be erased.
    const std::optional<V>& value() const noexcept { return write_->value; }
    /// What the last attempt threw.
    const std::exception_ptr& why() const noexcept { return why_; }
    std::size_t attempts() const noexcept { return attempts_; }
    /// Whether no further attempt will be made.
    bool is_final() const noexcept { return final_; }

private:
    std::shared_ptr<const PendingWrite<K, V>> write_;
    std::exception_ptr why_;
    std::size_t attempts_;
    bool final_;
};

/// What a write-behind queue has counted. Of the puts and erases that were `queued`, each was
/// written, coalesced or failed, or is `pending`.
struct WriteStats {
    std::uint64_t queued = 0;     ///< puts and erases that were accepted
    std::uint64_t coalesced = 0;  ///< that a later one of the same key made superfluous
    std::uint64_t written = 0;
    std::uint64_t failed = 0;    ///< given up, and handed to `on_failure`
    std::uint64_t pending = 0;   ///< now: not yet any of these
    std::uint64_t retried = 0;   ///< attempts that failed and were not the last
    std::uint64_t batches = 0;   ///< calls of the batch writer
    std::uint64_t refusals = 0;  ///< tasks that `executor` threw out or dropped; it is asked again
    std::uint64_t handler_failures = 0;  ///< exceptions out of `on_failure`, swallowed
};

}  // namespace drey
