list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/config/config.c
  ${CMAKE_SOURCE_DIR}/src/config/config_check.c
  ${CMAKE_SOURCE_DIR}/src/config/config_store.c
  ${CMAKE_SOURCE_DIR}/src/config/config_table.c
  ${CMAKE_SOURCE_DIR}/src/config/config_write.c
)
