# Programs run under the Python that builds them, so that `ros2 launch` and `ros2 run` find torch in
# any shell: that of the active virtual environment, else the system's.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

# A first line cannot hold a space: what is first on PATH is run then.
function(groot_ros_install_program source destination)
  get_filename_component(name ${source} NAME)
  set(program ${CMAKE_CURRENT_BINARY_DIR}/programs/${name})
  configure_file(${source} ${program} COPYONLY) # with its permissions
  if(NOT Python3_EXECUTABLE MATCHES " ")
    file(READ ${program} text)
    string(REGEX REPLACE "^#![^\n]*" "#!${Python3_EXECUTABLE}" text "${text}")
    file(WRITE ${program} "${text}")
  endif()
  install(PROGRAMS ${program} DESTINATION ${destination})
endfunction()

# What apt does not bring.
set(groot_ros_find_missing "
from importlib.util import find_spec
print(*(m for m in ('torch', 'safetensors', 'tokenizers', 'tqdm') if find_spec(m) is None))
")
execute_process(COMMAND ${Python3_EXECUTABLE} -c "${groot_ros_find_missing}"
  OUTPUT_VARIABLE groot_ros_missing OUTPUT_STRIP_TRAILING_WHITESPACE)
if(groot_ros_missing)
  message(WARNING "The nodes will be run by ${Python3_EXECUTABLE}, which lacks: "
    "${groot_ros_missing}. Activate the virtual environment that has them and build again with "
    "--cmake-clean-cache; see docs/how-to/install.md")
endif()
