#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "drey/cache.hpp"
#include "drey/error.hpp"
#include "drey/policy/fifo.hpp"
#include "drey/policy/lru.hpp"
#include "drey/policy/s3_fifo.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"

// User code may call the cache that called it, in every way.

using support::Counted;

namespace {

/// A value that runs a function when it is copied or destroyed, once, if it is told to.
class Active {
public:
    explicit Active(int i) : id_(i) { ++alive; }
    Active(const Active& other) : id_(other.id()) {
        ++alive;
        run(on_copy);
    }
    Active(Active&& other) noexcept : id_(std::exchange(other.id_, moved_from)) { ++alive; }
    Active& operator=(const Active& other) {
        id_ = other.id();
        run(on_copy);
        return *this;
    }
    Active& operator=(Active&& other) noexcept {
        id_ = std::exchange(other.id_, moved_from);
        return *this;
    }
    ~Active() {
        if (id_ != moved_from) run(on_destruction);
        id_ = destroyed;
        --alive;
    }

    /// Aborts if this is no value any more.
    int id() const {
        if (id_ == destroyed || id_ == moved_from) std::abort();
        return id_;
    }

    static inline long alive = 0;
    static inline std::function<void()> on_copy, on_destruction;

    static void run(std::function<void()>& once) {
        if (const auto f = std::exchange(once, nullptr)) f();
    }

private:
    static constexpr int moved_from = -1, destroyed = -2;
    int id_;
};

/// All that user code may do to the cache it is called from.
template <class Cache>
struct Meddling {
    const char* what;
    void (*with)(Cache&, int key);
};

template <class Cache>
constexpr std::array<Meddling<Cache>, 22> all_meddling{{
    {"nothing", [](Cache&, int) {}},
    {"get", [](Cache& c, int k) { c.get(k); }},
    {"find", [](Cache& c, int k) { static_cast<void>(c.find(k)); }},
    {"visit", [](Cache& c, int k) { c.visit(k, [](const Active& v) { v.id(); }); }},
    {"visit others",
     [](Cache& c, int k) {
         for (int i = 0; i < 10; ++i) c.visit(k + i, [](const Active& v) { v.id(); });
     }},
    {"contains", [](Cache& c, int k) { c.contains(k); }},
    {"put", [](Cache& c, int k) { c.put(k, Active(50)); }},
    {"put often",
     [](Cache& c, int k) {
         for (int i = 0; i < 100; ++i) c.put(k, Active(50 + i));
     }},
    {"put others, until all is evicted",
     [](Cache& c, int k) {
         for (int i = 1; i < 20; ++i) c.put(k + i, Active(i));
     }},
    {"put_if_absent", [](Cache& c, int k) { c.put_if_absent(k, Active(50)); }},
    {"update",
     [](Cache& c, int k) { c.update(k, [](auto) { return std::optional<Active>(60); }); }},
    {"update away",
     [](Cache& c, int k) { c.update(k, [](auto) { return std::optional<Active>(); }); }},
    {"take", [](Cache& c, int k) { c.take(k); }},
    {"erase", [](Cache& c, int k) { c.erase(k); }},
    {"erase_if",
     [](Cache& c, int) { c.erase_if([](int, const Active& v) { return v.id() >= 0; }); }},
    {"clear", [](Cache& c, int) { c.clear(); }},
    {"get_or_load",
     [](Cache& c, int k) {
         try {
             c.get_or_load(k, [] { return Active(70); });
         } catch (const drey::ReentrantLoad&) {
         }
     }},
    {"get_or_load of another",
     [](Cache& c, int k) { c.get_or_load(k + 100, [] { return Active(70); }); }},
    {"for_each", [](Cache& c, int) { c.for_each([](int, const Active& v) { v.id(); }); }},
    {"set_capacity", [](Cache& c, int) { c.set_capacity(c.capacity() == 4 ? 2 : 4); }},
    {"purge and synchronize",
     [](Cache& c, int) {
         c.purge_expired();
         c.synchronize();
     }},
    {"look at the whole",
     [](Cache& c, int) {
         if (!c.validate() || c.size() > 4 || c.stats().insertions < 4) std::abort();
     }},
}};

/// For each way to meddle: `use(cache, meddle)` uses a cache of four entries in a way that ought to
/// call `meddle`, once. Options have a weigher and a listener that call what they are told to.
template <class Cache>
struct Host {
    std::function<void()> on_weighing, on_removal;

