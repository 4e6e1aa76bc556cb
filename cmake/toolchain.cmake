# Compiler flags that every target shares; ccache and mold where they are present.
find_program(FIRN_CCACHE ccache)
if(FIRN_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${FIRN_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${FIRN_CCACHE})
endif()
find_program(FIRN_MOLD mold)
if(FIRN_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Wno-missing-field-initializers -Wno-maybe-uninitialized -fno-omit-frame-pointer)
if(FIRN_WARNINGS_AS_ERRORS)
  add_compile_options(-Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 warns falsely inside std::string and std::variant when it inlines.
  add_compile_options(-Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread -Wno-dangling-pointer -Wno-psabi)
endif()
# Our libraries are position independent and static: nothing can take the place of their functions at run time, so the
# compiler may inline and call them directly. Visibility stays, so nothing changes for the linker.
add_compile_options($<$<CONFIG:Release>:-fno-semantic-interposition>)
if(FIRN_SANITIZE)
  add_compile_options(-fsanitize=${FIRN_SANITIZE} -fno-sanitize-recover=all)
  if(FIRN_SANITIZE MATCHES "undefined")
    # A null pointer is a signal that AddressSanitizer explains as well, and nothing here casts down a hierarchy: these
    # two are a sixth of the build.
    add_compile_options(-fno-sanitize=null,vptr)
  endif()
  add_link_options(-fsanitize=${FIRN_SANITIZE})
endif()
