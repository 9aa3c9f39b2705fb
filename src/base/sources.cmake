list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/base/error.c
  ${CMAKE_SOURCE_DIR}/src/base/mem.c
  ${CMAKE_SOURCE_DIR}/src/base/buf.c
  ${CMAKE_SOURCE_DIR}/src/base/fs.c
  ${CMAKE_SOURCE_DIR}/src/base/rng.c
  ${CMAKE_SOURCE_DIR}/src/base/text.c
  ${CMAKE_SOURCE_DIR}/src/base/csv.c
  ${CMAKE_SOURCE_DIR}/src/base/json.c
  ${CMAKE_SOURCE_DIR}/src/base/yaml.c
  ${CMAKE_SOURCE_DIR}/src/base/thread.c
  ${CMAKE_SOURCE_DIR}/src/base/cpu.c
  ${CMAKE_SOURCE_DIR}/src/base/log.c
)
