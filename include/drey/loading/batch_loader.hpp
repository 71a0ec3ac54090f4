#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/detail/assert.hpp"
#include "drey/loading/erased.hpp"
#include "drey/loading/loader.hpp"

/// What a batch loader may return for `std::span<const K> keys`:
///
///  - a map from K (anything with `find`) to what a loader may return: keys that it lacks have no
///    row,
///  - a range of pairs of K and that, likewise,
///  - a range of optional<V>, V or Loaded, one for each key, in their order.
namespace drey::detail {

template <class R, class K>
concept FindsByKey = requires(R& result, const K& key) {
    { result.find(key) != result.end() } -> std::convertible_to<bool>;
    result.find(key)->second;
};

template <class R>
concept HoldsPairs = std::ranges::input_range<R> && requires(std::ranges::range_reference_t<R> r) {
    r.first;
    r.second;
};

template <class BatchLoader, class K>
using BatchResult = std::remove_cvref_t<std::invoke_result_t<BatchLoader&, std::span<const K>>>;

/// Runs a batch loader. One outcome for each key, in their order; throws what it throws.
template <class K, class V, class BatchLoader>
std::vector<LoadOutcome<V>> load_batch(BatchLoader& loader, std::span<const K> keys) {
    static_assert(std::invocable<BatchLoader&, std::span<const K>>,
                  "drey: a batch loader must be callable with a std::span<const K>");
    using Result = BatchResult<BatchLoader, K>;
    static_assert(FindsByKey<Result, K> || std::ranges::input_range<Result>,
                  "drey: a batch loader must return a map from keys to values, or a range of pairs "
                  "of both, or a range of one value or optional for each key");
    Result result = std::invoke(loader, keys);
    std::vector<LoadOutcome<V>> outcomes;
    outcomes.reserve(keys.size());
    if constexpr (FindsByKey<Result, K>) {
        for (const K& key : keys) {
            const auto found = result.find(key);
            if (found != result.end()) {
                outcomes.push_back(outcome_of<V>(std::move(found->second)));
            } else {
                outcomes.emplace_back();
            }
        }
    } else if constexpr (HoldsPairs<Result>) {
        outcomes.resize(keys.size());
        // Usually in the order of the keys; a database may answer in its own.
        std::size_t next = 0;
        for (auto&& pair : result) {
            std::size_t at = next;
            while (at < keys.size() && !(keys[at] == pair.first)) ++at;
            if (at == keys.size())
                for (at = 0; at < next && !(keys[at] == pair.first);) ++at;
            if (at == keys.size() || !(keys[at] == pair.first)) continue;  // nobody asked for it
            outcomes[at] = outcome_of<V>(std::move(pair.second));
            next = at + 1;
        }
    } else {
        for (auto&& one : result) outcomes.push_back(outcome_of<V>(std::move(one)));
        if (outcomes.size() != keys.size())
            throw std::length_error(
                "drey: a batch loader that returns a list must return one value for each key");
    }
    return outcomes;
}

}  // namespace drey::detail

namespace drey {

/// A batch loader as a loader of one key. A load that may go on after the call has a copy: the call
/// may need the loader for other keys.
template <class K, class V, class BatchLoader>
class LoaderOfOne final : public LoaderRef<K, V> {
    using Plain = std::decay_t<BatchLoader>;
    static constexpr bool ownable =
        std::constructible_from<Plain, std::remove_reference_t<BatchLoader>&>;

    template <class Loader>
    static detail::LoadOutcome<V> load(Loader& loader, const K& key) {
        auto outcomes = detail::load_batch<K, V>(loader, std::span<const K>(&key, 1));
        return std::move(outcomes.front());
    }

    class Owned final : public OwnedLoader<K, V> {
    public:
        explicit Owned(std::remove_reference_t<BatchLoader>& loader) : loader_(loader) {}
        detail::LoadOutcome<V> load(const K& key) override {
            return LoaderOfOne::load(loader_, key);
        }

    private:
        Plain loader_;
    };

public:
    explicit LoaderOfOne(std::remove_reference_t<BatchLoader>& loader)
        : LoaderRef<K, V>(true, ownable), loader_(loader) {}

    detail::LoadOutcome<V> load(const K& key) override { return load(loader_, key); }

    std::shared_ptr<OwnedLoader<K, V>> own() override {
        if constexpr (ownable) {
            return std::make_shared<Owned>(loader_);
        } else {
            detail::broken("a loader that cannot be owned");
        }
    }

private:
    std::remove_reference_t<BatchLoader>& loader_;
};

}  // namespace drey
