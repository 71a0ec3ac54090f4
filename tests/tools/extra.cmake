# The tools read compressed files.
include(../cmake/libraries.cmake)
if(TARGET drey_zstd AND TARGET drey_zlib)
    target_link_libraries(${target} PRIVATE drey_zstd drey_zlib)
else()
    message(NOTICE "tools/input.test.cpp is left out: it needs zlib and zstd (Debian: zlib1g-dev, libzstd-dev)")
    set_source_files_properties(tools/input.test.cpp PROPERTIES HEADER_FILE_ONLY ON)
endif()
