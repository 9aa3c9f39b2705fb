list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/encoder/encoder.c
  ${CMAKE_SOURCE_DIR}/src/encoder/resnet.c
  ${CMAKE_SOURCE_DIR}/src/encoder/normalise.c
)
