#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/clock.hpp"
#include "drey/writing/key_identity.hpp"
#include "drey/writing/options.hpp"
#include "drey/writing/write.hpp"
#include "drey/writing/write_queue.hpp"

namespace drey {

/// Whether a flush waits for what has failed and rests until it is tried again.
enum class Resting {
    wait,   ///< until each is written or given up; the clock must go on
    report  ///< one attempt now, whatever the rest; what fails stays queued and is reported
};

/// Who writes what a write-behind queue holds, and who waits for it.
///
/// One batch is written at a time, by whoever comes first: this object's thread, a task of the
/// executor, or who flushes, polls, destroys or waits for room. So nobody waits for a thread or an
/// executor that does not come, and a batch writer need not be thread-safe.
///
/// Thread-safe, but for construction and destruction. No user code runs under the lock but the
/// equality of keys and the clock.
template <class C, class BatchWriter>
class WriteWorker {
    using K = typename C::key_type;
    using V = typename C::mapped_type;
    using Identity = detail::KeyIdentity<C>;
    using Queue = WriteQueue<K, V, Identity>;
    using Number = typename Queue::Number;
    using Batch = std::span<const Write<K, V>>;

    static_assert(std::invocable<BatchWriter&, Batch>,
                  "drey: a batch writer must be callable with std::span<const drey::Write<K, V>>");
    using Result = std::invoke_result_t<BatchWriter&, Batch>;
    static_assert(std::is_void_v<Result> || std::same_as<Result, Unwritten<K>>,
                  "drey: a batch writer returns nothing, or drey::Unwritten<K> with the keys that "
                  "it could not write; if it throws, it wrote none");

public:
    using Options = WriteBehindOptions<K, V>;
    using Failure = WriteFailure<K, V>;
    using Pending = typename Queue::Pending;

    /// Throws std::invalid_argument that names the field if an option is wrong.
    WriteWorker(C& cache, BatchWriter writer, Options options)
        : cache_(cache), writer_(std::move(writer)), options_(checked(std::move(options))),
          queue_(options_.flush_every, options_.max_batch, options_.retry) {
        flight_.reserve(std::min(options_.max_batch, options_.max_queue));
        batch_.reserve(std::min(options_.max_batch, options_.max_queue));
        shared_->owner = this;
    }
    WriteWorker(const WriteWorker&) = delete;
    WriteWorker& operator=(const WriteWorker&) = delete;

    /// Tries once more to write all that is queued, without waiting for rests, and hands what fails
    /// to `on_failure`. For retries that take their time, `flush()` before.
    ~WriteWorker() {
        Lock lock(shared_->mutex);
        stopped_ = true;
        watcher_.notify_all();
        if (thread_.joinable()) {
            lock.unlock();
            thread_.join();
            lock.lock();
        }
        while (busy_) sleep(lock);  // an executor's task
        queue_.wake(no_deadline);
        while (write_batch(lock, Queue::every_number)) {
        }
        busy_ = true;
        busy_thread_ = std::this_thread::get_id();
        report(lock, queue_.give_up());
        shared_->owner = nullptr;
    }

    WhenFull when_full() const noexcept { return options_.when_full; }

    /// Queues the write, then has `store` do the same to the cache. False if there was no room and
    /// nothing was said of what to do then.
    template <class Store>
    bool enqueue(Pending write, std::optional<WhenFull> when_full, Store&& store) {
        const Hash h = Identity::hash(write->key);
        auto fresh = Queue::prepare(h, write);
        Pending replaced;
        Lock lock(shared_->mutex);
        auto* entry = reserve(lock, h, write->key, when_full);
        if (entry == nullptr && queue_.size() >= options_.max_queue) return false;
        if (options_.own_thread && !thread_.joinable()) thread_ = std::thread([this] { watch(); });
        if (entry == nullptr) {
            entry = &queue_.add(fresh, options_.clock.now());
            queued_keys_.store(queue_.size());
        } else {
            replaced = queue_.replace(*entry, write);
        }
        lock.unlock();
        std::exception_ptr error;
        try {
            store();
        } catch (...) {
            error = std::current_exception();
            detail::forget(cache_, write->key);  // it may have kept an older value
        }
        lock.lock();
        const bool is_news = queue_.unpin(*entry);
        if (sleepers_ > 0) changed_.notify_all();  // they may wait for this entry
        if (is_news && !busy_) watcher_.notify_one();
        if (is_news && options_.executor) schedule(lock);
        lock.unlock();
        if (error) std::rethrow_exception(error);
        return true;
    }

    /// What is queued for the key. The lock is held for a look-up, and not taken while nothing is
    /// queued: who must find a value has seen its put store it in the cache, which came later.
    Pending look(const K& key) const {
        if (queued_keys_.load() == 0) return nullptr;
        const Hash h = Identity::hash(key);
        const Lock lock(shared_->mutex);
        const auto* entry = queue_.find(h, key);
        return entry != nullptr ? Queue::latest(*entry) : nullptr;
    }

