#pragma once

#include <stdexcept>

namespace drey {

/// A loader asked, on the same thread, for the very key that it is loading; waiting for itself
/// would never end.
class ReentrantLoad : public std::logic_error {
public:
    ReentrantLoad()
        : std::logic_error(
              "drey::ReentrantLoad: the loader of a key asked the cache to load that same key") {}
};

}  // namespace drey
