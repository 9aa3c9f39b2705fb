list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/infer/checkpoint.c
  ${CMAKE_SOURCE_DIR}/src/infer/encode.c
  ${CMAKE_SOURCE_DIR}/src/infer/infer.c
  ${CMAKE_SOURCE_DIR}/src/infer/best.c
  ${CMAKE_SOURCE_DIR}/src/infer/memory.c
  ${CMAKE_SOURCE_DIR}/src/infer/predict_features.c
  ${CMAKE_SOURCE_DIR}/src/infer/predictor.c
)
