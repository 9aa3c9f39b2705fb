list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/optim/optim.c
  ${CMAKE_SOURCE_DIR}/src/optim/schedule.c
)
