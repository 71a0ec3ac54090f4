#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "drey/detail/fork.hpp"
#include "drey/error.hpp"

namespace drey {

/// Which threads wait for whose loads, in all caches of the process, so that a thread that would
/// wait for itself in the end gets an error instead. Touched only by threads that are about to
/// wait.
class WaitGraph {
public:
    static WaitGraph& process() {
        static WaitGraph* const graph = [] {
            // The child of a fork has neither the threads that waited, whose numbers its own will
            // get, nor the one that may be about to.
            detail::at_fork([] { process().mutex_.lock(); }, [] { process().mutex_.unlock(); },
                            [] {
                                process().waits_.clear();
                                process().mutex_.unlock();
                            });
            return new WaitGraph;  // for ever: caches with static lifetime may use it
        }();
        return *graph;
    }

    /// The calling thread waits for a load led by `leader` until `ended`, for the life of this
    /// object. Throws ReentrantLoad if that thread is the caller, or waits for it, directly or not.
    /// A load may get its leader after somebody began to wait for it: a circle is closed by a
    /// leader who is about to wait, and sees himself here.
    class Edge {
    public:
        Edge(const std::atomic<std::thread::id>& leader, const std::atomic<bool>& ended)
            : graph_(process()), me_(std::this_thread::get_id()) {
            const std::lock_guard lock(graph_.mutex_);
            Wait wait{&leader, &ended};
            // A load that has ended holds nobody up, though its leader may be waiting by now for
            // one of ours. Where that leader is the caller, that it ended is seen for sure.
            while (!wait.ended->load(std::memory_order_acquire)) {
                const std::thread::id at = wait.leader->load(std::memory_order_acquire);
                if (at == me_) throw ReentrantLoad();
                const auto next = graph_.waits_.find(at);
                if (next == graph_.waits_.end()) break;
                wait = next->second;
            }
            graph_.waits_.emplace(me_, Wait{&leader, &ended});
        }
        Edge(const Edge&) = delete;
        Edge& operator=(const Edge&) = delete;
        ~Edge() {
            const std::lock_guard lock(graph_.mutex_);
            graph_.waits_.erase(me_);
        }

    private:
        WaitGraph& graph_;
        const std::thread::id me_;
    };

private:
    struct Wait {
        const std::atomic<std::thread::id>* leader;
        const std::atomic<bool>* ended;
    };

    std::mutex mutex_;
    std::unordered_map<std::thread::id, Wait> waits_;  // by who waits; a thread waits for one load
};

}  // namespace drey
