#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/writing/options.hpp"
#include "drey/writing/sleepers.hpp"
#include "drey/writing/write.hpp"
#include "drey/writing/write_batches.hpp"
#include "drey/writing/write_link.hpp"

namespace drey {

/// Whose turn it is to write a batch, and who waits for that.
///
/// One batch is written at a time, by whoever comes first: this object's thread, a task of the
/// executor, or who flushes, polls, destroys or waits for room. So nobody waits for a thread or an
/// executor that does not come, and a batch writer need not be thread-safe.
///
/// Thread-safe, but for construction and destruction; what takes a Lock is called with it, and may
/// give it back meanwhile. No user code runs under the lock but the equality of keys and the clock.
template <class C, class BatchWriter>
class WriteWorker {
public:
    using Batches = WriteBatches<C, BatchWriter>;
    using Queue = typename Batches::Queue;
    using Options = typename Batches::Options;
    using Failure = typename Batches::Failure;
    using Lock = typename Batches::Lock;
    using Link = std::shared_ptr<WriteLink<WriteWorker>>;

    /// Throws std::invalid_argument that names the field if an option is wrong.
    WriteWorker(C& cache, BatchWriter writer, Options options)
        : options_(checked(std::move(options))), batches_(cache, std::move(writer), options_) {
        link_->owner = this;
    }
    WriteWorker(const WriteWorker&) = delete;
    WriteWorker& operator=(const WriteWorker&) = delete;

    /// Tries once more to write all that is queued, without waiting for rests, and hands what fails
    /// to `on_failure`. For retries that take their time, `flush()` before.
    ~WriteWorker() {
        Lock lock(link_->mutex);
        is_stopped_ = true;
        watcher_.wake();
        if (thread_.joinable()) {
            lock.unlock();
            thread_.join();
            lock.lock();
        }
        while (batches_.is_busy()) sleepers_.sleep(lock);  // an executor's task
        queue().wake(no_deadline);
        while (batches_.write(lock, Queue::every_number)) {
        }
        batches_.give_up(lock);
        link_->owner = nullptr;
    }

    const Options& options() const noexcept { return options_; }
    Lock lock() const { return Lock(link_->mutex); }
    Queue& queue() noexcept { return batches_.queue(); }
    const Queue& queue() const noexcept { return batches_.queue(); }
    const Link& link() const noexcept { return link_; }

    /// Whether anything may be queued; for who does not have the lock.
    bool may_have_any() const noexcept { return size_.load() != 0; }
    /// After something was queued, before the lock is given back.
    void note_size() noexcept { size_.store(queue().size()); }

    /// Before something is queued: throws if the object is being destroyed, or if there is no
    /// thread to be had.
    void prepare() {
        if (is_stopped_) throw std::logic_error("drey: a write to a queue that is being destroyed");
        if (options_.own_thread && !thread_.joinable()) thread_ = std::thread([this] { watch(); });
    }

    /// The queue may be due earlier than it was.
    void tell_watcher(Lock& lock) {
        if (!batches_.is_busy()) watcher_.wake();
        if (options_.executor) schedule(lock);
    }

    /// Who waits for entries, batches or room.
    Sleepers& sleepers() noexcept { return sleepers_; }

    /// Makes some room if it can: by writing a batch, if nobody else does. False if there is
    /// nothing to be written now.
    bool write_some(Lock& lock) {
        refuse_writer();
        queue().wake(options_.clock.now());
        return write_batch(lock, Queue::every_number);
    }

    /// Until there may be more room, or more to write.
    void await_batch(Lock& lock) {
        sleepers_.sleep(lock, batches_.is_busy() ? std::nullopt : queue().rested());
    }

    /// See WriteBehind.
    std::vector<Failure> flush(Lock& lock, Resting resting) {
        refuse_writer();
        typename Batches::Flush flush(batches_);
        const bool waits = resting == Resting::wait;
        if (!waits) queue().wake(no_deadline);
        while (batches_.is_reporting() || queue().has_before(flush.before, waits)) {
            if (waits) queue().wake(options_.clock.now());
            if (!write_batch(lock, flush.before)) await_batch(lock);
        }
        return flush.failures(!waits);
    }

