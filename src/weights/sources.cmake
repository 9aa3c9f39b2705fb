list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/weights/pickle.c
  ${CMAKE_SOURCE_DIR}/src/weights/safetensors.c
  ${CMAKE_SOURCE_DIR}/src/weights/torch_legacy.c
  ${CMAKE_SOURCE_DIR}/src/weights/torch_tree.c
  ${CMAKE_SOURCE_DIR}/src/weights/torch_zip.c
  ${CMAKE_SOURCE_DIR}/src/weights/weights.c
)