    template <class Use>
    void each_meddling(Use&& use) {
        for (const auto& meddling : all_meddling<Cache>) {
            CAPTURE(meddling.what);
            bool called = false, valid = false;
            long left = 0;
            {
                Cache cache{
                    {.capacity = 4,
                     .weigher = [&](int, const Active& v) -> drey::Weight {
                         v.id();
                         Active::run(on_weighing);
                         return 1;
                     },
                     .on_removal =
                         [&](int, const Active& v, drey::Removal) {
                             v.id();
                             Active::run(on_removal);
                         },
                     .shards =
                         std::is_same_v<Cache, drey::Cache<int, Active, drey::Local<drey::Lru>>>
                             ? 0u
                             : 1u}};
                for (int i = 0; i < 4; ++i) cache.put(i, Active(i));
                use(cache, [&] {
                    called = true;
                    meddling.with(cache, 1);
                });
                for (auto* hook :
                     {&on_weighing, &on_removal, &Active::on_copy, &Active::on_destruction})
                    *hook = nullptr;
                valid = cache.validate();
                cache.synchronize();
                left = Active::alive - static_cast<long>(cache.size());
            }
            CHECK(called);
            CHECK(valid);
            CHECK(left == 0);
            CHECK(Active::alive == 0);
        }
    }
};

}  // namespace

#define DREY_TEST_HOSTS \
    (drey::Cache<int, Active, drey::Lru>), (drey::Cache<int, Active, drey::Local<drey::S3Fifo>>)

TEMPLATE_TEST_CASE("a visitor may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    host.each_meddling([](TestType& cache, auto meddle) {
        cache.visit(1, [&](const Active& value) {
            meddle();
            CHECK(value.id() == 1);  // whatever became of the entry
        });
    });
}

TEMPLATE_TEST_CASE("a copy constructor may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    SECTION("called by get") {
        host.each_meddling([](TestType& cache, auto meddle) {
            Active::on_copy = meddle;
            CHECK(cache.get(1)->id() == 1);
        });
    }
    SECTION("called by update") {
        host.each_meddling([](TestType& cache, auto meddle) {
            Active::on_copy = meddle;
            cache.update(1, [](std::optional<Active> old) { return old; });
        });
    }
    SECTION("called by take") {
        host.each_meddling([](TestType& cache, auto meddle) {
            cache.visit(1, [&](const Active&) {
                Active::on_copy = meddle;
                CHECK(cache.take(1)->id() == 1);
            });
        });
    }
    SECTION("called by get_or_load, to keep the value") {
        host.each_meddling([](TestType& cache, auto meddle) {
            cache.erase(1);
            Active::on_copy = meddle;
            CHECK(cache.get_or_load(1, [] { return Active(1); }).id() == 1);
        });
    }
}

TEMPLATE_TEST_CASE("a destructor may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    const auto destroying = [&](auto&& destroy) {
        host.each_meddling([&](TestType& cache, auto meddle) {
            Active::on_destruction = meddle;
            destroy(cache);
            cache.synchronize();
        });
    };
    SECTION("when erased") {
        destroying([](TestType& c) { c.erase(1); });
    }
    SECTION("when overwritten") {
        destroying([](TestType& c) { c.put(1, Active(9)); });
    }
    SECTION("when evicted") {
        destroying([](TestType& c) { c.put(9, Active(9)); });
    }
    SECTION("when cleared") {
        destroying([](TestType& c) { c.clear(); });
    }
    SECTION("when erased by a predicate") {
        destroying(
            [](TestType& c) { c.erase_if([](int key, const Active&) { return key == 1; }); });
    }
    SECTION("when updated") {
        destroying([](TestType& c) { c.update(1, [](auto) { return std::optional<Active>(9); }); });
    }
    SECTION("when the capacity shrinks") {
        destroying([](TestType& c) { c.set_capacity(1); });
    }
    SECTION("when it expires") {
        destroying([](TestType& c) {
            c.put(1, Active(8), {.ttl = std::chrono::seconds(0)});
            c.get(1);
        });
    }
    SECTION("when its reader leaves") {
        destroying([](TestType& c) {
            c.visit(1, [&](const Active& value) {
                c.erase(1);
                CHECK(value.id() == 1);
            });
        });
    }
}

