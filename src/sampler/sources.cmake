list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/sampler/sampler.c
  ${CMAKE_SOURCE_DIR}/src/sampler/kmeans.c
)
