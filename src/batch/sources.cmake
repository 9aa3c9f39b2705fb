list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/batch/augment.c
  ${CMAKE_SOURCE_DIR}/src/batch/bag.c
  ${CMAKE_SOURCE_DIR}/src/batch/places.c
  ${CMAKE_SOURCE_DIR}/src/batch/draw.c
  ${CMAKE_SOURCE_DIR}/src/batch/eval_loader.c
  ${CMAKE_SOURCE_DIR}/src/batch/load.c
  ${CMAKE_SOURCE_DIR}/src/batch/loader.c
  ${CMAKE_SOURCE_DIR}/src/batch/scales.c
  ${CMAKE_SOURCE_DIR}/src/batch/source.c
  ${CMAKE_SOURCE_DIR}/src/batch/source_join.c
  ${CMAKE_SOURCE_DIR}/src/batch/source_slide.c
  ${CMAKE_SOURCE_DIR}/src/batch/source_store.c
)
