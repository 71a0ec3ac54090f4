#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "drey/detail/assert.hpp"
#include "drey/loading/loader.hpp"

/// Loaders and visitors without their types, for the way of a miss: a load costs far more than an
/// indirect call, and that way is compiled once a cache and not once a call.
namespace drey {

/// A loader that a load keeps, since it may run when its call is over.
template <class K, class V>
class OwnedLoader {
public:
    virtual ~OwnedLoader() = default;
    virtual detail::LoadOutcome<V> load(const K& key) = 0;
};

/// A loader as a call has it.
template <class K, class V>
class LoaderRef {
public:
    LoaderRef(bool absent, bool owned) : may_be_absent(absent), can_be_owned(owned) {}
    LoaderRef(const LoaderRef&) = delete;
    LoaderRef& operator=(const LoaderRef&) = delete;

    virtual detail::LoadOutcome<V> load(const K& key) = 0;

    /// Copies or moves it out of the call; once.
    virtual std::shared_ptr<OwnedLoader<K, V>> own() = 0;

    const bool may_be_absent;  // whether it may say that there is no such row
    const bool can_be_owned;

protected:
    ~LoaderRef() = default;
};

template <class K, class V, class Loader>
class LoaderOf final : public LoaderRef<K, V> {
    using Plain = std::decay_t<Loader>;
    static constexpr bool ownable =
        std::is_copy_constructible_v<K> && std::constructible_from<Plain, Loader&&>;

    class Owned final : public OwnedLoader<K, V> {
    public:
        explicit Owned(Loader&& loader) : loader_(std::forward<Loader>(loader)) {}
        detail::LoadOutcome<V> load(const K& key) override {
            return detail::outcome_of<V>(detail::call_loader(loader_, key));
        }

    private:
        Plain loader_;
    };

public:
    explicit LoaderOf(Loader& loader)
        : LoaderRef<K, V>(detail::LoadReturn<Plain, K, V>::optional, ownable), loader_(loader) {}

    detail::LoadOutcome<V> load(const K& key) override {
        return detail::outcome_of<V>(detail::call_loader(loader_, key));
    }

    std::shared_ptr<OwnedLoader<K, V>> own() override {
        if constexpr (ownable) {
            return std::make_shared<Owned>(std::forward<Loader>(loader_));
        } else {
            detail::broken("a loader that cannot be owned");
        }
    }

private:
    std::remove_reference_t<Loader>& loader_;
};

/// What a call does with the value that it gets.
template <class V>
class UseRef {
public:
    template <class Use>
        requires(!std::same_as<std::remove_cvref_t<Use>, UseRef>)
    explicit UseRef(Use& use)
        : use_(const_cast<void*>(static_cast<const void*>(&use))),
          take_([](void* to, V&& value) { (*static_cast<Use*>(to))(std::move(value)); }),
          show_([](void* to, const V& value) { (*static_cast<Use*>(to))(value); }) {}

    void operator()(V&& value) const { take_(use_, std::move(value)); }
    void operator()(const V& value) const { show_(use_, value); }

private:
    void* use_;
    void (*take_)(void*, V&&);
    void (*show_)(void*, const V&);
};

}  // namespace drey
