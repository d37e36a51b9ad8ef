# One static library a module. USES names the modules whose public headers it may include; the test
# tests/layering holds the includes against the same table.
function(lookback_module name)
  cmake_parse_arguments(A "" "" "USES;DEPS;PRIVATE_DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  add_library(lookback_${name} STATIC ${sources})
  target_include_directories(lookback_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include
                                              PRIVATE ${PROJECT_SOURCE_DIR}/src)
  foreach(used IN LISTS A_USES)
    target_link_libraries(lookback_${name} PUBLIC lookback_${used})
  endforeach()
  target_link_libraries(lookback_${name} PUBLIC ${A_DEPS} PRIVATE lookback_warnings ${A_PRIVATE_DEPS})
  set_target_properties(lookback_${name} PROPERTIES UNITY_BUILD ${LOOKBACK_UNITY} UNITY_BUILD_BATCH_SIZE 12)
  lookback_precompile(lookback_${name})
endfunction()
