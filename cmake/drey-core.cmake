# drey::drey, which needs nothing but threads.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include("${CMAKE_CURRENT_LIST_DIR}/drey-core-targets.cmake")
set(drey_core_FOUND TRUE)
