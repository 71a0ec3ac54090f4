#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

/// Somebody who uses a cache, seen through an interface that has nothing of the library in it: so
/// it may as well be in another copy of the library, in a shared object.
class User {
public:
    virtual ~User() = default;

    /// Makes `steps` calls of all kinds on the cache; returns how often what it found was wrong.
    /// For any number of threads at a time.
    virtual std::size_t use(std::uint64_t seed, std::size_t steps) = 0;

    /// Calls `f` while it visits a value; whether the value was there and whole before and after.
    virtual bool visit(const std::function<void()>& f) = 0;

    /// Erases everything. How many values are left that were made for any cache of this copy, or -1
    /// if not each of those that were destroyed was destroyed once.
    virtual long empty() = 0;

    /// Whether the cache's invariants hold.
    virtual bool valid() const = 0;

    /// Where this copy keeps count of its threads.
    virtual const void* domain() const = 0;
};

std::unique_ptr<User> make_user();

/// What the copy exports.
extern "C" User* drey_test_make_user();
