list(APPEND SW_SOURCES
  ${CMAKE_SOURCE_DIR}/src/slide/image.c
  ${CMAKE_SOURCE_DIR}/src/slide/image_jpeg.c
  ${CMAKE_SOURCE_DIR}/src/slide/image_png.c
  ${CMAKE_SOURCE_DIR}/src/slide/image_tiff.c
  ${CMAKE_SOURCE_DIR}/src/slide/resize.c
  ${CMAKE_SOURCE_DIR}/src/slide/slide.c
  ${CMAKE_SOURCE_DIR}/src/slide/slide_list.c
  ${CMAKE_SOURCE_DIR}/src/slide/slide_openslide.c
  ${CMAKE_SOURCE_DIR}/src/slide/slide_picture.c
  ${CMAKE_SOURCE_DIR}/src/slide/slide_read.c
  ${CMAKE_SOURCE_DIR}/src/slide/synth.c
  ${CMAKE_SOURCE_DIR}/src/slide/synth_scene.c
  ${CMAKE_SOURCE_DIR}/src/slide/synth_tissue.c
  ${CMAKE_SOURCE_DIR}/src/slide/synth_cells.c
  ${CMAKE_SOURCE_DIR}/src/slide/synth_light.c
  ${CMAKE_SOURCE_DIR}/src/slide/synth_tiff.c
)
