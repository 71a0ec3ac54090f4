# DreyHiredis::hiredis: hiredis 0.14 or newer, however it was installed. Its own package files differ:
# from 1.0 on `hiredis` has the target hiredis::hiredis; Debian 12's `Hiredis` has none, and its
# version file fails when no version is asked for.

if(NOT TARGET hiredis::hiredis)
    find_package(hiredis CONFIG QUIET)
endif()

if(TARGET hiredis::hiredis)
    set(DreyHiredis_LIBRARY hiredis::hiredis)
    set(DreyHiredis_VERSION "${hiredis_VERSION}")
    set(DreyHiredis_new_enough TRUE)
else()
    find_package(PkgConfig QUIET)
    if(PkgConfig_FOUND)
        pkg_check_modules(DreyHiredis_PC QUIET hiredis)
    endif()
    # Its .pc file may point into include/hiredis, where the headers include each other; ours include
    # <hiredis/hiredis.h>.
    set(DreyHiredis_hints ${DreyHiredis_PC_INCLUDE_DIRS} ${DreyHiredis_PC_INCLUDEDIR})
    list(TRANSFORM DreyHiredis_hints REPLACE "/hiredis/?$" "")
    find_path(DreyHiredis_INCLUDE_DIR hiredis/hiredis.h HINTS ${DreyHiredis_hints})
    find_library(DreyHiredis_LIBRARY hiredis HINTS ${DreyHiredis_PC_LIBRARY_DIRS} ${DreyHiredis_PC_LIBDIR})
    mark_as_advanced(DreyHiredis_INCLUDE_DIR DreyHiredis_LIBRARY)
    if(DreyHiredis_INCLUDE_DIR)
        set(DreyHiredis_VERSION)
        file(STRINGS "${DreyHiredis_INCLUDE_DIR}/hiredis/hiredis.h" DreyHiredis_lines REGEX "define HIREDIS_")
        foreach(part MAJOR MINOR PATCH)
            string(REGEX MATCH "HIREDIS_${part} ([0-9]+)" _ "${DreyHiredis_lines}")
            list(APPEND DreyHiredis_VERSION ${CMAKE_MATCH_1})
        endforeach()
        list(JOIN DreyHiredis_VERSION "." DreyHiredis_VERSION)
        if(DreyHiredis_VERSION VERSION_GREATER_EQUAL 0.14)
            set(DreyHiredis_new_enough TRUE)
        endif()
    endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(DreyHiredis REQUIRED_VARS DreyHiredis_LIBRARY DreyHiredis_new_enough
                                  VERSION_VAR DreyHiredis_VERSION)

if(DreyHiredis_FOUND AND NOT TARGET DreyHiredis::hiredis)
    add_library(DreyHiredis::hiredis INTERFACE IMPORTED)
    target_link_libraries(DreyHiredis::hiredis INTERFACE ${DreyHiredis_LIBRARY})
    if(DreyHiredis_INCLUDE_DIR)
        target_include_directories(DreyHiredis::hiredis INTERFACE "${DreyHiredis_INCLUDE_DIR}")
    endif()
endif()
