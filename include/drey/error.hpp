#pragma once

#include <stdexcept>

namespace drey {

/// A loader asked for the very key that it is loading, itself or by way of another thread's load
/// that waits for it; waiting would never end.
class ReentrantLoad : public std::logic_error {
public:
    ReentrantLoad()
        : std::logic_error(
              "drey::ReentrantLoad: the loader of a key asked the cache to load that same key") {}
};

}  // namespace drey
