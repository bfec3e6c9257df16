# SPDX-License-Identifier: Apache-2.0
# Remove the include folders of the machine that built the ROS wheels: they do not exist here.
# scripts/setup.sh passes this file as CMAKE_PROJECT_INCLUDE; it is not needed with /opt/ros.
# Deferred, because it has to run after all targets are defined.
function(groot_ros_drop_foreign_includes)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(includes MATCHES "/opt/python/")
      list(FILTER includes EXCLUDE REGEX "^/opt/python/")
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${includes}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL groot_ros_drop_foreign_includes)
