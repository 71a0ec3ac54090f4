# The user of caches, and a copy of the library which only the copy's own user sees: in a shared
# object that hides its symbols. GCC would make one of those inline variables that are to be unique
# in the process, libstdc++'s among them, and then never unload the object.
target_sources(${target} PRIVATE processes/user.cpp)
add_library(drey_test_copy MODULE processes/user.cpp)
set_target_properties(drey_test_copy PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_compile_options(drey_test_copy PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
target_include_directories(drey_test_copy PRIVATE .)
target_link_libraries(drey_test_copy PRIVATE drey::drey)
target_compile_definitions(${target} PRIVATE DREY_TEST_COPY="$<TARGET_FILE:drey_test_copy>")
target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
add_dependencies(${target} drey_test_copy)
