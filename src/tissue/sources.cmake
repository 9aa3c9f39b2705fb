list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/tissue/artefact.c
  ${CMAKE_SOURCE_DIR}/src/tissue/border.c
  ${CMAKE_SOURCE_DIR}/src/tissue/mask.c
  ${CMAKE_SOURCE_DIR}/src/tissue/own_contours.c
  ${CMAKE_SOURCE_DIR}/src/tissue/preset.c
  ${CMAKE_SOURCE_DIR}/src/tissue/process_list.c
  ${CMAKE_SOURCE_DIR}/src/tissue/ring.c
  ${CMAKE_SOURCE_DIR}/src/tissue/tissue.c
  ${CMAKE_SOURCE_DIR}/src/tissue/tissue_write.c
  ${CMAKE_SOURCE_DIR}/src/tissue/user_mask.c
)
