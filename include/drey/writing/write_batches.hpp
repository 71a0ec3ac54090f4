#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <new>
#include <span>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/writing/forget.hpp"
#include "drey/writing/key_identity.hpp"
#include "drey/writing/options.hpp"
#include "drey/writing/write.hpp"
#include "drey/writing/write_queue.hpp"

namespace drey {

/// Writes what is queued, a batch at a time, and tells of what was given up.
///
/// Guarded by its owner's lock, with which all is called, and which `write` and `give_up` give back
/// while user code runs: the batch writer, `on_failure`, destructors. Meanwhile it is *busy*.
template <class C, class BatchWriter>
class WriteBatches {
    using K = typename C::key_type;
    using V = typename C::mapped_type;
    using Identity = detail::KeyIdentity<C>;
    using Batch = std::span<const Write<K, V>>;

    static_assert(std::invocable<BatchWriter&, Batch>,
                  "drey: a batch writer must be callable with std::span<const drey::Write<K, V>>");
    using Result = std::invoke_result_t<BatchWriter&, Batch>;
    static_assert(std::is_void_v<Result> || std::same_as<Result, Unwritten<K>>,
                  "drey: a batch writer returns nothing, or drey::Unwritten<K> with the keys that "
                  "it could not write; if it throws, it wrote none");

public:
    using Lock = std::unique_lock<std::mutex>;
    using Queue = WriteQueue<K, V, Identity>;
    using Number = typename Queue::Number;
    using Pending = typename Queue::Pending;
    using Options = WriteBehindOptions<K, V>;
    using Failure = WriteFailure<K, V>;

    /// `options` must outlive this.
    WriteBatches(C& cache, BatchWriter writer, const Options& options)
        : cache_(cache), writer_(std::move(writer)), options_(options),
          queue_(options.flush_every, options.max_batch, options.retry) {
        reserve(std::min({options.max_batch, options.max_queue, std::size_t{64}}));
    }

    Queue& queue() noexcept { return queue_; }
    const Queue& queue() const noexcept { return queue_; }

    bool is_busy() const noexcept { return is_busy_; }
    /// Whether `on_failure` is being told of what has left the queue.
    bool is_reporting() const noexcept { return is_reporting_; }
    /// Whether the calling thread is in the batch writer or in `on_failure`.
    bool is_busy_here() const noexcept { return is_busy_ && thread_ == std::this_thread::get_id(); }
    std::uint64_t handler_failures() const noexcept { return handler_failures_; }

    /// Somebody who waits for what was queued before, and wants to know what of it is given up.
    class Flush {
    public:
        explicit Flush(WriteBatches& batches)
            : before(batches.queue_.next_number()), batches_(batches) {
            batches_.flushes_.push_back(this);
        }
        Flush(const Flush&) = delete;
        Flush& operator=(const Flush&) = delete;
        ~Flush() { std::erase(batches_.flushes_, this); }

        /// What was given up, and, if wanted, what rests. Throws std::bad_alloc if there was no
        /// memory to note it all.
        std::vector<Failure> failures(bool resting_too) {
            if (out_of_memory_) throw std::bad_alloc();
            if (resting_too)
                batches_.queue_.for_each_resting([&](Number number, const Failure& failure) {
                    if (number < before) failures_.push_back(failure);
                });
            return std::move(failures_);
        }

        const Number before;

    private:
        friend class WriteBatches;

        void add(const Failure& failure) noexcept {
            try {
                failures_.push_back(failure);
            } catch (...) {
                out_of_memory_ = true;
            }
        }

        WriteBatches& batches_;
        std::vector<Failure> failures_;
        bool out_of_memory_ = false;
    };

