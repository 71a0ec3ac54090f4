#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "drey/types.hpp"
#include "expected.hpp"

namespace hit_ratio {

/// A capacity, in objects or in percent of those that there are.
struct Size {
    static constexpr double most = 0x1p62;

    double value = 0;
    bool percent = false;

    drey::Weight of(double distinct) const {
        const double objects = percent ? value / 100 * distinct : value;
        return static_cast<drey::Weight>(std::clamp(objects + 0.5, 1.0, most));
    }
};

inline Size parse_size(std::string_view size) {
    if (size.ends_with('%')) return {parse_number<double>(size.substr(0, size.size() - 1)), true};
    return {static_cast<double>(parse_number<std::uint32_t>(size)), false};
}

/// "1000,5%", or "0.1%..50%/12": 12 from the one to the other, each by the same factor larger.
inline std::vector<Size> parse_sizes(std::string_view list) {
    std::vector<Size> sizes;
    for (const std::string_view part : detail::split(list)) {
        const std::size_t dots = part.find(".."), slash = part.find('/');
        if (dots == part.npos) {
            sizes.push_back(parse_size(part));
            continue;
        }
        if (slash == part.npos || slash < dots)
            throw UsageError("\"" + std::string(part) + "\": a range is FROM..TO/HOW_MANY");
        const Size from = parse_size(part.substr(0, dots));
        const Size to = parse_size(part.substr(dots + 2, slash - dots - 2));
        const auto count = parse_number<unsigned>(part.substr(slash + 1));
        if (from.percent != to.percent || from.value >= to.value || count < 2 || count > 1000)
            throw UsageError("\"" + std::string(part) +
                             "\": a range is from less to more, both in % or neither, 2 to 1000");
        for (unsigned i = 0; i < count; ++i)
            sizes.push_back({from.value * std::pow(to.value / from.value, double(i) / (count - 1)),
                             from.percent});
    }
    return sizes;
}

}  // namespace hit_ratio
