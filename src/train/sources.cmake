list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/train/attend.c
  ${CMAKE_SOURCE_DIR}/src/train/chunks.c
  ${CMAKE_SOURCE_DIR}/src/train/events.c
  ${CMAKE_SOURCE_DIR}/src/train/lock.c
  ${CMAKE_SOURCE_DIR}/src/train/plan.c
  ${CMAKE_SOURCE_DIR}/src/train/plan_text.c
  ${CMAKE_SOURCE_DIR}/src/train/runlog.c
  ${CMAKE_SOURCE_DIR}/src/train/save.c
  ${CMAKE_SOURCE_DIR}/src/train/setup.c
  ${CMAKE_SOURCE_DIR}/src/train/state.c
  ${CMAKE_SOURCE_DIR}/src/train/step.c
  ${CMAKE_SOURCE_DIR}/src/train/train.c
  ${CMAKE_SOURCE_DIR}/src/train/validate.c
  ${CMAKE_SOURCE_DIR}/src/train/validate_risks.c
)
