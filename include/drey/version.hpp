#pragma once

/// The library's version. CMake reads it from here, so that it is written once.
#define DREY_VERSION_MAJOR 0
#define DREY_VERSION_MINOR 1
#define DREY_VERSION_PATCH 0
