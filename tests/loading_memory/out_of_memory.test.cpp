#include <cstddef>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "loading/fixture.hpp"
#include "support/alloc_failure.hpp"
#include "support/catch.hpp"

using drey::Found;
using loading::Background;
using loading::Fixture;
using loading::stale;
using loading::the_key;
using namespace std::chrono_literals;

namespace {

/// `call(fixture)` with its allocations failing in turn, alone or with all after it. Whatever it
/// does, the next calls load as ever, and the cache can be destroyed.
template <class Call>
void fails_everywhere(bool is_stale, Call&& call) {
    for (const auto does : {Background::queues, Background::runs})
        for (const bool from_then_on : {false, true}) {
            bool happened = true;
            for (std::size_t n = 0; happened; ++n) {
                CAPTURE(static_cast<int>(does), from_then_on, n);
                Fixture f(stale());
                f.background.does = does;
                if (is_stale) f.be_stale();
                {
                    const support::FailAllocation failure(n, from_then_on);
                    try {
                        call(f);
                    } catch (const std::bad_alloc&) {
                    } catch (const drey::LoadTimeout&) {
                    }
                    happened = failure.happened();
                }
                f.background.run();
                f.clock.advance(1s);  // a rest, if there is one
                const int got = f.get();
                REQUIRE((got == 2 || (is_stale && got == 1)));
                f.background.run();
                REQUIRE(f.get() == 2);
                REQUIRE(f.cache->validate());
            }
        }
}

}  // namespace

TEST_CASE("no load is left in the air when memory runs out") {
    fails_everywhere(false, [](Fixture& f) { f.get(); });
    fails_everywhere(true, [](Fixture& f) { f.get({.serve_stale = drey::ServeStale::on_error}); });
}

TEST_CASE("nor is one in the background") {
    fails_everywhere(true, [](Fixture& f) { f.get(); });
    fails_everywhere(true, [](Fixture& f) { f.cache->refresh(the_key, f.surely()); });
    fails_everywhere(false, [](Fixture& f) { f.get({.hard_timeout = 0s}); });
}

TEST_CASE("nor are many at once") {
    for (const bool is_stale : {false, true})
        fails_everywhere(is_stale, [](Fixture& f) {
            f.cache->get_or_load_many({the_key, "b"}, [](std::span<const std::string> keys) {
                return std::vector<int>(keys.size(), 2);
            });
        });
}
