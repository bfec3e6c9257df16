# SPDX-License-Identifier: Apache-2.0
# Programs run under the Python that CMake finds: that of the active virtual environment, otherwise
# the system's. `ros2 launch` and `ros2 run` then find torch in any shell.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

# Install a program with this Python in its first line. A shebang cannot contain a space; in that case
# the first line is kept and the Python on PATH runs the program.
function(groot_ros_install_program source destination)
  get_filename_component(name ${source} NAME)
  set(program ${CMAKE_CURRENT_BINARY_DIR}/programs/${name})
  configure_file(${source} ${program} COPYONLY) # keeps the permissions
  if(NOT Python3_EXECUTABLE MATCHES " ")
    file(READ ${program} text)
    string(REGEX REPLACE "^#![^\n]*" "#!${Python3_EXECUTABLE}" text "${text}")
    file(WRITE ${program} "${text}")
  endif()
  install(PROGRAMS ${program} DESTINATION ${destination})
endfunction()

# Modules that are not apt packages.
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
