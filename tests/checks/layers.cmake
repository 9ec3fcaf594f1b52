# The layer rule: what each folder of include/espalier may include, and what no header may.
#   cmake -DINCLUDE=<include folder> -P layers.cmake
# `a -> b c` below means: a includes b, c and what these may include; nothing upwards, nothing sideways.
cmake_policy(VERSION 3.21)
set(layers
  "core ->"
  "tensor -> core"
  "autograd -> tensor"
  "ops -> autograd"
  "nn -> ops"
  "optim -> autograd"
  "multitask/aggregator -> core"
  "multitask -> nn multitask/aggregator"
  "multimodal -> nn"
  "model -> multitask multimodal"
  "io -> tensor"
  "data -> io"
  "distributed -> tensor"
  "train -> model data io optim distributed")

# Words that may stand in the named headers only (a regular expression; none: in no header). Comments are not read.
set(reserved
  "include <Eigen/|include <unsupported/ = tensor/eigen.hpp"
  "include <omp.h>|pragma omp|[^A-Za-z0-9_]omp_[a-z]|ESPALIER_OMP = core/parallel.hpp config.hpp"
  "include <(iostream|regex)> ="
  "include <([a-z]*mmintrin|x86intrin).h> =")

# A header whose comment has a line `// Included by name...` is no part of the umbrella.
set(by_name "\n// Included by name")

foreach(line IN LISTS layers)  # may_<layer>: the layer itself, config.hpp, and all below
  string(REGEX MATCHALL "[a-z/]+" words "${line}")
  list(POP_FRONT words layer)
  set(may_${layer} ${layer} root)
  foreach(below IN LISTS words)
    list(APPEND may_${layer} ${may_${below}})
  endforeach()
  list(APPEND layer_names ${layer})
endforeach()

set(problems "")
macro(problem)
  string(APPEND problems "  " ${ARGN} "\n")
endmacro()

function(layer_of path result)  # the longest folder that is a layer; `root` for config.hpp and fwd.hpp
  string(REGEX REPLACE "(/[^/]*)?\\.hpp$" "" folder "${path}")
  string(REGEX REPLACE "\\.hpp$" "" itself "${path}")  # multitask/aggregator.hpp is the umbrella of its folder
  if(itself IN_LIST layer_names AND itself MATCHES "/")
    set(folder ${itself})
  endif()
  while(NOT folder IN_LIST layer_names AND folder MATCHES "/")
    string(REGEX REPLACE "/[^/]*$" "" folder "${folder}")
  endwhile()
  if(path MATCHES "^(config|fwd)\\.hpp$")
    set(folder root)
  endif()
  set(${result} ${folder} PARENT_SCOPE)
endfunction()

file(GLOB_RECURSE headers RELATIVE ${INCLUDE}/espalier ${INCLUDE}/espalier/*)
if(NOT headers)
  message(FATAL_ERROR "no header below ${INCLUDE}/espalier")
endif()
foreach(header IN LISTS headers)
  file(READ ${INCLUDE}/espalier/${header} text)
  string(REPLACE ";" " " text "${text}")
  string(REGEX REPLACE "[][]" " " text "${text}")
  if(NOT text MATCHES "^#pragma once\n//")
    problem("${header}: begins with `#pragma once` and a comment that tells its purpose")
  endif()
  set(is_by_name_${header} FALSE)
  if(text MATCHES "${by_name}")
    set(is_by_name_${header} TRUE)
  endif()
  string(REGEX REPLACE "//[^\n]*" "" text "${text}")
  string(REGEX REPLACE "#[ \t]+" "#" text "${text}")

  foreach(rule IN LISTS reserved)
    string(REGEX REPLACE " =.*" "" words "${rule}")
    string(REGEX REPLACE ".* = ?" "" allowed "${rule}")
    string(REPLACE " " ";" allowed "${allowed}")
    string(REGEX MATCH "${words}" found "${text}")
    if(found AND NOT header IN_LIST allowed)
      problem("${header}: `${found}` may stand only in: ${allowed}")
    endif()
  endforeach()

  layer_of(${header} layer)
  if(NOT layer IN_LIST layer_names AND NOT layer STREQUAL root AND NOT header MATCHES "^(espalier|compiled).hpp$")
    problem("${header}: its folder is in no layer")
  endif()
  string(REGEX MATCHALL "#include \"[^\"]*\"" includes "${text}")
  set(includes_${header} "")
  foreach(include IN LISTS includes)
    string(REGEX REPLACE "#include \"(.*)\"" "\\1" include "${include}")
    if(NOT include MATCHES "^espalier/" OR NOT EXISTS ${INCLUDE}/${include})
      problem("${header}: `${include}` is no path of a header (\"espalier/<folder>/<name>.hpp\")")
      continue()
    endif()
    string(REGEX REPLACE "^espalier/" "" include "${include}")
    list(APPEND includes_${header} ${include})
    layer_of(${include} other)
    if(layer STREQUAL root)
      set(may_root root)
    endif()
    if(NOT header MATCHES "^(espalier|compiled).hpp$" AND NOT other IN_LIST may_${layer})
      problem("${header}: includes ${include}, but ${layer} may not include ${other}")
    endif()
  endforeach()
endforeach()

# The umbrella reaches every header, directly or not.
if(NOT espalier.hpp IN_LIST headers)
  problem("espalier.hpp: the umbrella is missing")
else()
  set(reached espalier.hpp)
  set(waiting espalier.hpp)
  while(waiting)
    list(POP_FRONT waiting header)
    foreach(include IN LISTS includes_${header})
      if(NOT include IN_LIST reached)
        list(APPEND reached ${include})
        list(APPEND waiting ${include})
      endif()
    endforeach()
  endwhile()
  foreach(header IN LISTS headers)
    if(header IN_LIST reached AND is_by_name_${header})
      problem("${header}: says `Included by name`, but espalier.hpp reaches it")
    elseif(NOT header IN_LIST reached AND NOT is_by_name_${header} AND NOT header STREQUAL fwd.hpp)
      problem("${header}: espalier.hpp does not reach it; include it there, or write `// Included by name` in its comment")
    endif()
  endforeach()
endif()

list(LENGTH headers count)
if(problems)
  message(FATAL_ERROR "layer rule, ${count} headers:\n${problems}")
endif()
message("layer rule: ${count} headers keep it")