TEMPLATE_TEST_CASE("a listener may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    const auto removing = [&](auto&& remove) {
        host.each_meddling([&](TestType& cache, auto meddle) {
            host.on_removal = meddle;
            remove(cache);
        });
    };
    SECTION("of an erasure") {
        removing([](TestType& c) { c.erase(1); });
    }
    SECTION("of an overwrite") {
        removing([](TestType& c) { c.put(1, Active(9)); });
    }
    SECTION("of an eviction") {
        removing([](TestType& c) { c.put(9, Active(9)); });
    }
    SECTION("of a clear") {
        removing([](TestType& c) { c.clear(); });
    }
    SECTION("of a take") {
        removing([](TestType& c) { CHECK(c.take(1)->id() == 1); });
    }
    SECTION("of an erasure by a predicate") {
        removing([](TestType& c) { c.erase_if([](int, const Active&) { return true; }); });
    }
    SECTION("of an update") {
        removing([](TestType& c) { c.update(1, [](auto) { return std::optional<Active>(); }); });
    }
    SECTION("of a smaller capacity") {
        removing([](TestType& c) { c.set_capacity(1); });
    }
    SECTION("of an expiry") {
        removing([](TestType& c) {
            c.put(1, Active(8), {.ttl = std::chrono::seconds(0)});
            c.get(1);
        });
    }
}

TEMPLATE_TEST_CASE("a weigher may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    host.each_meddling([&](TestType& cache, auto meddle) {
        host.on_weighing = meddle;
        cache.put(1, Active(9));
    });
}

TEMPLATE_TEST_CASE("a loader may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    host.each_meddling([](TestType& cache, auto meddle) {
        cache.erase(1);
        CHECK(cache
                  .get_or_load(1,
                               [&] {
                                   meddle();
                                   return Active(9);
                               })
                  .id() == 9);
    });
}

TEMPLATE_TEST_CASE("who visits what is loaded may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    host.each_meddling([](TestType& cache, auto meddle) {
        cache.erase(1);
        cache.visit_or_load(
            1, [] { return Active(9); },
            [&](const Active& value) {
                meddle();
                CHECK(value.id() == 9);
            });
    });
}

TEMPLATE_TEST_CASE("the function of an update may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    for (const bool removes : {false, true})
        host.each_meddling([&](TestType& cache, auto meddle) {
            std::function<void()> once = meddle;
            int calls = 0;
            cache.update(1, [&](std::optional<Active> old) {
                ++calls;
                Active::run(once);
                if (old) old->id();
                return removes ? std::optional<Active>() : std::optional<Active>(9);
            });
            CHECK(calls <= 2);
            if (removes) CHECK_FALSE(cache.contains(1));
            if (!removes) CHECK(cache.get(1)->id() == 9);
        });
}

TEMPLATE_TEST_CASE("the predicate of erase_if may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    for (const bool erases : {false, true})
        host.each_meddling([&](TestType& cache, auto meddle) {
            std::function<void()> once = meddle;
            cache.erase_if([&](int, const Active& value) {
                const int id = value.id();
                Active::run(once);
                CHECK(value.id() == id);
                return erases;
            });
        });
}

TEMPLATE_TEST_CASE("the function of for_each may call the cache", "", DREY_TEST_HOSTS) {
    Host<TestType> host;
    host.each_meddling([&](TestType& cache, auto meddle) {
        cache.for_each([&](int, const Active& value) {
            const int id = value.id();
            meddle();
            CHECK(value.id() == id);
        });
    });
}

// ---- what that means ---------------------------------------------------------------------------

TEST_CASE("values whose destructors remove others go down in a chain") {
    struct Link {
        drey::Cache<int, Link, drey::Lru>* cache;
        int next;
        Link(drey::Cache<int, Link, drey::Lru>* c, int n) : cache(c), next(n) {}
        Link(Link&& other) noexcept
            : cache(std::exchange(other.cache, nullptr)), next(other.next) {}
        ~Link() {
            if (cache != nullptr) cache->erase(next);
        }
    };
    drey::Cache<int, Link, drey::Lru> cache{{.capacity = 100}};
    for (int i = 0; i < 50; ++i) cache.put(i, Link(&cache, i + 1));
    cache.erase(0);
    CHECK(cache.size() == 0);
    CHECK(cache.validate());
}

TEST_CASE("a listener may put back what was evicted") {
    std::optional<drey::Cache<int, int, drey::Fifo>> cache;
    int times = 0;
    cache.emplace(drey::MemoryOptions<int, int>{
        .capacity = 3, .on_removal = [&](int key, int value, drey::Removal cause) {
            if (cause == drey::Removal::evicted && ++times <= 10) cache->put(key, value);
        }});
    for (int i = 0; i < 4; ++i) cache->put(i, i);
    CHECK(times == 11);
    CHECK(cache->size() == 3);
    CHECK(cache->validate());
}

