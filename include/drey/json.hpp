#pragma once

/// Component `json`: codecs for every type that nlohmann_json can convert, which they need.
///
///     find_package(drey REQUIRED COMPONENTS json)
///     target_link_libraries(program PRIVATE drey::json)
#include "drey/codec/json.hpp"
