list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/explain/color.c
  ${CMAKE_SOURCE_DIR}/src/explain/draw_cairo.c
  ${CMAKE_SOURCE_DIR}/src/explain/explain.c
  ${CMAKE_SOURCE_DIR}/src/explain/export.c
  ${CMAKE_SOURCE_DIR}/src/explain/foci.c
  ${CMAKE_SOURCE_DIR}/src/explain/heat.c
  ${CMAKE_SOURCE_DIR}/src/explain/picture.c
  ${CMAKE_SOURCE_DIR}/src/explain/sheet.c
  ${CMAKE_SOURCE_DIR}/src/explain/utf8.c
)
