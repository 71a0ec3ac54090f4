#include "processes/user.hpp"

#include <optional>

#include "drey/cache.hpp"
#include "drey/policy/lru.hpp"
#include "support/counted.hpp"
#include "support/threads.hpp"

namespace {

using support::Counted;

class CacheUser final : public User {
public:
    std::size_t use(std::uint64_t seed, std::size_t steps) override {
        support::Random random(seed);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < steps; ++i) {
            const std::uint64_t key = 1 + random.below(200);
            const auto look = [&](const Counted& value) {
                wrong += !value.whole() || value.number() != key;
            };
            switch (random.below(8)) {
                case 0:
                    cache_.erase(key);
                    break;
                case 1:
                    if (const auto taken = cache_.take(key)) look(*taken);
                    break;
                case 2:
                    look(cache_.get_or_load(key, [&] { return Counted(key); }));
                    break;
                case 3:
                    cache_.put(key, Counted(key), {.ttl = std::chrono::hours(1)});
                    break;
                case 4:
                case 5:
                    cache_.put(key, Counted(key));
                    break;
                default:
                    cache_.visit(key, look);
            }
        }
        return wrong;
    }

    bool visit(const std::function<void()>& f) override {
        bool whole = false;
        const auto look = [&](const Counted& value) {
            whole = value.whole() && value.number() == 0;
            f();
            whole = whole && value.whole() && value.number() == 0;
        };
        // Others may have it evicted before we are there.
        do cache_.put(0, Counted(0));
        while (!cache_.visit(std::uint64_t{0}, look));
        return whole;
    }

    long empty() override {
        cache_.clear();
        cache_.synchronize();
        return Counted::alive() != 0 || Counted::all_destroyed_once() ? Counted::alive() : -1;
    }

    bool valid() const override { return cache_.validate(); }
    const void* domain() const override { return &drey::HazardDomain::process(); }

private:
    drey::Cache<std::uint64_t, Counted, drey::Lru> cache_{{.capacity = 100}};
};

}  // namespace

std::unique_ptr<User> make_user() { return std::make_unique<CacheUser>(); }

[[gnu::visibility("default")]] User* drey_test_make_user() { return new CacheUser; }
