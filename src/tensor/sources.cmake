list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/tensor/convert.c
  ${CMAKE_SOURCE_DIR}/src/tensor/slab.c
  ${CMAKE_SOURCE_DIR}/src/tensor/tensor.c
)
