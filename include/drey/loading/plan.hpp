#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "drey/clock.hpp"
#include "drey/options.hpp"
#include "drey/terms.hpp"

namespace drey {

/// How one call loads: what it says itself, else what its cache says, else the defaults that
/// LoadOptions states.
struct LoadPlan {
    LoadPlan(const LoadOptions& call, const LoadOptions& cache)
        : ttl(call.ttl ? call.ttl : cache.ttl), jitter(call.jitter ? call.jitter : cache.jitter),
          stale_for(of(call.stale_for, cache.stale_for, nothing)),
          serve_stale(of(call.serve_stale, cache.serve_stale, ServeStale::both)),
          retry_after(of(call.retry_after, cache.retry_after, Ttl(std::chrono::seconds(1)))),
          soft_timeout(of(call.soft_timeout, cache.soft_timeout,
                          serve_stale == ServeStale::on_error ? never : nothing)),
          hard_timeout(of(call.hard_timeout, cache.hard_timeout, never)),
          negative_ttl(of(call.negative_ttl, cache.negative_ttl, nothing)),
          early(of(call.early, cache.early, 0.0)),
          tags(call.tags.empty() ? cache.tags : call.tags) {}

    std::optional<Ttl> ttl;
    std::optional<double> jitter;
    Ttl stale_for;
    ServeStale serve_stale;
    Ttl retry_after;
    Ttl soft_timeout;
    Ttl hard_timeout;
    Ttl negative_ttl;
    double early;
    std::vector<std::string> tags;

    bool serves_on_error() const noexcept { return serve_stale != ServeStale::while_revalidating; }

    /// How long the caller waits for a load.
    Ttl patience(bool stale_at_hand) const noexcept {
        return stale_at_hand ? shorter(soft_timeout, hard_timeout) : hard_timeout;
    }

    /// What to store a loaded value under. What the loader says of its value comes first; its tags
    /// are all that there are (`add_tags`), and must outlive the terms.
    Terms terms(const PutOptions& own, std::chrono::nanoseconds took) const noexcept {
        return {.ttl = own.ttl ? own.ttl : ttl,
                .jitter = jitter,
                .stale_for = own.stale_for.value_or(stale_for),
                .load_cost = early > 0 ? std::max(took, std::chrono::nanoseconds(1))
                                       : std::chrono::nanoseconds(0),
                .tags = own.tags};
    }

    /// Adds the call's tags to the loader's.
    void add_tags(PutOptions& own) const {
        own.tags.insert(own.tags.end(), tags.begin(), tags.end());
    }

    /// What to remember under that there is no such row.
    Terms absence(const PutOptions& own) const noexcept {
        return {.ttl = own.ttl ? shorter(*own.ttl, negative_ttl) : negative_ttl,
                .jitter = jitter,
                .tags = own.tags};
    }

private:
    static constexpr Ttl nothing{std::chrono::nanoseconds(0)};

    template <class T>
    static T of(const std::optional<T>& call, const std::optional<T>& cache, T otherwise) {
        return call ? *call : cache.value_or(otherwise);
    }
    static Ttl shorter(Ttl a, Ttl b) noexcept { return a.nanoseconds() < b.nanoseconds() ? a : b; }
};

namespace detail {

/// XFetch: whether to refresh a value that has `left` nanoseconds to live and took `took` to load.
/// `draw` is uniform in [0, 1). Vattani et al. 2015.
inline bool is_early(double early, std::chrono::nanoseconds took, std::int64_t left, double draw) {
    return left != no_deadline &&
           -static_cast<double>(took.count()) * early * std::log(1.0 - draw) >=
               static_cast<double>(left);
}

}  // namespace detail
}  // namespace drey
