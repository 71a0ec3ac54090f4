#pragma once

#include <atomic>
#include <cstdint>

#include "drey/clock.hpp"
#include "drey/detail/per_process.hpp"
#include "drey/loading/alarms.hpp"
#include "drey/loading/flight_control.hpp"
#include "drey/options.hpp"
#include "drey/stats.hpp"

namespace drey {

/// What a cache is told of loading.
struct LoadSettings {
    LoadOptions options = {};
    ClockRef clock = {};
    std::uint64_t seed = 0;
    bool may_start_threads = true;
};

/// What the loading calls of one cache share, and outlives them.
template <class K, class V, class Backend>
struct LoadContext {
    /// Both must outlive it.
    LoadContext(Backend& b, const LoadSettings& s) : backend(b), settings(s), control(b, s.clock) {}

    static void count(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) noexcept {
        counter.fetch_add(by, std::memory_order_relaxed);
    }

    void add_to(Stats& stats) const noexcept {
        control.add_to(stats);
        stats.stale_serves += stale_serves.load(std::memory_order_relaxed);
        stats.refreshes += refreshes.load(std::memory_order_relaxed);
        stats.load_timeouts += timeouts.load(std::memory_order_relaxed);
    }

    Backend& backend;
    const LoadSettings& settings;
    std::atomic<std::uint64_t> stale_serves{0}, refreshes{0}, timeouts{0};
    detail::PerProcess<Alarms> alarms;
    FlightControl<K, V, Backend> control;
};

}  // namespace drey