    /// Writes all that was queued before, with the threads that are at it, and returns what could
    /// not be written. With Resting::wait that is what was given up meanwhile, and was told to
    /// `on_failure`; with Resting::report also what will be tried again. Throws std::logic_error
    /// from within the batch writer or `on_failure`.
    std::vector<Failure> flush(Resting resting = Resting::wait) {
        Lock lock(shared_->mutex);
        refuse_writer();
        Flush flush{queue_.next_number()};
        flushes_.push_back(&flush);
        if (resting == Resting::report) queue_.wake(no_deadline);
        const bool waits = resting == Resting::wait;
        while (is_reporting_ || queue_.has_before(flush.before, waits)) {
            if (waits) queue_.wake(options_.clock.now());
            if (write_batch(lock, flush.before)) continue;
            sleep_until(lock, sleepers_, changed_, busy_ ? std::nullopt : queue_.rested());
        }
        std::erase(flushes_, &flush);
        if (flush.out_of_memory) throw std::bad_alloc();
        if (!waits)
            queue_.for_each_resting([&](Number number, const Failure& failure) {
                if (number < flush.before) flush.failures.push_back(failure);
            });
        return std::move(flush.failures);
    }

    /// Does what is due by the clock: writes it on the calling thread, or gives the executor a task
    /// to. Wakes whoever waits for the clock. For tests and for who has a timer; without
    /// `own_thread`, to be called every `flush_every` or so.
    void poll() {
        Lock lock(shared_->mutex);
        watcher_.notify_all();
        changed_.notify_all();
        if (options_.executor) {
            schedule(lock);
        } else {
            write_due(lock);
        }
    }

    WriteStats stats() const {
        const Lock lock(shared_->mutex);
        WriteStats stats = queue_.stats();
        stats.refusals = refusals_;
        stats.handler_failures = handler_failures_;
        return stats;
    }

    /// Whether every invariant of the queue holds; for tests. Linear.
    bool validate() const {
        const Lock lock(shared_->mutex);
        return queue_.validate() && queue_.size() == queued_keys_.load();
    }

private:
    using Lock = std::unique_lock<std::mutex>;

    /// What tasks share with us, since an executor may run them when we are gone.
    struct Shared {
        std::mutex mutex;
        WriteWorker* owner = nullptr;
    };

    /// What an executor runs, or drops: so may one do that is shut down.
    struct Task {
        explicit Task(std::shared_ptr<Shared> s) : shared(std::move(s)) {}
        Task(const Task&) = delete;
        Task& operator=(const Task&) = delete;
        ~Task() {
            const Lock lock(shared->mutex);
            if (!has_begun && shared->owner != nullptr) shared->owner->was_dropped();
        }

        void run() {
            Lock lock(shared->mutex);
            has_begun = true;
            WriteWorker* const owner = shared->owner;
            if (owner == nullptr || owner->stopped_) return;
            owner->is_scheduled_ = false;
            owner->write_due(lock);
            owner->watcher_.notify_all();  // it left the queue to us
        }

        const std::shared_ptr<Shared> shared;
        bool has_begun = false;
    };

    /// One call of `flush`, as those who give up writes see it.
    struct Flush {
        const Number before;
        std::vector<Failure> failures = {};
        bool out_of_memory = false;
    };

    static Options checked(Options options) {
        detail::check(options, detail::is_local<C>);
        return options;
    }

    /// The key's entry, once no other put is at it; or none, once there is room for one, or if
    /// there is no room and nothing to be done about it.
    auto* reserve(Lock& lock, Hash h, const K& key, std::optional<WhenFull> when_full) {
        for (;;) {
            auto* const entry = queue_.find(h, key);
            if (stopped_)
                throw std::logic_error("drey: a write to a queue that is being destroyed");
            if (entry != nullptr) {
                const auto thread = Queue::pinned_by(*entry);
                if (thread == std::thread::id()) return entry;
                if (thread == std::this_thread::get_id())
                    throw std::logic_error("drey: a put of a key, within a put of that same key");
                sleep(lock);
                continue;
            }
            if (queue_.size() < options_.max_queue || !when_full) return entry;
            if (*when_full == WhenFull::throws) throw WriteQueueFull();
            refuse_writer();
            queue_.wake(options_.clock.now());
            if (!write_batch(lock, Queue::every_number))
                sleep_until(lock, sleepers_, changed_, busy_ ? std::nullopt : queue_.rested());
        }
    }

    // ---- batches. All are called with the lock, and give it back meanwhile. ---------------------