    /// See WriteBehind.
    void poll() {
        Lock lock(link_->mutex);
        watcher_.wake();
        sleepers_.wake();
        if (options_.executor) {
            schedule(lock);
        } else {
            write_due(lock);
        }
    }

    WriteStats stats() const {
        const Lock lock = this->lock();
        WriteStats stats = queue().stats();
        stats.refusals = refusals_;
        stats.handler_failures = batches_.handler_failures();
        return stats;
    }

    /// Whether every invariant of the queue holds; for tests. Linear.
    bool validate() const {
        const Lock lock = this->lock();
        return queue().validate() && queue().size() <= size_.load();
    }

private:
    friend class WriteTask<WriteWorker>;

    static Options checked(Options options) {
        detail::check(options, detail::is_local<C>);
        return options;
    }

    /// Who writes a batch must not wait for it to be written.
    void refuse_writer() const {
        if (batches_.is_busy_here())
            throw std::logic_error(
                "drey: the batch writer or on_failure waited for the batch that it is in");
    }

    bool write_batch(Lock& lock, typename Queue::Number before) {
        if (!batches_.write(lock, before)) return false;
        note_size();
        sleepers_.wake();
        watcher_.wake();
        return true;
    }

    bool is_due() const {
        const auto due = queue().due();
        return due && *due <= options_.clock.now();
    }

    void write_due(Lock& lock) {
        while (!batches_.is_busy() && !is_stopped_ && is_due()) {
            queue().wake(options_.clock.now());
            write_batch(lock, Queue::every_number);
        }
    }

    // ---- the executor --------------------------------------------------------------------------

    /// Gives it a task, if there is something to do.
    void schedule(Lock& lock) {
        if (batches_.is_busy() || is_scheduled_ || !is_due()) return;
        is_scheduled_ = true;
        lock.unlock();
        std::shared_ptr<WriteTask<WriteWorker>> task;
        try {
            task = std::make_shared<WriteTask<WriteWorker>>(link_);
            options_.executor([task] { task->run(); });
        } catch (...) {  // the task knows whether it has been dropped
        }
        const bool was_made = task != nullptr;
        task.reset();
        lock.lock();
        if (!was_made) was_dropped();
    }

    void run_task(Lock& lock, bool is_first_run) {
        if (is_stopped_) return;
        if (is_first_run) is_scheduled_ = false;
        write_due(lock);
        watcher_.wake();  // it left the queue to us
    }

    /// Nobody will run the task; who did that is not to be pestered.
    void was_dropped() {
        is_scheduled_ = false;
        ++refusals_;
        ask_again_ = deadline_after(options_.clock.now(), 100'000'000);
        watcher_.wake();
    }

    // ---- our thread ----------------------------------------------------------------------------

    void watch() {
        Lock lock(link_->mutex);
        while (!is_stopped_) {
            std::optional<std::int64_t> next;
            if (!batches_.is_busy() && !is_scheduled_) {
                if (!is_due()) {
                    next = queue().due();
                } else if (!options_.executor) {
                    write_due(lock);
                    continue;
                } else if (options_.clock.now() < ask_again_) {
                    next = ask_again_;
                } else {
                    schedule(lock);
                    continue;
                }
            }
            watcher_.sleep(lock, next);
        }
    }

    const Options options_;
    const Link link_ = std::make_shared<WriteLink<WriteWorker>>();

    // Guarded by the lock in `link_`.
    Batches batches_;
    std::thread thread_;
    Sleepers sleepers_{options_.clock};
    Sleepers watcher_{options_.clock};  // our thread
    bool is_stopped_ = false;
    bool is_scheduled_ = false;  // the executor has a task that has not begun
    std::int64_t ask_again_ = std::numeric_limits<std::int64_t>::min();  // after it was dropped
    std::uint64_t refusals_ = 0;

    std::atomic<std::size_t> size_{0};  // of the queue, or more; written with the lock
};

}  // namespace drey
