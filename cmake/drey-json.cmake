# drey::json, the codecs that need nlohmann_json.
find_package(nlohmann_json QUIET)
if(NOT nlohmann_json_FOUND)
    set(drey_json_FOUND FALSE)
    set(drey_NOT_FOUND_MESSAGE
        "drey's component 'json' needs nlohmann_json, which was not found (Debian: nlohmann-json3-dev)")
    return()
endif()
include("${CMAKE_CURRENT_LIST_DIR}/drey-json-targets.cmake")
set(drey_json_FOUND TRUE)
