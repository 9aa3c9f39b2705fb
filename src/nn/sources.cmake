list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/nn/nn.c
)
