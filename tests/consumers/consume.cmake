# Configures, builds and runs project/ in the folder BUILD with COMPILER.
#   HOW       find_package, pkg-config (both from the installation in PREFIX), add_subdirectory or
#             FetchContent (both from the folder SOURCE)
#   WANT      more arguments for find_package(drey ...)
#   PROGRAM   redis: the one that needs the components redis and json
#   LOOKS_FOR packages besides threads that this may lead to, as part of a regular expression: "|A|B"
#   DEFINES   more -D... for configuring
#   REFUSED   configuring must fail, and say something that matches this
#   FLAGS     for pkg-config, which does not know the language's standard
cmake_minimum_required(VERSION 3.23)

set(project "${CMAKE_CURRENT_LIST_DIR}/project")
file(REMOVE_RECURSE "${BUILD}")

if(HOW STREQUAL "pkg-config")
    set(ENV{PKG_CONFIG_PATH} "${PREFIX}/share/pkgconfig")
    execute_process(COMMAND pkg-config --cflags --libs drey OUTPUT_VARIABLE flags COMMAND_ERROR_IS_FATAL ANY)
    separate_arguments(flags NATIVE_COMMAND "${flags}")
    file(MAKE_DIRECTORY "${BUILD}")
    execute_process(COMMAND ${COMPILER} ${FLAGS} "${project}/main.cpp" "${project}/other.cpp" ${flags} -o "${BUILD}/consumer"
                    COMMAND_ERROR_IS_FATAL ANY)
else()
    execute_process(COMMAND ${CMAKE_COMMAND} -S "${project}" -B "${BUILD}" -G "${GENERATOR}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
                            "-DCMAKE_PREFIX_PATH=${PREFIX}" "-DHOW=${HOW}" "-DWANT=${WANT}" "-DDREY_SOURCE=${SOURCE}"
                            "-DPROGRAM=${PROGRAM}" "-DLOOKS_FOR=${LOOKS_FOR}" ${DEFINES}
                    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
    message("${output}")
    if(REFUSED)
        string(REGEX REPLACE "[ \n]+" " " output "${output}")  # CMake breaks the lines of its messages
        if(status EQUAL 0 OR NOT output MATCHES "${REFUSED}")
            message(FATAL_ERROR "configuring should have failed with: ${REFUSED}")
        endif()
        return()
    endif()
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "configuring failed")
    endif()
    execute_process(COMMAND ${CMAKE_COMMAND} --build "${BUILD}" COMMAND_ERROR_IS_FATAL ANY)
endif()

execute_process(COMMAND "${BUILD}/consumer" COMMAND_ERROR_IS_FATAL ANY)
