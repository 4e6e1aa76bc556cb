# Every third-party library by the name firn::... or its own imported target. find_package first; what Debian does not
# have (Arrow, a recent librdkafka, a recent simdjson) comes from FIRN_DEPS_DIR, filled by ./firn-dev setup.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(CURL REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(FIRN_ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(FIRN_LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(FIRN_SASL REQUIRED IMPORTED_TARGET libsasl2)
pkg_check_modules(FIRN_RE2 REQUIRED IMPORTED_TARGET re2)
add_library(firn_re2 ALIAS PkgConfig::FIRN_RE2)
find_package(prometheus-cpp REQUIRED)
# Debian's is a compiled library; its flags decide the layout of its classes, so they must come from its own file.
pkg_check_modules(FIRN_HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)

if(FIRN_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
if(FIRN_BUILD_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()

if(NOT EXISTS "${FIRN_DEPS_DIR}/stamp")
  message(FATAL_ERROR "Dependencies are missing in ${FIRN_DEPS_DIR}. Run ./firn-dev setup first.")
endif()

# Arrow and Parquet: libraries and headers of the pyarrow wheel.
function(firn_import_arrow name library)
  add_library(${name} SHARED IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${FIRN_DEPS_DIR}/lib/${library}")
  target_include_directories(${name} SYSTEM INTERFACE "${FIRN_DEPS_DIR}/include")
endfunction()
firn_import_arrow(firn_arrow libarrow.so.2600)
firn_import_arrow(firn_arrow_compute libarrow_compute.so.2600)
firn_import_arrow(firn_arrow_s3 libarrow_s3.so.2600)
firn_import_arrow(firn_parquet_arrow libparquet.so.2600)
target_link_libraries(firn_arrow_s3 INTERFACE firn_arrow)
target_link_libraries(firn_arrow_compute INTERFACE firn_arrow)
target_link_libraries(firn_parquet_arrow INTERFACE firn_arrow)
# The wheel's own libraries find each other beside themselves.
add_link_options("LINKER:-rpath-link,${FIRN_DEPS_DIR}/lib")
# libparquet of the wheel exports the symbols of an OpenSSL of its own. Whoever comes first in a program wins for all its
# libraries, and half of one OpenSSL in the other crashes (X509_STORE_set_default_paths, say): the system's comes first.
add_link_options("LINKER:--push-state,--no-as-needed" -lssl -lcrypto "LINKER:--pop-state")

# librdkafka, built static by the setup.
add_library(firn_rdkafka STATIC IMPORTED GLOBAL)
set_target_properties(firn_rdkafka PROPERTIES IMPORTED_LOCATION "${FIRN_DEPS_DIR}/lib/librdkafka.a")
target_include_directories(firn_rdkafka SYSTEM INTERFACE "${FIRN_DEPS_DIR}/include")
target_link_libraries(firn_rdkafka INTERFACE OpenSSL::SSL OpenSSL::Crypto ZLIB::ZLIB PkgConfig::FIRN_ZSTD
  PkgConfig::FIRN_LZ4 PkgConfig::FIRN_SASL CURL::libcurl Threads::Threads ${CMAKE_DL_LIBS} m)

# simdjson: one header and one source, compiled here.
add_library(firn_simdjson STATIC "${FIRN_DEPS_DIR}/src/simdjson.cpp")
target_include_directories(firn_simdjson SYSTEM PUBLIC "${FIRN_DEPS_DIR}/include")
target_compile_options(firn_simdjson PRIVATE -w -O3)
# Release defaults: no checks of our own use of the on-demand front end.
target_compile_definitions(firn_simdjson PUBLIC SIMDJSON_DEVELOPMENT_CHECKS=0)
