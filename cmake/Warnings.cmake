# Warnings are errors only where the compiler is known, so that a newer one does not break a user's build.
add_library(lookback_warnings INTERFACE)
target_compile_options(lookback_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wundef -Wimplicit-fallthrough)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13
   AND NOT LOOKBACK_SANITIZE)
  # GCC 12 sees overlapping copies in any std::string concatenation that it inlines far enough (its bug 105651).
  target_compile_options(lookback_warnings INTERFACE -Werror $<$<CONFIG:Release>:-Wno-restrict>)
endif()
if(LOOKBACK_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC takes a source that another one includes for a header, whose types should not use unnamed namespaces.
  target_compile_options(lookback_warnings INTERFACE -Wno-subobject-linkage)
endif()
