list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/eval/attention.c
  ${CMAKE_SOURCE_DIR}/src/eval/bootstrap.c
  ${CMAKE_SOURCE_DIR}/src/eval/evaluate.c
  ${CMAKE_SOURCE_DIR}/src/eval/evaluation_io.c
  ${CMAKE_SOURCE_DIR}/src/eval/metrics.c
  ${CMAKE_SOURCE_DIR}/src/eval/predictions.c
  ${CMAKE_SOURCE_DIR}/src/eval/predictions_io.c
  ${CMAKE_SOURCE_DIR}/src/eval/roc.c
  ${CMAKE_SOURCE_DIR}/src/eval/survival_auc.c
  ${CMAKE_SOURCE_DIR}/src/eval/survival_curve.c
  ${CMAKE_SOURCE_DIR}/src/eval/survival_evaluate.c
  ${CMAKE_SOURCE_DIR}/src/eval/survival_index.c
  ${CMAKE_SOURCE_DIR}/src/eval/survival_io.c
  ${CMAKE_SOURCE_DIR}/src/eval/survival_predictions.c
  ${CMAKE_SOURCE_DIR}/src/eval/survival_text.c
)
