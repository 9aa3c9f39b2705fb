list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/task/task.c
)
