list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/aggregator/aggregator.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/abmilx.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/abmil.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/mean.c
)
