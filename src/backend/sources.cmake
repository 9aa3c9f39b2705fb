list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/backend/backend.c
  ${CMAKE_SOURCE_DIR}/src/backend/guard/guard.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_attend.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_conv.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_dense.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_elementwise.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_flat.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_loss.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_norm.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_select.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_scan.c
  ${CMAKE_SOURCE_DIR}/src/backend/ref/ref_shape.c
)
include(${CMAKE_SOURCE_DIR}/src/backend/cpu/sources.cmake)
