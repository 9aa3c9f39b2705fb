list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/op/conv.c
  ${CMAKE_SOURCE_DIR}/src/op/dense.c
  ${CMAKE_SOURCE_DIR}/src/op/elementwise.c
  ${CMAKE_SOURCE_DIR}/src/op/infer.c
  ${CMAKE_SOURCE_DIR}/src/op/norm.c
  ${CMAKE_SOURCE_DIR}/src/op/op.c
  ${CMAKE_SOURCE_DIR}/src/op/scan.c
  ${CMAKE_SOURCE_DIR}/src/op/shape.c
)
