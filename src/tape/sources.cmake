list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/tape/ops.c
  ${CMAKE_SOURCE_DIR}/src/tape/replay.c
  ${CMAKE_SOURCE_DIR}/src/tape/tape.c
)
