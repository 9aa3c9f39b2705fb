list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/weights/safetensors.c
  ${CMAKE_SOURCE_DIR}/src/weights/weights.c
)
