# Headers that nearly every source includes, parsed once for all targets. Only builds of clang gain from it, and only
# the sanitizers' presets switch it on: the others show that each file includes what it uses.
if(LOOKBACK_PRECOMPILE)
  file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/precompiled.cpp CONTENT "")
  add_library(lookback_precompiled OBJECT ${PROJECT_BINARY_DIR}/precompiled.cpp)
  target_link_libraries(lookback_precompiled PRIVATE dep::expected dep::fmt dep::json)
  target_precompile_headers(lookback_precompiled PRIVATE
    <algorithm> <array> <atomic> <chrono> <condition_variable> <deque> <filesystem> <functional> <future> <map> <memory>
    <mutex> <optional> <random> <regex> <set> <span> <sstream> <string> <string_view> <thread> <unordered_map>
    <unordered_set> <variant> <vector> <fmt/format.h> <nlohmann/json.hpp> <tl/expected.hpp>)
  # The compiler cache compares the contents of headers, not the time that a precompiled one carries.
  target_compile_options(lookback_precompiled PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
endif()

# Lets a target use the precompiled headers, where there are any.
function(lookback_precompile target)
  if(LOOKBACK_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM lookback_precompiled)
  endif()
endfunction()
