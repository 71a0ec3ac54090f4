# What applies to this repository's own tests, examples and benchmarks, and never to those who use
# the library: warnings, sanitizers, the compiler cache. Directory-wide, so that the translation
# units CMake makes to prove that each header compiles alone get the same.

option(DREY_WARNINGS_AS_ERRORS "Warnings are errors" OFF)
set(DREY_SANITIZE "" CACHE STRING "Sanitizers for everything built here: address,undefined or thread")

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT DEFINED CMAKE_VERIFY_INTERFACE_HEADER_SETS)
    set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON)
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(DREY_WARNINGS_AS_ERRORS)
    add_compile_options(-Werror)
endif()

if(DREY_SANITIZE)
    add_compile_options(-fsanitize=${DREY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${DREY_SANITIZE})
    if(DREY_SANITIZE MATCHES "address.*undefined")
        # What the one reports, and what is not known at -O0, the other need not look for: a tenth of
        # the time to compile.
        add_compile_options(-fno-sanitize=null,object-size)
    endif()
endif()

find_program(DREY_CCACHE ccache)
if(DREY_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    # The first two let builds in other folders share results, the last is what precompiled headers
    # need (the ccache manual, "Precompiled headers").
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env
        CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
        CCACHE_SLOPPINESS=pch_defines,time_macros
        ${DREY_CCACHE})
endif()
