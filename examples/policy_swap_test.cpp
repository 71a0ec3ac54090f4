// How an application tests its own class that uses a cache: without threads, sleeping or a server,
// and with whatever policy makes the test easy to follow.
//
// Two ways to let the cache be swapped: a template parameter, which costs nothing, or AnyCache,
// which costs a virtual call and can be chosen by name at run time.

#include <drey/drey.hpp>

#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "expect.hpp"

using namespace std::chrono_literals;
using example::expect;

// ---- the application: header -------------------------------------------------------------------

struct Price {
    int cents = 0;
};

/// Where prices come from; a web service, say.
class PriceSource {
public:
    virtual ~PriceSource() = default;
    virtual Price fetch(const std::string& article) = 0;
};

/// Prices, at most a minute old. Tests swap the cache; production code writes `Prices<>`.
template <class Backend = drey::DefaultPolicy>
class Prices {
public:
    using Cache = drey::Cache<std::string, Price, Backend>;
    using Options = typename Cache::Options;

    static Options production() { return {.capacity = 50'000, .ttl = 1min, .jitter = 0.1}; }

    explicit Prices(PriceSource& source, Options options = production())
        : source_(source), cache_(std::move(options)) {}

    Price of(const std::string& article) {
        return cache_.get_or_load(article,
                                  [this](const std::string& a) { return source_.fetch(a); });
    }
    void changed(const std::string& article) { cache_.erase(article); }

private:
    PriceSource& source_;
    Cache cache_;
};

/// The same with the cache handed in, its type erased.
class InjectedPrices {
public:
    InjectedPrices(PriceSource& source, drey::AnyCache<std::string, Price> cache)
        : source_(source), cache_(std::move(cache)) {}

    Price of(const std::string& article) {
        return cache_.get_or_load(article,
                                  [this](const std::string& a) { return source_.fetch(a); });
    }

private:
    PriceSource& source_;
    drey::AnyCache<std::string, Price> cache_;
};

// ---- its tests ---------------------------------------------------------------------------------

class FakeSource final : public PriceSource {
public:
    Price fetch(const std::string& article) override {
        ++fetches;
        if (is_down) throw std::runtime_error("503");
        return {prices[article]};
    }

    std::map<std::string, int> prices = {{"nut", 5}, {"acorn", 7}, {"cone", 9}};
    bool is_down = false;
    int fetches = 0;
};

void a_price_is_fetched_again_after_a_minute() {
    drey::ManualClock clock;
    FakeSource source;
    Prices<drey::Local<>> prices(source, {.capacity = 10, .ttl = 1min, .clock = clock});

    prices.of("nut");
    source.prices["nut"] = 6;
    clock.advance(59s);
    expect(prices.of("nut").cents == 5 && source.fetches == 1,
           "for a minute the price is the one that was fetched");
    clock.advance(1s);
    expect(prices.of("nut").cents == 6 && source.fetches == 2, "then it is fetched again");
}

void a_changed_price_is_seen_at_once() {
    FakeSource source;
    Prices<drey::Local<>> prices(source, {.capacity = 10});

    prices.of("nut");
    source.prices["nut"] = 6;
    prices.changed("nut");
    expect(prices.of("nut").cents == 6, "a changed price is seen at once");
}

void a_failure_is_not_remembered() {
    FakeSource source;
    Prices<drey::Local<>> prices(source, {.capacity = 10});

    source.is_down = true;
    bool failed = false;
    try {
        prices.of("nut");
    } catch (const std::runtime_error&) {
        failed = true;
    }
    expect(failed, "a failure of the source reaches the caller");
    source.is_down = false;
    expect(prices.of("nut").cents == 5, "and is not remembered");
}

// With two entries and a policy as simple as FIFO, one can say who leaves.
void eviction_costs_a_fetch_and_nothing_else() {
    FakeSource source;
    Prices<drey::Local<drey::Fifo>> prices(source, {.capacity = 2});

    for (const char* article : {"nut", "acorn", "cone"}) prices.of(article);
    expect(prices.of("cone").cents == 9 && source.fetches == 3, "the newest is still cached");
    expect(prices.of("nut").cents == 5 && source.fetches == 4,
           "the evicted is fetched again, and right");
}

// Nothing the class promises may depend on the policy.
void prices_are_right_with_any_policy() {
    for (const auto policy : drey::policy_names) {
        drey::ManualClock clock;
        FakeSource source;
        InjectedPrices prices(source, drey::make_cache<std::string, Price>(
                                          policy, {.capacity = 2, .ttl = 1min, .clock = clock}));
        bool right = true;
        for (int round = 0; round < 50; ++round) {
            for (const auto& [article, cents] : source.prices)
                right &= prices.of(article).cents == cents;
            clock.advance(7s);
        }
        expect(right, ("prices are right with " + std::string(policy)).c_str());
    }
}

int main() {
    a_price_is_fetched_again_after_a_minute();
    a_changed_price_is_seen_at_once();
    a_failure_is_not_remembered();
    eviction_costs_a_fetch_and_nothing_else();
    prices_are_right_with_any_policy();
}
