# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# The shared libraries, and what others need to use them: headers, pkg-config files, a CMake package
# (find_package(sockrepair), sockrepair::sockrepair, sockrepair::sockrepair_image). They are made of
# the same objects as the static libraries, which tests and tools link.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# Changes with every incompatible change of what is exported; the versions of symbols in
# cmake/*.map go with it.
set(SOCKREPAIR_SOVERSION 0)

# sockrepair_add_shared(STATIC_TARGET [OBJECT...]): its objects, and others that it has, as a shared
# library of the same name.
function(sockrepair_add_shared static)
  set(map ${PROJECT_SOURCE_DIR}/cmake/${static}.map)
  add_library(${static}_shared SHARED $<TARGET_OBJECTS:${static}> ${ARGN})
  add_library(sockrepair::${static} ALIAS ${static}_shared)
  set_target_properties(${static}_shared PROPERTIES
    OUTPUT_NAME ${static}
    EXPORT_NAME ${static}
    VERSION ${PROJECT_VERSION}
    SOVERSION ${SOCKREPAIR_SOVERSION}
    LINKER_LANGUAGE CXX
    LINK_DEPENDS ${map})
  target_compile_features(${static}_shared INTERFACE cxx_std_20)
  target_include_directories(${static}_shared INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_options(${static}_shared PRIVATE -Wl,--version-script=${map} -Wl,-z,defs)
  install(TARGETS ${static}_shared EXPORT sockrepair
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

# pkg-config: paths relative to the file, so that an installation can be moved or staged.
file(RELATIVE_PATH SOCKREPAIR_PC_PREFIX
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
function(sockrepair_add_pkgconfig name)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in ${name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

sockrepair_add_shared(sockrepair)
target_link_libraries(sockrepair_shared PRIVATE Threads::Threads Boost::context)
sockrepair_add_pkgconfig(sockrepair)

# The image library uses parts of the other that are nobody else's business: it has a copy of them.
sockrepair_add_shared(sockrepair_image $<TARGET_OBJECTS:sockrepair_image_messages>)
target_link_libraries(sockrepair_image_shared
  PUBLIC sockrepair_shared
  PRIVATE $<BUILD_INTERFACE:sockrepair> protobuf::libprotobuf ZLIB::ZLIB
    nlohmann_json::nlohmann_json)
target_link_options(sockrepair_image_shared PRIVATE
  -Wl,--exclude-libs,$<TARGET_FILE_NAME:sockrepair>)
sockrepair_add_pkgconfig(sockrepair_image)

install(DIRECTORY include/sockrepair DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/sockrepair)
install(EXPORT sockrepair FILE sockrepairTargets.cmake NAMESPACE sockrepair::
  DESTINATION ${package})
configure_package_config_file(cmake/sockrepairConfig.cmake.in sockrepairConfig.cmake
  INSTALL_DESTINATION ${package} NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(sockrepairConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/sockrepairConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/sockrepairConfigVersion.cmake
  DESTINATION ${package})
