# Compiles SNIPPET with the command COMPILE and holds the outcome against EXPECTED, or else against
# the snippet's first line.

if(NOT DEFINED EXPECTED)
    file(STRINGS "${SNIPPET}" first_line LIMIT_COUNT 1)
    if(NOT first_line MATCHES "^// expect: (.+)$")
        message(FATAL_ERROR "${SNIPPET} must begin with '// expect: REGEX'")
    endif()
    set(EXPECTED "${CMAKE_MATCH_1}")
endif()

execute_process(COMMAND ${COMPILE} "${SNIPPET}" RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
message("${output}")

# One line each, as CMake would break longer messages.
get_filename_component(name "${SNIPPET}" NAME)
if(EXPECTED STREQUAL "success")
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "${name}: it should compile")
    endif()
elseif(status EQUAL 0)
    message(FATAL_ERROR "${name}: it compiles, and should not")
elseif(NOT output MATCHES "error: [^\n]*${EXPECTED}")
    # Only the error's own line counts: compilers also quote the source, messages included.
    message(FATAL_ERROR "${name}: no error matches '${EXPECTED}'")
endif()
