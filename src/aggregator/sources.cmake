list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/aggregator/aggregator.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/abmilx.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/abmil.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/clam.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/dsmil.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/chief.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/dtfd.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/mean.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/parts.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/rrtmil.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/transmil.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/vitmil.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/c2c.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/ft_vib.c
  ${CMAKE_SOURCE_DIR}/src/aggregator/wikg.c
)
