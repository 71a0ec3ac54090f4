# Headers, targets, and what find_package and pkg-config look for. Nothing installed depends on the
# architecture, so it all goes below share/.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(drey_config_dir "${CMAKE_INSTALL_DATADIR}/cmake/drey")

# drey_install_component(NAME TARGET): TARGET is what `find_package(drey COMPONENTS NAME)` provides.
# Write cmake/drey-NAME.cmake beside this file: it finds what TARGET links to, includes
# drey-NAME-targets.cmake and sets drey_NAME_FOUND; see drey-core.cmake.
function(drey_install_component name target)
    install(TARGETS ${target} EXPORT drey-${name} FILE_SET HEADERS)
    install(EXPORT drey-${name} FILE drey-${name}-targets.cmake NAMESPACE drey:: DESTINATION "${drey_config_dir}")
    install(FILES "${PROJECT_SOURCE_DIR}/cmake/drey-${name}.cmake" DESTINATION "${drey_config_dir}")
endfunction()

configure_package_config_file(cmake/dreyConfig.cmake.in dreyConfig.cmake INSTALL_DESTINATION "${drey_config_dir}")
# Before 1.0 a minor version may break what the last one promised.
set(compatibility SameMajorVersion)
if(PROJECT_VERSION_MAJOR EQUAL 0)
    set(compatibility SameMinorVersion)
endif()
write_basic_package_version_file(dreyConfigVersion.cmake COMPATIBILITY ${compatibility} ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/dreyConfig.cmake" "${PROJECT_BINARY_DIR}/dreyConfigVersion.cmake"
        DESTINATION "${drey_config_dir}")

# Relative to the .pc file itself, so that an installation can be moved.
file(RELATIVE_PATH pc_to_prefix "${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
file(RELATIVE_PATH pc_to_include "${CMAKE_INSTALL_PREFIX}" "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
configure_file(cmake/drey.pc.in drey.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/drey.pc" DESTINATION "${CMAKE_INSTALL_DATADIR}/pkgconfig")
