# drey_library, and what traces and logs of requests are compressed with: for benchmarks and tests.
include_guard(GLOBAL)

# drey_library(TARGET NAME HEADER): a library whose package files differ between distributions, or
# ask for more than we use, but whose name does not. No target if it was not found.
function(drey_library target name header)
    find_library(DREY_LIBRARY_${name} ${name})
    find_path(DREY_INCLUDE_${name} ${header})
    if(DREY_LIBRARY_${name} AND DREY_INCLUDE_${name})
        add_library(${target} INTERFACE)
        target_link_libraries(${target} INTERFACE "${DREY_LIBRARY_${name}}")
        target_include_directories(${target} SYSTEM INTERFACE "${DREY_INCLUDE_${name}}")
    endif()
endfunction()

drey_library(drey_zstd zstd zstd.h)
drey_library(drey_zlib z zlib.h)
