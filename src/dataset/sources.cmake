list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/dataset/cases.c
  ${CMAKE_SOURCE_DIR}/src/dataset/classes.c
  ${CMAKE_SOURCE_DIR}/src/dataset/dataset.c
  ${CMAKE_SOURCE_DIR}/src/dataset/dataset_use.c
  ${CMAKE_SOURCE_DIR}/src/dataset/label_table.c
  ${CMAKE_SOURCE_DIR}/src/dataset/lookup.c
  ${CMAKE_SOURCE_DIR}/src/dataset/match.c
  ${CMAKE_SOURCE_DIR}/src/dataset/split.c
  ${CMAKE_SOURCE_DIR}/src/dataset/split_file.c
  ${CMAKE_SOURCE_DIR}/src/dataset/split_random.c
  ${CMAKE_SOURCE_DIR}/src/dataset/survival.c
)
