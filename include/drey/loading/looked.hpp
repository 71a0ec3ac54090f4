#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "drey/loading/plan.hpp"
#include "drey/lookup.hpp"
#include "drey/terms.hpp"

namespace drey {

/// What a load's first look at the backend said.
template <class V>
struct Looked {
    Found found = Found::miss;
    Reading reading;         // of a fresh value only if its load's cost is known
    std::optional<V> stale;  // a copy, if there can be one

    /// Whether there is a stale value that this call may use.
    bool has_stale(const LoadPlan& plan) const noexcept {
        return found == Found::stale && -reading.left < plan.stale_for.nanoseconds();
    }
    /// Whether a load would replace something.
    bool is_there() const noexcept { return found != Found::miss && found != Found::failed; }

    /// A stale value is refreshed only if nobody else has done so meanwhile.
    LoadFor why() const noexcept {
        return is_there() && found != Found::stale ? LoadFor::refresh : LoadFor::miss;
    }
};

/// How often a tag of this backend was invalidated; never, if it has none.
template <class Backend>
TagTime tag_time_of(const Backend& backend) noexcept {
    if constexpr (requires { backend.tag_time(); }) {
        return backend.tag_time();
    } else {
        return 0;
    }
}

/// Who is told by a look's backend: calls `use(value)` if the value is fresh.
template <class V, class Use>
auto noting(Looked<V>& looked, Use& use) {
    return [&]<class T>(T&& value, const Reading& reading) {
        // Of most hits nobody wants to know more: only early refreshes ask how old they are.
        if (reading.state != Found::hit || reading.load_cost.count() != 0) looked.reading = reading;
        if (reading.state == Found::hit) {
            use(std::forward<T>(value));
        } else if constexpr (std::is_copy_constructible_v<V>) {
            looked.stale.emplace(std::forward<T>(value));
        }
    };
}

/// Looks, and calls `use(value)` if the value is fresh.
template <class V, class Backend, class Q, class Use>
void look(Backend& backend, const Q& key, typename Backend::Attempt& attempt, Looked<V>& looked,
          Use& use) {
    looked.found = backend.look(key, attempt, noting(looked, use));
}

/// The same for who has looked at once, if the backend can, in vain.
template <class V, class Backend, class Q, class Use>
[[gnu::always_inline]] inline void look_closely(Backend& backend, const Q& key,
                                                typename Backend::Attempt& attempt,
                                                Looked<V>& looked, Use& use) {
    if constexpr (requires { backend.look_closely(key, attempt, use); }) {
        looked.found = backend.look_closely(key, attempt, noting(looked, use));
    } else {
        looked.found = backend.look(key, attempt, noting(looked, use));
    }
}

/// Whether a stale value may still be served some time after the look that found it. If tags were
/// invalidated since, it is looked up once more, since they may be its own; what is there then is
/// served in its place.
template <class V, class Backend, class K>
bool still_stands(Backend& backend, const K& key, TagTime tags_hold, std::optional<V>& stale) {
    if constexpr (std::is_copy_constructible_v<V>) {
        if (tags_hold == any_tag_time || tags_hold == tag_time_of(backend)) return true;
        typename Backend::Attempt attempt(backend, key, Counts::no);
        Looked<V> again;
        const auto use = [&]<class T>(T&& value) { again.stale.emplace(std::forward<T>(value)); };
        look(backend, key, attempt, again, use);
        stale = std::move(again.stale);
    }
    return stale.has_value() || !std::is_copy_constructible_v<V>;
}

}  // namespace drey
