#pragma once

#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "drey/loading/flight_control.hpp"
#include "drey/loading/loader.hpp"
#include "drey/loading/looked.hpp"
#include "drey/loading/plan.hpp"
#include "drey/types.hpp"

namespace drey {

/// Many keys at once, whose loads are one call of a loader.
///
/// No flight of ours is in the air while we wait for those of others, who may be waiting for ours.
/// Their leaders bring what they bring; ours are in the table like any other, so who misses one of
/// our keys meanwhile waits for the batch.
template <class K, class V, class Backend>
class Batch {
    using Control = FlightControl<K, V, Backend>;
    using Flight = typename Control::Flight;
    using FlightPtr = typename Control::FlightPtr;

public:
    /// `keys` are all different.
    Batch(Backend& backend, Control& control, std::span<const K> keys, const LoadPlan& plan)
        : backend_(backend), control_(control), keys_(keys), plan_(plan), values_(keys.size()) {}
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    /// Looks, and loads what is missing and nobody else is loading: `load_all(keys)` returns an
    /// outcome for each. Throws what that throws unless each of its keys has a stale value, which
    /// may be served on errors.
    template <class LoadAll>
    void load(LoadAll&& load_all) {
        std::exception_ptr error;
        try {
            for (std::size_t i = 0; i < keys_.size(); ++i) board(i);
            fly(load_all);
        } catch (...) {
            error = std::current_exception();
        }
        land(error);
        if (error) std::rethrow_exception(error);
    }

    /// What others are loading, by index.
    const std::vector<std::size_t>& others() const noexcept { return others_; }

    std::vector<std::optional<V>>& values() noexcept { return values_; }

    /// How many stale values were served.
    std::size_t stale_serves() const noexcept { return stale_serves_; }

private:
    struct Mine {
        std::size_t index;
        FlightPtr flight;
        std::optional<V> stale;
        TagTime tags_hold = any_tag_time;  // of the stale value
        bool is_done = false;
    };

    void board(std::size_t i) {
        const K& key = keys_[i];
        typename Backend::Attempt attempt(backend_, key);
        Looked<V> looked;
        const auto use = [&]<class T>(T&& value) { values_[i].emplace(std::forward<T>(value)); };
        look(backend_, key, attempt, looked, use);
        if (looked.found == Found::hit || looked.found == Found::absent) return;
        const Hash h = attempt.hash();
        const bool may_serve = looked.has_stale(plan_) && plan_.serves_on_error();
        if (may_serve && control_.rests(h, looked.reading)) return serve(i, looked.stale);
        mine_.reserve(keys_.size());  // once: what was begun must get onto the list
        K own(key);
        auto flight = control_.flights().start(key, h, [&] {
            return control_.make(std::move(own), std::move(attempt), looked, plan_);
        });
        if (flight == nullptr) {
            others_.push_back(i);
        } else {
            if (!may_serve) looked.stale.reset();
            mine_.push_back(
                {i, std::move(flight), std::move(looked.stale), looked.reading.tags_hold});
        }
    }

    template <class LoadAll>
    void fly(LoadAll& load_all) {
        const auto ignore = [](const V&) {};
        std::vector<K> wanted;
        std::vector<Mine*> loading;
        std::exception_ptr own_error;
        for (Mine& mine : mine_) {
            if (!control_.take_off(*mine.flight, ignore, own_error)) {
                mine.is_done = true;
                continue;
            }
            wanted.push_back(keys_[mine.index]);
            loading.push_back(&mine);
        }
        if (wanted.empty()) return;
        typename Control::Clocks clocks(control_, plan_);
        std::vector<detail::LoadOutcome<V>> outcomes = load_all(std::span<const K>(wanted));
        clocks.loaded();
        for (std::size_t i = 0; i < loading.size(); ++i) {
            control_.bring(*loading[i]->flight, std::move(outcomes[i]), clocks.cost(), ignore,
                           own_error);
            loading[i]->is_done = true;
        }
        if (own_error) std::rethrow_exception(own_error);
    }

    /// Ends our flights. Where nothing was brought, for the given reason, the stale value is served
    /// if it may be; the reason is forgotten if that was so for all of them.
    void land(std::exception_ptr& error) noexcept {
        bool is_excused = true;
        for (Mine& mine : mine_) {
            Flight& flight = *mine.flight;
            if (!mine.is_done) control_.fail(flight, error);
            const bool has_passengers = control_.flights().land(flight);
            if (mine.is_done) {
                if (flight.error) {
                    is_excused = false;
                } else if (flight.value && has_passengers) {
                    copy(mine.index, *flight.value, error, is_excused);
                } else if (flight.value) {
                    values_[mine.index] = std::move(flight.value);
                }
            } else if (mine.stale && still_stands(mine) &&
                       control_.may_serve(flight, keys_[mine.index], mine.stale)) {
                serve(mine.index, mine.stale);
            } else {
                is_excused = false;
            }
        }
        if (is_excused && has_failed()) error = nullptr;
    }

    bool has_failed() const noexcept {
        for (const Mine& mine : mine_)
            if (!mine.is_done) return true;
        return false;
    }

    bool still_stands(Mine& mine) noexcept {
        try {
            return drey::still_stands(backend_, keys_[mine.index], mine.tags_hold, mine.stale);
        } catch (...) {
            return false;
        }
    }

    void copy(std::size_t i, const V& value, std::exception_ptr& error, bool& is_excused) noexcept {
        try {
            values_[i].emplace(value);
        } catch (...) {
            error = std::current_exception();
            is_excused = false;
        }
    }

    void serve(std::size_t i, std::optional<V>& stale) {
        values_[i] = std::move(stale);
        ++stale_serves_;
    }

    Backend& backend_;
    Control& control_;
    const std::span<const K> keys_;
    const LoadPlan& plan_;
    std::vector<std::optional<V>> values_;
    std::vector<Mine> mine_;
    std::vector<std::size_t> others_;
    std::size_t stale_serves_ = 0;
};

}  // namespace drey
