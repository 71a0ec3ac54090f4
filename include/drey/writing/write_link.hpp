#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace drey {

/// What may outlive a write-behind object and yet ask for it: tasks that an executor keeps, loads
/// that the cache runs in the background. Once the object is gone, all it had queued is written or
/// given up.
template <class Owner>
struct WriteLink {
    std::mutex mutex;        // the owner's
    Owner* owner = nullptr;  // until it is gone; guarded by the lock
};

/// What an executor runs, or drops: so may one do that is shut down.
template <class Owner>
class WriteTask {
public:
    explicit WriteTask(std::shared_ptr<WriteLink<Owner>> link) noexcept : link_(std::move(link)) {}
    WriteTask(const WriteTask&) = delete;
    WriteTask& operator=(const WriteTask&) = delete;
    ~WriteTask() {
        const std::lock_guard lock(link_->mutex);
        if (!has_begun_ && link_->owner != nullptr) link_->owner->was_dropped();
    }

    void run() {
        std::unique_lock lock(link_->mutex);
        if (link_->owner != nullptr) link_->owner->run_task(lock, !std::exchange(has_begun_, true));
    }

private:
    const std::shared_ptr<WriteLink<Owner>> link_;
    bool has_begun_ = false;
};

}  // namespace drey
