list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/report/chart.c
  ${CMAKE_SOURCE_DIR}/src/report/html.c
  ${CMAKE_SOURCE_DIR}/src/report/page_head.c
  ${CMAKE_SOURCE_DIR}/src/report/page_results.c
  ${CMAKE_SOURCE_DIR}/src/report/page_slides.c
  ${CMAKE_SOURCE_DIR}/src/report/page_survival.c
  ${CMAKE_SOURCE_DIR}/src/report/page_training.c
  ${CMAKE_SOURCE_DIR}/src/report/report.c
  ${CMAKE_SOURCE_DIR}/src/report/run_files.c
  ${CMAKE_SOURCE_DIR}/src/report/style.c
)
