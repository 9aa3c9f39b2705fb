/* SPDX-License-Identifier: Apache-2.0 */
/* The versions of the libraries that are linked, each answered by the one file that names the library.
 * The texts have static storage and are as the library gives them: some hold more than the number. */
#ifndef SW_BASE_VERSIONS_H
#define SW_BASE_VERSIONS_H

const char *sw_jansson_version(void);   /* base/json.c */
const char *sw_libyaml_version(void);   /* base/yaml.c */
const char *sw_onednn_version(void);    /* backend/cpu/ */
const char *sw_libzip_version(void);    /* weights/torch_zip.c */
const char *sw_openslide_version(void); /* slide/slide_openslide.c */
const char *sw_turbojpeg_version(void); /* slide/image_jpeg.c */
const char *sw_libpng_version(void);    /* slide/image_png.c */
const char *sw_libtiff_version(void);   /* slide/image_tiff.c */
const char *sw_lmdb_version(void);      /* store/lmdb.c */
const char *sw_hdf5_version(void);      /* store/hdf5_base.c */
const char *sw_cairo_version(void);     /* explain/draw_cairo.c */

#endif
