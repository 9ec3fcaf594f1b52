// gemm/*/2t: what gemm_table.hpp says, with as many threads as the libraries are given.

#include "gemm_table.hpp"

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  bench::gemm_table(report, "/2t");
}
