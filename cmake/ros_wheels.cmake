# The Python wheels of ROS carry include folders of the machine that built them, which do
# not exist here. Dropped once every target is known; passed as CMAKE_PROJECT_INCLUDE by
# scripts/setup.sh, and not needed with /opt/ros.
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