    /// Writes the next batch; false if somebody else is writing one, or if there is nothing to take
    /// before that number.
    bool write(Lock& lock, Number before) {
        if (is_busy_) return false;
        make_room();
        queue_.take(flight_, before);
        if (flight_.empty()) return false;
        become_busy();
        lock.unlock();
        for (const Pending& write : flight_) batch_.push_back({write->key, write->value});
        std::exception_ptr error;
        std::vector<std::pair<Hash, const K*>> hashes;
        Unwritten<K> unwritten;
        try {
            if constexpr (std::is_void_v<Result>) {
                std::invoke(writer_, Batch(batch_));
            } else {
                unwritten = std::invoke(writer_, Batch(batch_));
                for (auto& item : unwritten.items) {
                    if (!item.why) item.why = std::make_exception_ptr(NotWritten());
                    hashes.emplace_back(Identity::hash(item.key), &item.key);
                }
            }
        } catch (...) {
            error = std::current_exception();
        }
        lock.lock();
        if (!error) error = fail(unwritten, hashes);
        if (error) queue_.fail_all(error);
        auto landed = queue_.land(options_.clock.now());
        report(lock, std::move(landed.lost));
        lock.unlock();
        // Destructors of keys, values and exceptions are user code.
        landed.written.clear();
        batch_.clear();
        flight_.clear();
        unwritten.items.clear();
        error = nullptr;
        lock.lock();
        is_busy_ = false;
        return true;
    }

    /// Gives up what rests; nothing may be waiting. Stays busy.
    void give_up(Lock& lock) {
        become_busy();
        report(lock, queue_.give_up());
    }

private:
    void become_busy() noexcept {
        is_busy_ = true;
        thread_ = std::this_thread::get_id();
    }

    void reserve(std::size_t size) {
        batch_.reserve(size);
        flight_.reserve(size);
    }

    /// For the largest batch that there can be now, in steps; if there is no memory, batches stay
    /// as small as they are.
    void make_room() noexcept {
        const std::size_t wanted = std::min(options_.max_batch, queue_.size());
        const std::size_t has = flight_.capacity();
        if (wanted <= has) return;
        try {
            reserve(std::max(wanted, std::min(options_.max_batch, 2 * has)));
        } catch (...) {
        }
    }

    /// Marks what the writer did not write. A key that is not in the batch means that the writer
    /// and we disagree on what was written: then nothing was.
    std::exception_ptr fail(const Unwritten<K>& unwritten,
                            const std::vector<std::pair<Hash, const K*>>& hashes) {
        try {
            for (std::size_t i = 0; i < hashes.size(); ++i)
                if (!queue_.fail(hashes[i].first, *hashes[i].second, unwritten.items[i].why))
                    throw std::logic_error(
                        "drey: the batch writer returned a key that is not in its batch");
        } catch (...) {
            return std::current_exception();
        }
        return {};
    }

    /// Tells of what was given up. The cache must not have what the database never got, and it is
    /// the queue that it leaves first: see WriteBehind.
    void report(Lock& lock, typename Queue::Entries lost) {
        if (lost.empty()) return;
        for (const auto& entry : lost)
            for (Flush* flush : flushes_)
                if (Queue::number(entry) < flush->before) flush->add(Queue::failure(entry, true));
        is_reporting_ = true;
        lock.unlock();
        std::uint64_t failures = 0;
        for (const auto& entry : lost) {
            const Failure failure = Queue::failure(entry, true);
            detail::forget(cache_, failure.key());
            try {
                options_.on_failure(failure);
            } catch (...) {
                ++failures;
            }
        }
        lost.clear();
        lock.lock();
        is_reporting_ = false;
        handler_failures_ += failures;
    }

    C& cache_;
    BatchWriter writer_;
    const Options& options_;
    Queue queue_;
    std::vector<Flush*> flushes_;
    bool is_busy_ = false;
    std::thread::id thread_;  // who is
    bool is_reporting_ = false;
    std::uint64_t handler_failures_ = 0;

    // Of who is busy.
    std::vector<Pending> flight_;
    std::vector<Write<K, V>> batch_;  // has room for all of `flight_`
};

}  // namespace drey