    /// Writes the next batch; false if somebody else is writing one, or if there is nothing to take
    /// before that number.
    bool write_batch(Lock& lock, Number before) {
        if (busy_) return false;
        queue_.take(flight_, before);
        if (flight_.empty()) return false;
        busy_ = true;
        busy_thread_ = std::this_thread::get_id();
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
        queued_keys_.store(queue_.size());
        report(lock, std::move(landed.lost));
        lock.unlock();
        landed.written.clear();
        batch_.clear();
        flight_.clear();
        lock.lock();
        busy_ = false;
        busy_thread_ = {};
        changed_.notify_all();
        watcher_.notify_all();
        return true;
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
    /// the queue that it leaves first; see above.
    void report(Lock& lock, typename Queue::Entries lost) {
        if (lost.empty()) return;
        queued_keys_.store(queue_.size());
        for (const auto& entry : lost)
            for (Flush* flush : flushes_)
                if (Queue::number(entry) < flush->before) tell(*flush, entry);
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

    template <class Entry>
    static void tell(Flush& flush, const Entry& entry) noexcept {
        try {
            flush.failures.push_back(Queue::failure(entry, true));
        } catch (...) {
            flush.out_of_memory = true;
        }
    }

    bool is_due() const {
        const auto due = queue_.due();
        return due && *due <= options_.clock.now();
    }

    void write_due(Lock& lock) {
        while (!busy_ && !stopped_ && is_due()) {
            queue_.wake(options_.clock.now());
            write_batch(lock, Queue::every_number);
        }
    }

    /// Gives the executor a task, if there is something for it to do.
    void schedule(Lock& lock) {
        if (busy_ || is_scheduled_ || !is_due()) return;
        is_scheduled_ = true;
        lock.unlock();
        std::shared_ptr<Task> task;
        try {
            task = std::make_shared<Task>(shared_);
            options_.executor([task] { task->run(); });
        } catch (...) {  // the task knows whether it has been dropped
        }
        const bool was_made = task != nullptr;
        task.reset();
        lock.lock();
        if (!was_made) was_dropped();
    }

    /// Nobody will run the task; who did that is not to be pestered.
    void was_dropped() {
        is_scheduled_ = false;
        ++refusals_;
        ask_again_ = deadline_after(options_.clock.now(), 100'000'000);
        watcher_.notify_all();
    }

    /// The life of our thread.
    void watch() {
        Lock lock(shared_->mutex);
        while (!stopped_) {
            std::optional<std::int64_t> next;
            if (!busy_ && !is_scheduled_) {
                if (!is_due()) {
                    next = queue_.due();
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
            std::size_t ignored = 0;
            sleep_until(lock, ignored, watcher_, next);
        }
    }

    void sleep(Lock& lock) { sleep_until(lock, sleepers_, changed_, std::nullopt); }

    /// Until notified, or about then, if that is known: a clock that is not the system's does not
    /// wake anybody, but `poll` does.
    void sleep_until(Lock& lock, std::size_t& count, std::condition_variable& condition,
                     std::optional<std::int64_t> then) {
        ++count;
        if (then) {
            constexpr std::int64_t an_hour = 3'600'000'000'000, a_moment = 100'000;
            const std::int64_t now = options_.clock.now();
            const std::int64_t time = *then <= now ? 0 : *then - now;
            condition.wait_for(lock, std::chrono::nanoseconds(std::clamp(time, a_moment, an_hour)));
        } else {
            condition.wait(lock);
        }
        --count;
    }

    /// Who writes a batch must not wait for it to be written.
    void refuse_writer() const {
        if (busy_ && busy_thread_ == std::this_thread::get_id())
            throw std::logic_error(
                "drey: the batch writer or on_failure waited for the batch that it is in");
    }

    C& cache_;
    BatchWriter writer_;
    const Options options_;
    const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();

    // Guarded by the lock in `shared_`.
    Queue queue_;
    std::vector<Flush*> flushes_;
    std::thread thread_;
    std::condition_variable changed_;  // for who waits for entries, batches, room
    std::condition_variable watcher_;  // for our thread
    std::size_t sleepers_ = 0;         // on `changed_`
    bool stopped_ = false;
    bool busy_ = false;  // a batch is being written, by
    std::thread::id busy_thread_;
    bool is_reporting_ = false;  // of what was given up in it
    bool is_scheduled_ = false;  // the executor has a task that has not begun
    std::int64_t ask_again_ = std::numeric_limits<std::int64_t>::min();  // after it was dropped
    std::uint64_t refusals_ = 0;
    std::uint64_t handler_failures_ = 0;

    std::atomic<std::size_t> queued_keys_{0};  // written with the lock

    // Of who is busy.
    std::vector<Pending> flight_;
    std::vector<Write<K, V>> batch_;
};

}  // namespace drey
