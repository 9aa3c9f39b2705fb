list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/store/coords.c
  ${CMAKE_SOURCE_DIR}/src/store/coords_write.c
  ${CMAKE_SOURCE_DIR}/src/store/export.c
  ${CMAKE_SOURCE_DIR}/src/store/hdf5_coords.c
  ${CMAKE_SOURCE_DIR}/src/store/import.c
  ${CMAKE_SOURCE_DIR}/src/store/lmdb.c
  ${CMAKE_SOURCE_DIR}/src/store/record.c
  ${CMAKE_SOURCE_DIR}/src/store/reference.c
  ${CMAKE_SOURCE_DIR}/src/store/store.c
  ${CMAKE_SOURCE_DIR}/src/store/writer.c
  ${CMAKE_SOURCE_DIR}/src/store/tar.c
  ${CMAKE_SOURCE_DIR}/src/store/tile.c
  ${CMAKE_SOURCE_DIR}/src/store/tar.c
  ${CMAKE_SOURCE_DIR}/src/store/tile_coords.c
  ${CMAKE_SOURCE_DIR}/src/store/tile_settings.c
  ${CMAKE_SOURCE_DIR}/src/store/tile_slide.c
)