TEMPLATE_TEST_CASE("visits nest as deep as one likes", "", drey::Lru, drey::Local<drey::Lru>) {
    constexpr int deep = 40;
    {
        drey::Cache<int, Counted, TestType> cache{{.capacity = 100}};
        for (int i = 0; i < deep; ++i) cache.put(i, Counted(static_cast<std::uint64_t>(i)));
        int whole = 0;
        const std::function<void(int)> descend = [&](int i) {
            if (i == deep) {
                cache.clear();
                for (int j = 0; j < 100; ++j) cache.put(j, Counted(1'000));
                return;
            }
            cache.visit(i, [&](const Counted& value) {
                descend(i + 1);
                whole += value.whole() && value.number() == static_cast<std::uint64_t>(i);
            });
        };
        descend(0);
        CHECK(whole == deep);
        cache.synchronize();
        CHECK(Counted::alive() == static_cast<long>(cache.size()));
        CHECK(cache.validate());
    }
    CHECK(Counted::alive() == 0);
}

TEMPLATE_TEST_CASE("a visitor may take the value that it visits, as a copy", "", drey::Lru,
                   drey::Local<drey::Lru>) {
    drey::Cache<int, Counted, TestType> cache{{.capacity = 10}};
    cache.put(1, Counted(7));
    cache.visit(1, [&](const Counted& value) {
        const auto taken = cache.take(1);
        REQUIRE(taken);
        CHECK(taken->whole());
        CHECK(value.whole());
        CHECK(value.number() == 7);
        CHECK_FALSE(cache.contains(1));
    });
    CHECK(cache.size() == 0);
}

TEMPLATE_TEST_CASE("a visitor may not take the value that it visits if that only moves", "",
                   drey::Lru, drey::Local<drey::Lru>) {
    using Cache = drey::Cache<int, std::unique_ptr<int>, TestType>;
    Cache cache{{.capacity = 100}};
    for (int i = 0; i < 50; ++i) cache.put(i, std::make_unique<int>(i));
    const std::function<void(int, int)> descend = [&](int i, int deep) {
        if (i == deep) {
            for (int j = 0; j < deep; ++j) {
                CHECK_THROWS_AS(cache.take(j), std::logic_error);
                CHECK(cache.contains(j));
            }
            CHECK(*cache.take(49).value() == 49);  // another one it may
            cache.put(49, std::make_unique<int>(49));
            return;
        }
        cache.visit(i, [&](const std::unique_ptr<int>& value) {
            descend(i + 1, deep);
            CHECK(*value == i);
        });
    };
    for (const int deep : {1, 2, 4, 5, 6, 20}) descend(0, deep);
    CHECK(cache.size() == 50);
    CHECK(*cache.take(0).value() == 0);
    CHECK(cache.validate());
}

TEMPLATE_TEST_CASE("nor may it do so by way of for_each or erase_if", "", drey::Lru,
                   drey::Local<drey::Lru>) {
    drey::Cache<int, std::unique_ptr<int>, TestType> cache{{.capacity = 100}};
    for (int i = 0; i < 4; ++i) cache.put(i, std::make_unique<int>(i));
    cache.for_each([&](int key, const std::unique_ptr<int>& value) {
        CHECK_THROWS_AS(cache.take(key), std::logic_error);
        CHECK(*value == key);
        cache.erase(key);
        CHECK(*value == key);
    });
    CHECK(cache.size() == 0);
}

namespace {

template <class V>
V value_of(int i) {
    if constexpr (std::is_same_v<V, int>) {
        return i;
    } else {
        return std::to_string(i);
    }
}

}  // namespace

TEMPLATE_TEST_CASE("erase_if spares what was written since the predicate saw the key", "",
                   (drey::Cache<int, int, drey::Lru>), (drey::Cache<int, std::string, drey::Lru>),
                   (drey::Cache<int, int, drey::Local<drey::Lru>>),
                   (drey::Cache<int, std::string, drey::Local<drey::Lru>>)) {
    using V = typename TestType::mapped_type;
    TestType cache{{.capacity = 10}};
    cache.put(1, value_of<V>(1));
    cache.put(2, value_of<V>(1));
    const std::size_t erased = cache.erase_if([&](int key, const V& value) {
        if (key == 1) cache.put(1, value_of<V>(2));
        return value == value_of<V>(1);
    });
    CHECK(cache.get(1) == value_of<V>(2));
    CHECK_FALSE(cache.contains(2));
    CHECK(erased == 1);
    CHECK(cache.validate());
}

TEMPLATE_TEST_CASE("update sees what was written while its function ran", "",
                   (drey::Cache<int, int, drey::Lru>), (drey::Cache<int, std::string, drey::Lru>),
                   (drey::Cache<int, int, drey::Local<drey::Lru>>)) {
    using V = typename TestType::mapped_type;
    TestType cache{{.capacity = 10}};
    cache.put(1, value_of<V>(1));
    std::vector<std::optional<V>> seen;
    const bool has_value = cache.update(1, [&](std::optional<V> old) {
        seen.push_back(old);
        if (seen.size() == 1) cache.put(1, value_of<V>(2));
        if (seen.size() == 2) cache.erase(1);
        if (seen.size() == 3) cache.put(1, value_of<V>(4));
        return std::optional<V>(value_of<V>(5));
    });
    CHECK(has_value);
    CHECK(seen == std::vector<std::optional<V>>{value_of<V>(1), value_of<V>(2), std::nullopt,
                                                value_of<V>(4)});
    CHECK(cache.get(1) == value_of<V>(5));
}

TEMPLATE_TEST_CASE("for_each ends though its function writes and writes", "",
                   (drey::Cache<int, int, drey::Fifo>), (drey::Cache<int, std::string, drey::Fifo>),
                   (drey::Cache<int, std::string, drey::Local<drey::Fifo>>)) {
    using V = typename TestType::mapped_type;
    TestType cache{{.capacity = 10'000}};
    for (int i = 0; i < 10; ++i) cache.put(i, value_of<V>(i));
    int next = 10, calls = 0;
    cache.for_each([&](int key, const V& value) {
        ++calls;
        cache.put(key, V(value));
        cache.put(next++, value_of<V>(0));
        cache.put(next++, value_of<V>(0));
    });
    CHECK(calls >= 10);
    CHECK(calls <= 20'000);  // new entries lie before it as well as after
    next = 10;
    cache.erase_if([&](int key, const V&) {
        cache.put(1'000 + next++, value_of<V>(0));
        return key % 2 == 0;
    });
    CHECK(cache.validate());
}

TEMPLATE_TEST_CASE("a visit that writes and writes does not use up memory", "", drey::Shared,
                   drey::Unshared) {
    {
        drey::Store<int, Counted, drey::Fifo, drey::DefaultHash, drey::DefaultEqual, TestType>
            store({.capacity = 100, .shards = 1});
        store.put(1, Counted(1), {}, drey::WriteIf::always);
        store.read(1, store.hash(1), [&](const Counted& value) {
            for (int i = 0; i < 10'000; ++i)
                store.put(i % 200, Counted(2), {}, drey::WriteIf::always);
            CHECK(value.number() == 1);
            CHECK(value.whole());
        });
        CHECK(store.slots() <= 100 + 256 + 2);
        store.for_each([&](int, const Counted&) {
            for (int i = 0; i < 1'000; ++i)
                store.put(i % 200, Counted(2), {}, drey::WriteIf::always);
        });
        CHECK(store.slots() <= 100 + 256 + 2);
        CHECK(store.validate());
    }
    CHECK(Counted::alive() == 0);
}

TEMPLATE_TEST_CASE("what the user removes is destroyed when the call returns", "", drey::Lru,
                   drey::Local<drey::Lru>) {
    drey::Cache<int, Counted, TestType> cache{{.capacity = 10'000}};
    for (int i = 0; i < 5'000; ++i) cache.put(i, Counted(1));
    long alive = Counted::alive();
    CHECK(cache.erase(1) == 1);
    CHECK(Counted::alive() == alive - 1);
    CHECK(cache.take(2));
    CHECK(Counted::alive() == alive - 2);
    CHECK_FALSE(cache.update(3, [](auto) { return std::optional<Counted>(); }));
    CHECK(Counted::alive() == alive - 3);
    CHECK(cache.erase_if([](int key, const Counted&) { return key < 100; }) == 97);
    CHECK(Counted::alive() == alive - 100);
    int asked = 0;
    CHECK_THROWS(cache.erase_if([&](int, const Counted&) {
        if (++asked == 10) throw 1;
        return true;
    }));
    CHECK(Counted::alive() == static_cast<long>(cache.size()));
    cache.clear();
    CHECK(Counted::alive() == 0);
}
