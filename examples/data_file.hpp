#pragma once
// Where the examples' data is, wherever a program is run: below the working directory, or beside this file.

#include <espalier/io/file.hpp>

#include <string>

inline std::string data_file(const std::string& name) {
  std::string path = "examples/data/" + name;
  if (espalier::file_exists(path)) return path;
  const std::string here = __FILE__;
  return here.substr(0, here.rfind('/') + 1) + "data/" + name;
}
