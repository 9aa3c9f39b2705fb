set(SW_CPU_DIR ${CMAKE_SOURCE_DIR}/src/backend/cpu)
list(APPEND SW_SOURCES
  ${SW_CPU_DIR}/attend.c
  ${SW_CPU_DIR}/attend_wide.c
  ${SW_CPU_DIR}/batch_norm.c
  ${SW_CPU_DIR}/conv.c
  ${SW_CPU_DIR}/conv_norm.c
  ${SW_CPU_DIR}/conv_run.c
  ${SW_CPU_DIR}/conv_split.c
  ${SW_CPU_DIR}/cpu.c
  ${SW_CPU_DIR}/cpu_layout.c
  ${SW_CPU_DIR}/cpu_memory.c
  ${SW_CPU_DIR}/depthwise.c
  ${SW_CPU_DIR}/direct.c
  ${SW_CPU_DIR}/elementwise.c
  ${SW_CPU_DIR}/gemm.c
  ${SW_CPU_DIR}/lanes.c
  ${SW_CPU_DIR}/linear.c
  ${SW_CPU_DIR}/norm_pool.c
  ${SW_CPU_DIR}/onednn.c
  ${SW_CPU_DIR}/pool.c
  ${SW_CPU_DIR}/rows.c
  ${SW_CPU_DIR}/scan.c
  ${SW_CPU_DIR}/select.c
  ${SW_CPU_DIR}/simd_avx2.c
  ${SW_CPU_DIR}/simd_avx512.c
  ${SW_CPU_DIR}/simd_avx512_bf16.c
  ${SW_CPU_DIR}/shape.c
  ${SW_CPU_DIR}/simd_base.c
  ${SW_CPU_DIR}/stem.c
  ${SW_CPU_DIR}/winograd.c
)
# The leaf kernels are compiled once per instruction set and chosen when the backend is made; -O3 unrolls their
# register tiles. ISO C's -std=c11 turns contraction into fused multiply-adds off, here it is wanted.
set(SW_SIMD_FLAGS -O3 -ffp-contract=fast)
set_source_files_properties(${SW_CPU_DIR}/simd_base.c PROPERTIES COMPILE_OPTIONS "${SW_SIMD_FLAGS}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  set_source_files_properties(${SW_CPU_DIR}/simd_avx2.c PROPERTIES COMPILE_OPTIONS "${SW_SIMD_FLAGS};-mavx2;-mfma")
  set(SW_AVX512_FLAGS ${SW_SIMD_FLAGS} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512)
  set_source_files_properties(${SW_CPU_DIR}/simd_avx512.c PROPERTIES COMPILE_OPTIONS "${SW_AVX512_FLAGS}")
  set_source_files_properties(${SW_CPU_DIR}/simd_avx512_bf16.c PROPERTIES COMPILE_OPTIONS "${SW_AVX512_FLAGS};-mavx512bf16")
endif()
