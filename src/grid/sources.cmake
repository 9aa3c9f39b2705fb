list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/grid/grid.c
  ${CMAKE_SOURCE_DIR}/src/grid/stitch.c
)
