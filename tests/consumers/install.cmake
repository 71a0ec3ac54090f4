# Installs the build TREE to PREFIX, by way of another place: an installation can be moved.
file(REMOVE_RECURSE "${PREFIX}" "${PREFIX}-first")
execute_process(COMMAND ${CMAKE_COMMAND} --install "${TREE}" --prefix "${PREFIX}-first" COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${PREFIX}-first" "${PREFIX}")
