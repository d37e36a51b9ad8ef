# Kernel programs: C to BPF by clang, with the types' layout left open (CO-RE), and as a header with the object in it.
# Neither the kernel of this machine nor its BTF has a part in it.
find_program(LOOKBACK_CLANG NAMES clang clang-14 clang-16 clang-18)
find_program(LOOKBACK_BPFTOOL bpftool PATHS /usr/sbin /sbin)
if(NOT LOOKBACK_CLANG OR NOT LOOKBACK_BPFTOOL)
  message(FATAL_ERROR "clang or bpftool not found: run scripts/install-deps first")
endif()

function(lookback_bpf target name source)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/bpf)
  file(MAKE_DIRECTORY ${folder})
  get_filename_component(source ${source} ABSOLUTE BASE_DIR ${PROJECT_SOURCE_DIR})
  get_filename_component(source_folder ${source} DIRECTORY)
  file(GLOB headers CONFIGURE_DEPENDS ${source_folder}/*.h)
  set(header ${folder}/${name}.skel.h)
  add_custom_command(
    OUTPUT ${header}
    COMMAND ${LOOKBACK_CLANG} -target bpf -O2 -g -Wall -Werror -Wno-unused-function
            -fdebug-compilation-dir=. -fmacro-prefix-map=${PROJECT_SOURCE_DIR}=.
            -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -c ${source} -o ${folder}/${name}.dwarf.o
    COMMAND ${LOOKBACK_BPFTOOL} gen object ${folder}/${name}.bpf.o ${folder}/${name}.dwarf.o
    COMMAND ${LOOKBACK_BPFTOOL} gen skeleton ${folder}/${name}.bpf.o name ${name} > ${header}
    DEPENDS ${source} ${headers}
    COMMENT "Building BPF programs ${name}" VERBATIM)
  add_custom_target(${target}_${name}_skeleton DEPENDS ${header})
  add_dependencies(${target} ${target}_${name}_skeleton)
  target_include_directories(${target} SYSTEM PRIVATE ${folder})
endfunction()
