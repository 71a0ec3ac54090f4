// Catch2 2 needs one file that defines its main; Catch2 3 brings a library for that.
#if DREY_TEST_CATCH2 == 2
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
