#include <dlfcn.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <thread>

#include "processes/user.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

/// Two copies of the library in one process: that of this program, and that of a shared object
/// which hides its symbols, as plugins do.

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
/// A copy that is unloaded leaves behind what it knew of threads: a record for each that used it at
/// one time. It cannot tell that from the end of the process, at which static caches may need them.
/// Its own frames have no names by then; ours, which called it, do.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:copies.test.cpp"; }
#endif
#endif

namespace {

/// The shared object while it is loaded, with one user of a cache in it.
class Copy {
public:
    Copy() : handle_(::dlopen(DREY_TEST_COPY, RTLD_NOW | RTLD_LOCAL)) {
        if (handle_ == nullptr) throw std::runtime_error(::dlerror());
        using Make = User*();
        user_.reset(reinterpret_cast<Make*>(::dlsym(handle_, "drey_test_make_user"))());
    }
    Copy(const Copy&) = delete;
    Copy& operator=(const Copy&) = delete;
    ~Copy() {
        user_.reset();
        ::dlclose(handle_);
    }

    User& user() { return *user_; }

    static bool is_loaded() {
        void* const handle = ::dlopen(DREY_TEST_COPY, RTLD_NOW | RTLD_NOLOAD);
        if (handle != nullptr) ::dlclose(handle);
        return handle != nullptr;
    }

private:
    void* handle_;
    std::unique_ptr<User> user_;
};

/// Uses both by turns, and each from within a visit to the other.
std::size_t use_both(User& one, User& other, std::uint64_t seed, std::size_t rounds) {
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        wrong += one.use(seed + i, 20) + other.use(seed + i, 20);
        wrong += !one.visit([&] {
            wrong += other.use(seed, 5);
            wrong += !other.visit([&] { wrong += one.use(seed, 5) + other.use(seed, 5); });
        });
    }
    return wrong;
}

}  // namespace

TEST_CASE("caches of two copies of the library are used by the same threads", "[concurrent]") {
    const auto own = make_user();
    std::atomic<std::size_t> wrong{0};
    support::elsewhere([&] {  // not on the main thread, whose thread-locals would keep it loaded
        Copy copy;
        CHECK(copy.user().domain() != own->domain());
        support::in_threads(6, [&](std::size_t thread) {
            wrong += use_both(*own, copy.user(), thread, support::ops(300));
        });
        CHECK(wrong == 0);
        CHECK(own->valid());
        CHECK(copy.user().valid());
        CHECK(own->empty() == 0);
        CHECK(copy.user().empty() == 0);
    });
}

TEST_CASE("a copy comes and goes while the other's caches are used", "[concurrent]") {
    const auto own = make_user();
    std::atomic<std::size_t> wrong{0};
    std::atomic<bool> stop{false};
    std::thread others([&] {
        for (std::uint64_t i = 0; !stop; ++i) wrong += own->use(i, 100);
    });
    for (std::uint64_t i = 0; i < support::ops(10); ++i) {
        support::elsewhere([&] {
            Copy copy;
            support::in_threads(
                3, [&](std::size_t thread) { wrong += use_both(*own, copy.user(), thread, 10); });
        });
        CHECK(!Copy::is_loaded());
    }
    stop = true;
    others.join();
    CHECK(wrong == 0);
    CHECK(own->valid());
}

TEST_CASE("a copy stays loaded until the last thread ends that used it", "[concurrent]") {
    support::Gate used, unloaded;
    std::thread last;
    {
        auto copy = std::make_unique<Copy>();
        std::thread user([&] {
            copy->user().use(1, 100);
            used.open();
            unloaded.wait();
        });
        used.wait();
        copy.reset();
        last = std::move(user);
    }
    CHECK(Copy::is_loaded());
    unloaded.open();
    last.join();  // its last destructors are the copy's
}
