list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/model/model.c
  ${CMAKE_SOURCE_DIR}/src/model/model_io.c
)
